"""Energies and forces of many copies of a molecule at once, under OpenMM's force field, in torch.

One small molecule leaves a GPU idle, and processes beside each other take turns at it. Here every
tensor has an axis of walkers. The energy is what AMBER force fields with the OBC2 implicit solvent
have: bonds, angles, torsions, all pairs without cutoff, Born radii and a surface term. `exported`
reads its parameters from an OpenMM System (needs OpenMM); all else needs torch alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: kJ nm / (mol e^2), as OpenMM has it; kJ/(mol K).
COULOMB, BOLTZMANN = 138.93545764438198, 8.31446261815324e-3
#: OBC2 (Onufriev, Bashford and Case 2004): nm by which radii shrink, the three factors of the tanh;
#: radius of water in nm.
OFFSET, ALPHA, BETA, GAMMA, PROBE = 0.009, 1.0, 0.8, 4.85, 0.14


def exported(system) -> dict[str, np.ndarray]:
    """Return the parameters of an `openmm.System` as arrays, in nm, kJ/mol, rad and amu.

    Raises
    ------
    ValueError
        If it has a force that `Field` does not compute, a cutoff or constraints.
    """
    from openmm import unit

    units = unit.md_unit_system

    def plain(values) -> list:
        return [v.value_in_unit_system(units) if unit.is_quantity(v) else v for v in values]

    n = system.getNumParticles()
    found = {"masses": np.array(plain(system.getParticleMass(k) for k in range(n)))}
    if system.getNumConstraints():
        raise ValueError("the system has constraints")
    for force in system.getForces():
        kind = type(force).__name__
        if kind == "HarmonicBondForce":
            rows = [plain(force.getBondParameters(k)) for k in range(force.getNumBonds())]
            found["bonds"] = np.array(rows)
        elif kind == "HarmonicAngleForce":
            rows = [plain(force.getAngleParameters(k)) for k in range(force.getNumAngles())]
            found["angles"] = np.array(rows)
        elif kind == "PeriodicTorsionForce":
            rows = [plain(force.getTorsionParameters(k)) for k in range(force.getNumTorsions())]
            found["torsions"] = np.array(rows)
        elif kind == "NonbondedForce":
            if force.getNonbondedMethod() != force.NoCutoff:
                raise ValueError("the pairs have a cutoff")
            own = np.array([plain(force.getParticleParameters(k)) for k in range(n)])
            charges, sigma, depth = own.T
            products = np.outer(charges, charges)
            widths = 0.5 * (sigma[:, None] + sigma)
            depths = np.sqrt(np.outer(depth, depth))
            for k in range(force.getNumExceptions()):
                i, j, product, width, well = plain(force.getExceptionParameters(k))
                for a, b in ((i, j), (j, i)):
                    products[a, b], widths[a, b], depths[a, b] = product, width, well
            for matrix in (products, depths):
                np.fill_diagonal(matrix, 0.0)
            found |= {"charges": charges, "products": products}
            found |= {"c12": 4 * depths * widths**12, "c6": 4 * depths * widths**6}
        elif kind == "GBSAOBCForce":
            own = np.array([plain(force.getParticleParameters(k)) for k in range(n)])
            found |= {"radii": own[:, 1], "scales": own[:, 2]}
            inside, outside = force.getSoluteDielectric(), force.getSolventDielectric()
            found["screening"] = np.array(COULOMB * (1 / inside - 1 / outside))
            tension = force.getSurfaceAreaEnergy().value_in_unit_system(units)
            found["surface"] = np.array(4 * np.pi * tension)
        elif kind != "CMMotionRemover":
            raise ValueError(f"a force of kind {kind} is not known")
    return found


class Field:
    """Energies and forces of walkers.

    Parameters
    ----------
    parameters : dict of arrays
        Of `exported`.
    device : torch.device
    dtype : torch.dtype
    """

    def __init__(self, parameters: dict[str, np.ndarray], device, dtype=torch.float32):
        def real(array) -> Tensor:
            return torch.as_tensor(np.array(array, dtype=float)).to(device, dtype)

        def whole(array) -> Tensor:
            return torch.as_tensor(np.array(array).astype(np.int64)).to(device)

        bonds, angles, torsions = (parameters[name] for name in ("bonds", "angles", "torsions"))
        self.n = len(parameters["masses"])
        self.bonds, self.lengths, self.stiff = whole(bonds[:, :2]).T, *real(bonds[:, 2:]).T
        self.angles, self.openings, self.bend = whole(angles[:, :3]).T, *real(angles[:, 3:]).T
        # Terms of the same four atoms share their torsion.
        four, place = np.unique(torsions[:, :4].astype(int), axis=0, return_inverse=True)
        self.four, self.place = whole(four).T, whole(place.ravel())
        self.times, self.phases, self.heights = real(torsions[:, 4:]).T
        self.products = real(COULOMB * parameters["products"])
        self.c12, self.c6 = real(parameters["c12"]), real(parameters["c6"])
        self.apart = ~torch.eye(self.n, dtype=torch.bool, device=device)
        self.screen = real(-parameters["screening"] * np.outer(*[parameters["charges"]] * 2))
        self.radii = real(parameters["radii"])
        self.own = self.radii - OFFSET
        self.scaled = self.own * real(parameters["scales"])
        self.surface = float(parameters["surface"])

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (walkers,) and forces (walkers, atoms, 3) at positions in nm."""
        energy, force = self.pairs(x)
        for term in (self.stretches, self.bends, self.turns):
            more = term(x, force)
            energy = energy + more
        return energy, force

    def stretches(self, x: Tensor, force: Tensor) -> Tensor:
        """Return the energies of bonds, and add their forces."""
        i, j = self.bonds
        d = x[:, i] - x[:, j]
        r = d.square().sum(-1).sqrt()
        off = r - self.lengths
        pull = (-self.stiff * off / r).unsqueeze(-1) * d
        force.index_add_(1, i, pull).index_add_(1, j, -pull)
        return 0.5 * (self.stiff * off * off).sum(-1)

    def bends(self, x: Tensor, force: Tensor) -> Tensor:
        """Return the energies of angles, and add their forces."""
        i, j, k = self.angles
        a, b = x[:, i] - x[:, j], x[:, k] - x[:, j]
        la, lb = a.square().sum(-1, keepdim=True).sqrt(), b.square().sum(-1, keepdim=True).sqrt()
        a, b = a / la, b / lb
        cosine = (a * b).sum(-1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6)
        off = torch.arccos(cosine.squeeze(-1)) - self.openings
        # -dE/dcos of the angle
        slope = (self.bend * off).unsqueeze(-1) * (1 - cosine * cosine).rsqrt()
        fa, fb = slope * (b - cosine * a) / la, slope * (a - cosine * b) / lb
        force.index_add_(1, i, fa).index_add_(1, k, fb).index_add_(1, j, -(fa + fb))
        return 0.5 * (self.bend * off * off).sum(-1)

    def turns(self, x: Tensor, force: Tensor) -> Tensor:
        """Return the energies of torsions, and add their forces (Blondel and Karplus 1996)."""
        i, j, k, m = self.four
        f, g, h = x[:, i] - x[:, j], x[:, j] - x[:, k], x[:, m] - x[:, k]
        a, b = torch.linalg.cross(f, g), torch.linalg.cross(h, g)
        length = g.square().sum(-1, keepdim=True).sqrt()
        a2, b2 = a.square().sum(-1, keepdim=True), b.square().sum(-1, keepdim=True)
        sine = (torch.linalg.cross(b, a) * g).sum(-1, keepdim=True) / length
        angle = torch.atan2(sine, (a * b).sum(-1, keepdim=True)).squeeze(-1)
        inner = self.times * angle[:, self.place] - self.phases
        each = self.heights * self.times * torch.sin(inner)
        slope = -torch.zeros_like(angle).index_add_(1, self.place, each).unsqueeze(-1)
        fg, hg = (f * g).sum(-1, keepdim=True), (h * g).sum(-1, keepdim=True)
        da, db = a / a2, b / b2
        ends = -slope * (-length * da), -slope * (length * db)
        middle = slope * (fg / length * da - hg / length * db)
        force.index_add_(1, i, ends[0]).index_add_(1, m, ends[1])
        force.index_add_(1, j, -ends[0] - middle).index_add_(1, k, middle - ends[1])
        return (self.heights * (1 + torch.cos(inner))).sum(-1)

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies and forces of all pairs, in the solvent."""
        d = x.unsqueeze(2) - x.unsqueeze(1)
        r2 = torch.where(self.apart, d.square().sum(-1), 1.0)
        inverse = r2.rsqrt()
        r, inverse2 = r2 * inverse, inverse * inverse
        # In the gas phase. The slopes are dE/dr / r, of both orders of a pair.
        sixth = inverse2 * inverse2 * inverse2
        coulomb = self.products * inverse
        twelve = self.c12 * sixth * sixth
        six = self.c6 * sixth
        energy = 0.5 * (coulomb + twelve - six).sum((1, 2))
        slope = -(coulomb + 12 * twelve - 6 * six) * inverse2
        # Born radii: the integral over what other atoms keep the solvent from.
        own, scaled = self.own[:, None], self.scaled
        upper, gap = r + scaled, (r - scaled).abs()
        seen = self.apart & (own < upper)
        low = 1 / torch.maximum(own.expand_as(gap), gap)
        high = 1 / upper
        low2, high2 = low * low, high * high
        ratio = torch.log(high / low)
        quarter = 0.25 * (r - scaled * scaled * inverse)
        term = low - high + quarter * (high2 - low2) + 0.5 * inverse * ratio
        term = term + torch.where(own < scaled - r, 2 * (1 / own - low), 0.0)
        total = 0.5 * torch.where(seen, term, 0.0).sum(2) * self.own
        # dI/dr, with the limits of integration held: their own part of it vanishes.
        change = 0.5 * torch.where(
            seen,
            0.25 * (1 + scaled * scaled * inverse2) * (high2 - low2) - 0.5 * ratio * inverse2, 0.0,
        )  # fmt: skip
        inner = total * (ALPHA + total * (-BETA + total * GAMMA))
        bent = torch.tanh(inner)
        born = 1 / (1 / self.own - bent / self.radii)
        steep = (1 - bent * bent) * (ALPHA + total * (-2 * BETA + 3 * GAMMA * total))
        chain = born * born * steep * self.own / self.radii  # dB/dI
        # The solvent's answer to charges.
        both = born.unsqueeze(2) * born.unsqueeze(1)
        away = torch.where(self.apart, r2, 0.0)
        fading = torch.exp(-0.25 * away / both)
        inverse_f = (away + both * fading).rsqrt()
        answer = self.screen * inverse_f
        energy = energy + 0.5 * answer.sum((1, 2))
        third = answer * inverse_f * inverse_f
        slope = slope - third * (1 - 0.25 * fading)
        of_both = -0.5 * third * fading * (both + 0.25 * away)
        by_born = of_both.sum(2) / born
        # And of the surface.
        share = (self.radii / born) ** 6
        area = self.surface * (self.radii + PROBE).square() * share
        energy = energy + area.sum(1)
        by_born = by_born - 6 * area / born
        through = (by_born * chain).unsqueeze(2) * change * inverse
        slope = torch.where(self.apart, slope + through + through.transpose(1, 2), 0.0)
        force = torch.bmm(slope, x) - slope.sum(2, keepdim=True) * x
        return energy, force
