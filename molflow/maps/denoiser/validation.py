"""Scores of validation samples against the validation run, for any molecule."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.metrics.torsion_marginals import js_distances
from molflow.analysis.torsion_list import backbone_pairs, measure_torsions, torsion_list
from molflow.analysis.torsion_metrics import delta_f_alpha_l, fes_rmse
from molflow.analysis.transport_1d import wasserstein_1d
from molflow.analysis.weighting import normalised, systematic
from molflow.maps.denoiser.draw import draw
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.seeds import derive_seed
from molflow.training.kinds import Material

#: nm by which a bond may be longer or shorter than on average, and widths of constrained ones.
_BOND, _HELD = 0.05, 1e-5
#: Distances that stand in for torsions in a molecule without any.
_DISTANCES = 300


class EnsembleScore:
    """Score positions against a run that is neither trained on nor reported.

    Parameters
    ----------
    topology : mdtraj.Topology
        With bonds; any number of torsions, none as well.
    positions : ndarray, (frames, atoms, 3)
        Validation frames, nm.
    """

    def __init__(self, topology: mdtraj.Topology, positions: np.ndarray):
        self.found = torsion_list(topology)
        self.residues = backbone_pairs(self.found)
        self.torsions = measure_torsions(positions, self.found)
        self.bonds = np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)
        self.pairs = spread_pairs(topology.n_atoms, _DISTANCES)
        lengths = _distances(positions, self.bonds)
        self.bond_mean, self.bond_sd = lengths.mean(axis=0), lengths.std(axis=0)
        self.distances = None if self.found else _distances(positions, self.pairs)

    def __call__(self, positions: np.ndarray) -> dict[str, float]:
        """Return the scores that the molecule has.

        Returns
        -------
        dict
            ``intact``, the share of samples with all bonds near their mean length, and
            ``bond_sd_ratio``, the median over bonds that are not held of their width over that of
            the run; ``torsion_js_distance`` over all torsions (root of nats); ``fes_rmse`` (kT),
            the mean over residues with phi and psi; ``delta_f_error`` (kT) of alpha-L, where one
            residue has both; ``distance_w1`` (nm), the mean Wasserstein distance of distances
            between atoms, where there is no torsion.
        """
        torsions = measure_torsions(positions, self.found)
        lengths = _distances(positions, self.bonds)
        scores = {"intact": float(np.all(np.abs(lengths - self.bond_mean) < _BOND, axis=1).mean())}
        free = self.bond_sd > _HELD
        if free.any():
            ratio = lengths[:, free].std(axis=0) / self.bond_sd[free]
            scores["bond_sd_ratio"] = float(np.median(ratio))
        whole = np.isfinite(torsions).all(axis=1)
        torsions = torsions[whole]
        if self.found and len(torsions):
            scores["torsion_js_distance"] = float(np.mean(js_distances(torsions, self.torsions)))
        elif self.distances is not None:
            off = wasserstein_1d(_distances(positions, self.pairs), self.distances, 1)
            scores["distance_w1"] = float(off.mean()) if len(off) else 0.0
        sides = [(torsions[:, list(pair)], self.torsions[:, list(pair)]) for pair in self.residues]
        if sides and len(torsions):
            scores["fes_rmse"] = float(np.mean([fes_rmse(*side) for side in sides]))
        if len(sides) == 1 and len(torsions):
            model, truth = (delta_f_alpha_l(side) for side in sides[0])
            scores["delta_f_error"] = model - truth
        return scores


def spread_pairs(n_atoms: int, most: int) -> np.ndarray:
    """Return at most so many of the pairs of atoms, evenly spread over all, (k, 2)."""
    count = n_atoms * (n_atoms - 1) // 2
    chosen = np.arange(0, count, max(1, -(-count // most)))
    # Pairs are numbered row after row of the upper triangle; row i begins with number begin[i].
    rows = np.arange(n_atoms)
    begin = rows * (n_atoms - 1) - rows * (rows - 1) // 2
    first = np.searchsorted(begin[:-1], chosen, side="right") - 1
    return np.stack([first, chosen - begin[first] + first + 1], axis=1)


def _distances(positions: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the distances of pairs of atoms, (frames, pairs) nm."""
    return np.linalg.norm(positions[:, pairs[:, 0]] - positions[:, pairs[:, 1]], axis=-1)


class SampleScores:
    """Draw samples from a map at several numbers of network calls and score them.

    Parameters
    ----------
    material : Material
        Of a run with validation frames.
    scale : float
        nm, the unit of length of the map.
    """

    def __init__(self, material: Material, scale: float):
        self.material, self.scale = material, scale
        frames, weights = material.data.validation, material.data.validation_log_weights
        if weights is not None:
            frames = frames[systematic(normalised(weights), len(frames), 0.5)]
        self.score = EnsembleScore(material.topology, frames)

    def __call__(self, flow_map: DenoiserFlowMap) -> dict[str, float]:
        """Return the scores, such as ``fes_rmse@4``."""
        settings = self.material.settings
        found: dict[str, float] = {}
        seed, atoms = derive_seed(settings.seed, "validation"), self.material.topology.n_atoms
        for nfe in settings.validation_nfe:
            drawn = draw(flow_map, settings.validation_samples, nfe, seed, atoms)
            scores = self.score(self.scale * drawn.numpy())
            found |= {f"{name}@{nfe}": float(value) for name, value in scores.items()}
        return found
