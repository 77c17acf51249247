"""Noise by the temperatures of chains, on springs whose imperfect map has a law that is known."""

import json
import shutil

import numpy as np
import pytest
import torch
from harmonic_map import MASS, REST, SYSTEM, HarmonicMap, thermal_state

from molflow.analysis.kinetics.temperatures import atom_temperatures
from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.files import read_json
from molflow.maps.langevin.residual_balance import (
    add_balancing_noise,
    balancing_noise,
    frictions_of_steps,
)
from molflow.nn.graph import MolecularGraph
from molflow.propagation.motion import Motion
from molflow.propagation.paths import ChainPaths, ChainResiduals
from molflow.sde.harmonic import HarmonicMode
from molflow.training.checkpoint import find_checkpoint, load_checkpoint

LAG, GRAPH = 0.013, MolecularGraph.from_topology(SYSTEM.topology())
SHIPPED = "alanine_dipeptide_gfn2:dynamics"


class Slowed(HarmonicMap):
    """The exact map, but for a part of all velocities that is lost in every step."""

    lost = 0.01

    @property
    def root_masses(self):
        return torch.full((len(REST),), MASS, dtype=torch.float64).sqrt()

    def mean(self, s, t, x, whitened):
        mean = super().mean(s, t, x, whitened)
        increment = Increment.from_whitened(self.basis, t - s, whitened.double())
        end = self.sde.apply(s, t, x.double(), mean.double(), increment)[:, 1]
        gain = self.sde.gain(s, t).diagonal()[1]
        less = torch.zeros_like(mean)
        less[:, 1] = self.lost / gain * (end - end.mean(dim=1, keepdim=True))
        return mean - less


def law(mode, order, lost, friction):
    """T_x and T_v of steps that lose so much of the velocity, with the noise of a friction.

    In closed form: the covariance that a step with all its noise leaves as it is.
    """
    less = torch.diag(torch.tensor([1.0, 1.0 - lost], dtype=torch.float64))
    lift, seen = less @ mode.lift(LAG), less @ mode.projection(LAG, order)
    seen = seen * Basis(order).legendre_scales(torch.tensor(LAG, dtype=torch.float64))
    noise = seen @ seen.mT
    noise[1, 1] += 2.0 * friction * LAG
    system = torch.eye(4, dtype=torch.float64) - torch.kron(lift, lift)
    covariance = torch.linalg.solve(system, noise.flatten()).reshape(2, 2)
    return torch.stack([mode.frequency**2 * covariance[0, 0], covariance[1, 1]])


@pytest.mark.parametrize(
    ("period", "friction", "order", "lost"),
    [(0.0233, 1.0, 14, 2e-4), (0.1, 1.0, 14, 3e-4), (1.0, 0.3, 14, 1e-4), (0.0152, 1.0, 4, 0.0),
     (0.1, 10.0, 14, 3e-3)],
)  # fmt: skip
def test_what_a_step_loses_comes_back_but_for_small_parts_of_it(period, friction, order, lost):
    mode = HarmonicMode(period, friction)
    cold = law(mode, order, lost, 0.0)
    assert 0.97 < cold.min() < cold.max() < 0.99
    found = frictions_of_steps(300.0 * cold[1:].numpy(), 300.0, friction)
    warm = law(mode, order, lost, found.item())
    lacked = float((1.0 - cold).max())
    assert (warm - 1.0).abs().max() < lacked * (2.0 * lacked + friction * LAG)


def test_drawn_noise_warms_chains_as_the_law_says():
    flow_map = Slowed(order=6, friction=5.0)
    cold = law(flow_map.mode, 6, flow_map.lost, 0.0)
    frictions = frictions_of_steps(np.full(len(REST), 300.0 * float(cold[1])), 300.0, 5.0)
    noise = balancing_noise(flow_map, GRAPH, frictions, LAG)
    sizes = torch.tensor([flow_map.mode.frequency, 1.0]) / flow_map.width
    for residuals, expected in (
        (None, cold),
        (
            ChainResiduals(noise, 300.0, 5.0, seed=7),
            law(flow_map.mode, 6, flow_map.lost, frictions[0]),
        ),
    ):
        paths = ChainPaths(flow_map.basis, 32, len(REST), seed=4)
        motion, x, found = Motion(flow_map, residuals=residuals), thermal_state(flow_map, 32), []
        for k in range(110):
            x = motion.walk(x, paths, k * LAG, LAG, 1)
            away = torch.stack([x[:, 0] - REST, x[:, 1]], dim=1)
            away = sizes[:, None, None] * (away - away.mean(dim=2, keepdim=True))
            if k >= 40:
                found.append(away.square().sum((2, 3)) / 63)
        found = torch.stack(found).mean(0)
        error = found.std(0) / len(found) ** 0.5
        assert (found.mean(0) - expected).abs().max() < 4.0 * error.max() < 0.08
    assert expected.min() > 1.0 > 0.92 > cold.max()


def test_noise_moves_no_centre_and_gives_each_atom_its_own():
    flow_map = load_checkpoint(SHIPPED).flow_map
    frictions = np.linspace(0.0, 0.05, len(REST))
    noise = balancing_noise(flow_map, GRAPH, frictions, 0.02)
    x = REST.expand(4000, -1, -1)
    normal = torch.randn(
        4000, 6 * len(REST), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    drawn = noise.draw(x, noise.factor(0.02, 300.0, 1.0), normal)
    assert not drawn[:, 0].any()
    momenta = noise.masses[:, None] * drawn[:, 1]
    assert momenta.sum(1).abs().max() < 1e-9 * momenta.abs().max()
    given = (drawn[:, 1].square().sum(-1) * noise.masses).mean(0)
    # In all 3 λ h kT an atom; what the centre would have had is spread over the others.
    wanted = 6.0 * torch.from_numpy(frictions) * 0.02 * 0.00831446 * 300.0
    assert float(given.sum() / wanted.sum()) == pytest.approx(1.0, abs=0.01)
    assert torch.allclose(given, wanted, atol=0.1 * float(wanted.max()))


def write_chains(out, checkpoint, kelvin, chains=80, frames=50, change=None):
    """Write what propagate leaves of chains whose atoms have these temperatures, exactly."""
    masses = checkpoint.flow_map.root_masses.square().double().numpy()
    generator = np.random.default_rng(0)
    velocities = generator.standard_normal((chains * frames, len(REST), 3))
    velocities *= np.sqrt(kelvin / atom_temperatures(velocities, masses).mean(axis=0))[:, None]
    np.savez(out.with_suffix(".npz"), velocities=velocities)
    told = {
        "plan": {
            "weights_sha256": checkpoint.weights_hash, "residual_sha256": None, "path_seed": 3
        } | (change or {}).get("plan", {}),
        "broken": [], "temperature": 300.0, "friction": 2.0, "step_fs": 20.0,
        "chains": chains, "frames_per_chain": frames, "frame_interval_ps": 1.0,
    }  # fmt: skip
    others = {name: value for name, value in (change or {}).items() if name != "plan"}
    out.with_suffix(".json").write_text(json.dumps(told | others))


@pytest.fixture
def own(tmp_path):
    """A copy of the shipped checkpoint."""
    shutil.copytree(find_checkpoint(SHIPPED), tmp_path / "checkpoint")
    return load_checkpoint(tmp_path / "checkpoint")


def test_a_checkpoint_takes_the_noise_of_its_own_chains(own, tmp_path):
    out, kelvin = tmp_path / "chains.dcd", np.linspace(270.0, 310.0, len(REST))
    write_chains(out, own, kelvin)
    measured = add_balancing_noise(own.folder, out)
    rates = 2.0 * np.maximum(0.0, 300.0 / kelvin - 1.0)
    np.testing.assert_allclose(measured["frictions_of_steps"], rates, atol=1e-5)
    np.testing.assert_allclose(measured["temperatures"], kelvin, atol=0.006)
    # Of 50 independent frames in each of 80 chains: T sqrt(2/3/n).
    assert np.mean(measured["standard_errors"]) == pytest.approx(290.0 / 6000.0**0.5, rel=0.1)
    assert measured["frictions_of_steps"][-1] == 0.0 and measured["ps_of_each"] == 50.0
    assert read_json(own.folder / "model.json")["balance"] == measured
    noisy = load_checkpoint(own.folder)
    assert noisy.weights_hash == own.weights_hash and noisy.residual.block == 0.02
    masses = own.flow_map.root_masses.square().double().numpy()
    centre = (masses * rates).sum() / (masses.sum() * rates.sum())
    wanted = 2.0 * rates * 0.02 * 0.00831446 * 300.0 / masses / (1.0 - centre)
    held = noisy.residual.by_map[0].double().numpy()
    np.testing.assert_allclose(np.diag(held)[3 * len(REST) :: 3], wanted, rtol=1e-4, atol=1e-9)
    assert not held[: 3 * len(REST)].any() and np.count_nonzero(held) == 3 * (rates > 0).sum()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"plan": {"weights_sha256": "other"}}, "of other weights"),
     ({"plan": {"residual_sha256": "some"}}, "residual noise themselves"),
     ({"broken": [{"chain": 1}]}, "1 of them broke"),
     ({"temperature": 350.0}, "at 350 K, the map at 300 K"),
     ({"chains": 1}, "one alone"),
     ({"chains": 81}, "is damaged, or was not made for this"),
     ({"step_fs": None}, "is damaged, or was not made for this")],
)  # fmt: skip
def test_chains_that_do_not_tell_are_refused(own, tmp_path, change, said):
    out = tmp_path / "chains.dcd"
    write_chains(out, own, np.full(len(REST), 280.0), change=change)
    with pytest.raises(MolflowError, match=said):
        add_balancing_noise(own.folder, out)


@pytest.mark.parametrize("damage", ["none", "zero", "nan", "list"])
def test_damaged_chains_leave_the_checkpoint_as_it_is(own, tmp_path, damage):
    out = tmp_path / "chains.dcd"
    write_chains(out, own, np.full(len(REST), 280.0))
    made = {"zero": np.zeros((4000, len(REST), 3)), "nan": np.full((4000, len(REST), 3), np.nan)}
    if damage == "list":
        out.with_suffix(".json").write_text("[]")
    else:
        named = {"positions": np.zeros(3)} if damage == "none" else {"velocities": made[damage]}
        np.savez(out.with_suffix(".npz"), **named)
    before = {path.name: path.read_bytes() for path in own.folder.iterdir()}
    with pytest.raises(MolflowError, match="chains.dcd' is damaged"):
        add_balancing_noise(own.folder, out)
    assert before == {path.name: path.read_bytes() for path in own.folder.iterdir()}


def test_few_chains_of_the_right_temperature_ask_for_no_noise(own, tmp_path):
    out, kelvin = tmp_path / "chains.dcd", np.full(len(REST), 300.0)
    kelvin[3] = 290.0  # by chance
    write_chains(out, own, kelvin, chains=8, frames=8)
    with pytest.raises(MolflowError, match="0.5 ± .* colder than the bath, which may be chance"):
        add_balancing_noise(own.folder, out)


def test_what_has_no_velocities_or_loses_nothing_is_refused():
    with pytest.raises(MolflowError, match="no map of Langevin dynamics with inertia"):
        add_balancing_noise("alanine_dipeptide", "chains.dcd")
    flow_map = load_checkpoint(SHIPPED).flow_map
    with pytest.raises(MolflowError, match="no atom of the chains is colder"):
        balancing_noise(flow_map, GRAPH, np.zeros(len(REST)), 0.02)
