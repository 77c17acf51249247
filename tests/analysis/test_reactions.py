"""Molecules that broke or reacted."""

import mdtraj
import numpy as np

from molflow.analysis.molecule.reactions import changed_bonds
from molflow.systems import load_system

SYSTEM = load_system("alanine_dipeptide")


def test_sound_molecules_have_their_bonds():
    start = SYSTEM.start_positions()
    shaken = start + 0.006 * np.random.default_rng(0).standard_normal((50, *start.shape))
    assert changed_bonds(SYSTEM.topology(), shaken) == [""] * 50
    assert changed_bonds(SYSTEM.topology(), shaken[:0]) == []


def test_a_broken_bond_and_a_new_one_are_named():
    frames = np.repeat(SYSTEM.start_positions()[None], 3, axis=0)
    frames[0, 0] += 0.2  # a hydrogen leaves its methyl group
    frames[1, 0] = frames[1, 21] + 0.05  # and comes to another
    carbon, other = 4, 18
    frames[2, other] = frames[2, carbon] + [0.0, 0.0, 0.16]
    first, second, third = changed_bonds(SYSTEM.topology(), frames)
    assert first == second == "the bond of atoms 0 and 1 broke"
    assert third.startswith("the bond of atoms") or "came as close as a bond" in third


def test_two_molecules_that_meet_are_said():
    topology = mdtraj.Topology()
    residue = topology.add_residue("MET", topology.add_chain())
    for _ in range(2):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    distances = np.array([0.17, 0.18])
    frames = np.zeros((2, 2, 3))
    frames[:, 1, 0] = distances
    assert changed_bonds(topology, frames) == ["atoms 0 and 1 came as close as a bond", ""]
