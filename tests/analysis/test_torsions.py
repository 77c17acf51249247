import mdtraj
import numpy as np
import pytest
from synthetic import PHI, PSI, TOPOLOGY, conformations

from molflow.analysis.torsions import phi_psi, phi_psi_indices
from molflow.errors import MolflowError


def test_indices_of_the_22_atoms():
    assert phi_psi_indices(TOPOLOGY).tolist() == [list(PHI), list(PSI)]


@pytest.mark.parametrize("atoms", [None, [4, 6, 8, 14, 16], [1, 4, 5, 6, 8, 10, 14, 15, 16, 18]])
def test_recovers_the_torsions_that_were_built_in(atoms):
    grid = np.radians(np.arange(-175, 180, 35.0))
    wanted = np.array(np.meshgrid(grid, grid)).reshape(2, -1).T
    made = mdtraj.Trajectory(conformations(wanted), TOPOLOGY)
    found = phi_psi(made if atoms is None else made.atom_slice(atoms))
    assert np.abs(found - wanted).max() < 2e-5


def test_molecules_without_the_torsions_are_refused():
    with pytest.raises(MolflowError, match="0 residues"):
        phi_psi_indices(TOPOLOGY.subset([4, 6, 8, 14]))
