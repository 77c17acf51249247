"""The strong flow map of Langevin dynamics that knows bonds, angles and torsions by formula."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from molflow.devices import like, upload
from molflow.flow_map.centring import centre
from molflow.maps.dynamics.flow_map import CLOCK
from molflow.maps.dynamics.scales import LangevinScales, check_lag, without_drift
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.maps.langevin.known_force import known_force
from molflow.maps.langevin.known_motion import KnownMotion, expansion_like
from molflow.maps.langevin.path_quadrature import PathQuadratureMap
from molflow.maps.langevin.step_plan import COARSE, StepPlan
from molflow.sde.base import time_tensor

#: Legendre coefficients of the rest of the force along a step, and those of the path beyond its
#: mean that the network is told. The path itself is resolved by the order of the map.
FORCES, PATH = 6, 8


class BondedLangevinFlowMap(InertialFlowMap):
    r"""Strong flow map of `UnderdampedLangevin` whose network supplies the rest of the force.

    Bonded forces make the fast vibrations, cost next to nothing and are known by formula; they are
    followed in short substeps (`KnownMotion`) within the one step. The rest of the force, which is
    soft, is a polynomial Σ f_n P_n along the step, n < 6, with coefficients from the network.
    It is told where the force is met: the Legendre coefficients y_n of the path that the molecule
    would take without the rest. y₀, the mean, is the conformation that it sees, and the next eight
    in units of the thermal displacement v sqrt(h² + τ²) are its vectors, τ the shortest of
    `LangevinScales.response_times`. Friction, temperature, velocities and noise enter through this
    path alone. With outputs a_n

        f_n = f a_n [h/sqrt(h² + τ²)]ⁿ/sqrt(1 + (h/τ)²),

    f the size and τ the response time of the rest of the force on the atom. n̄ is that of the
    motion under both forces.

    Parameters as for `LangevinFlowMap`; `scales` has bonded terms, and its sizes of forces are
    those of the rest.
    """

    outputs = FORCES

    def __init__(
        self,
        network: nn.Module,
        scales: LangevinScales,
        order: int,
        temperature: float | None = None,
        friction: float | None = None,
    ):
        super().__init__(network, scales, order, temperature, friction)
        assert scales.bonded is not None, "such a map is told a formula"
        bonded = known_force(scales.bonded, len(scales.masses))
        self.motion = KnownMotion(self.sde, bonded, self.basis, self.longest_lag)

    @staticmethod
    def inputs(order: int) -> int:
        """Return how many vectors per atom the network is given besides positions."""
        return PATH

    def at(self, temperature: float, friction: float) -> Self:
        """Return the map of the same force field in another state; see `DynamicsFlowMap.at`."""
        found = super().at(temperature, friction)
        bonded = self.motion.bonded
        found.motion = KnownMotion(found.sde, bonded, found.basis, found.longest_lag)
        return found

    def short_map(self) -> PathQuadratureMap:
        """Return the map of short steps that follows from the force alone."""
        return PathQuadratureMap(self)

    def compile_parts(self) -> None:
        """Have machine code made of the network and of the bonded forces."""
        super().compile_parts()
        self.motion.bonded.compile(dynamic=True)

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return n̄ = (F̄₂, F̄₁)/m, (batch, 2, atoms, 3) in nm/ps², for whitened features
        (batch, atoms, 3, size)."""
        h = (time_tensor(t) - time_tensor(s)).double().expand(len(x))
        check_lag(h, self.longest_lag)
        # The ratio of response and gain has a limit for short steps, which rounding must not drown.
        h = h.clamp(min=1e-6 * self.longest_lag)
        return self.implied(h, x, whitened, self.rest(h, self.path(h, x, whitened)))

    def planned_mean(self, s: float, t: float, x: Tensor, whitened: Tensor) -> Tensor:
        """Return n̄ for ends that are numbers and the same for all; see `FlowMap.planned_mean`.

        The path that the network is told is followed in coarser substeps than the motion.
        """
        check_lag(torch.tensor(t - s, dtype=torch.float64), self.longest_lag)
        h = max(t - s, 1e-6 * self.longest_lag)
        seen, plan = self.motion.plan_equal(h, x, COARSE), self.motion.plan_equal(h, x)
        rest = self.rest(plan.h, self._path(seen, self.motion.free(seen, x, whitened)))
        free = self.motion.free(plan, x, whitened)
        return self._means(plan.h, x, self.motion.respond(plan, free, rest)[1])

    def path(self, h: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return y_n of the motion without the rest of the force, (`PATH` + 1, batch, atoms, 3)."""
        parts, groups = [], _alike(h)
        for rows in groups:
            plan, x_rows, z_rows = self._planned(h, rows, x, whitened)
            parts.append(self._path(plan, self.motion.free(plan, x_rows, z_rows)))
        return _in_order(parts, groups, 1)

    def _planned(
        self, h: Tensor, rows: Tensor, x: Tensor, whitened: Tensor
    ) -> tuple[StepPlan, Tensor, Tensor]:
        """Return the plan of some steps, and their states and features."""
        plan, chosen = self.motion.plan(h[rows.to(h.device)], x), upload(rows, x.device)
        return plan, x[chosen], whitened[chosen]

    def _path(self, plan: StepPlan, free: Tensor) -> Tensor:
        shape = expansion_like(len(free), PATH + 1, free.dtype, free.device)
        found = self.motion.respond(plan, free)[0]
        return torch.einsum("np,pbax->nbax", shape, found)

    def still(self, positions: Tensor) -> Tensor:
        """Return y_n of a step of no length from positions (batch, atoms, 3)."""
        none = torch.zeros_like(positions).expand(PATH, *positions.shape)
        return torch.cat([positions[None], none])

    def implied(self, h: Tensor, x: Tensor, whitened: Tensor, rest: Tensor) -> Tensor:
        """Return n̄ of the motion under the bonded forces and a rest (count, batch, atoms, 3)."""
        parts, groups = [], _alike(h)
        for rows in groups:
            plan, x_rows, z_rows = self._planned(h, rows, x, whitened)
            free, given = self.motion.free(plan, x_rows, z_rows), rest[:, upload(rows, x.device)]
            parts.append(self.motion.respond(plan, free, given)[1])
        return self._means(h, x, _in_order(parts, groups, 0))

    def _means(self, h: Tensor, x: Tensor, response: Tensor) -> Tensor:
        gain = self.sde.gain(torch.zeros_like(h), h).diagonal(dim1=-2, dim2=-1)
        return response / like(gain[..., None, None], x)

    def rest(self, h: Tensor, path: Tensor) -> Tensor:
        """Return f_n/m of the network, (count, batch, atoms, 3) in nm/ps².

        Parameters
        ----------
        h : Tensor, (batch,) float64
        path : Tensor, (`PATH` + 1, batch, atoms, 3)
            y_n without the rest of the force.
        """
        h = upload(h, path.device)
        y = centre(path.flatten(0, 1)).unflatten(0, path.shape[:2])
        longest = torch.sqrt(h.square() + self.response.min().square()).to(path)
        unit = self.thermal_velocity(path) * longest[:, None, None]
        vectors = (y[1:] / unit).permute(1, 2, 3, 0)
        ends = torch.zeros_like(h), CLOCK * h / self.scales.longest_lag
        out = self.network(y[0] / self.scales.length, vectors, *(end.to(path) for end in ends))
        # What changes smoothly in time, as it does but for noise, has coefficients of order hⁿ.
        seen = (h.to(path) / longest)[:, None] ** torch.arange(FORCES, device=path.device)
        out = seen[:, None, None] * out
        size = torch.rsqrt(self.response.square() + h[:, None].square()).to(path)
        rest = without_drift(size[..., None, None] * out, self.root_masses)
        return (self.thermal_velocity(path)[..., None] * rest).permute(3, 0, 1, 2)

    def force(self, positions: Tensor) -> Tensor:
        """Return the force, known and learned, (batch, atoms, 3) in kJ/mol/nm."""
        return self.motion.bonded(positions) + self.rest_force(positions)

    def rest_force(self, positions: Tensor) -> Tensor:
        """Return the learned rest of the force at positions, in kJ/mol/nm."""
        none = torch.zeros(len(positions), dtype=torch.float64, device=positions.device)
        rest = self.rest(none, self.still(positions))[0]
        return self.root_masses.square().to(rest)[:, None] * rest


def _alike(h: Tensor, most: int = 4) -> tuple[Tensor, ...]:
    """Return the rows of steps of similar lengths, so that few are cut finer than they need.

    They are on the processor; lengths on another device are waited for.
    """
    h = h.cpu()
    if bool((h == h[0]).all()):
        return (torch.arange(len(h)),)
    return torch.argsort(h).chunk(most)


def _in_order(parts: list[Tensor], rows: tuple[Tensor, ...], dim: int) -> Tensor:
    order = upload(torch.argsort(torch.cat(rows)), parts[0].device)
    return torch.cat(parts, dim).index_select(dim, order)
