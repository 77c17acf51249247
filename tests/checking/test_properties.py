"""Every property passes where it holds and fails where it is broken on purpose."""

import broken_maps as broken
import numpy as np
import pytest

from molflow.checking import stationarity as stationarity_module
from molflow.checking.chirality import chirality
from molflow.checking.convergence import convergence
from molflow.checking.energy_tail import energy_tail
from molflow.checking.equivariance import equivariance
from molflow.checking.semigroup import semigroup
from molflow.checking.stationarity import stationarity
from molflow.comparison import find_reference


def test_the_shipped_map_is_equivariant_and_one_that_leans_is_not(checkpoint):
    sound = equivariance(broken.subject(checkpoint, 256))
    assert sound.verdict == "pass" and sound.value < 1e-11
    assert min(sound.details["mirrored_by_jump"]) > 1e-3
    found = equivariance(broken.subject(broken.altered(checkpoint, broken.leaning), 256))
    assert found.verdict == "fail" and found.value > 1e-5


def test_a_map_that_mirrors_with_its_input_fails(checkpoint):
    found = equivariance(broken.subject(broken.altered(checkpoint, broken.achiral), 256))
    assert found.verdict == "fail" and found.value < 1e-11
    assert "knows no hand" in found.sentence


def test_semigroup(checkpoint):
    sound = semigroup(broken.subject(checkpoint, 640, steps=4))
    assert sound.verdict == "pass" and 0.1 < sound.value < 0.45
    assert sound.interval[0] < sound.value < sound.interval[1]
    # Without a network both steps are the same, so that their residuals are.
    found = semigroup(broken.subject(broken.altered(checkpoint, broken.untrained), 512))
    assert found.verdict == "fail" and found.value == pytest.approx(1.0, abs=1e-6)
    assert semigroup(broken.subject(checkpoint, 64)).verdict == "inconclusive"


def test_pathwise_convergence(checkpoint):
    sound = convergence(broken.subject(checkpoint, 1024, steps=4))
    assert sound.verdict == "pass" and sound.value < 0.45
    assert sound.details["rmsd_nm"] == sorted(sound.details["rmsd_nm"], reverse=True)


def test_a_map_right_in_law_alone_does_not_converge(checkpoint):
    weak = broken.with_map(checkpoint, broken.Weak(checkpoint.flow_map))
    found = convergence(broken.subject(weak, 512, steps=1))
    assert found.verdict == "fail" and 0.7 < found.value < 1.3


def test_chirality(checkpoint):
    sound = chirality(broken.subject(checkpoint, 64, steps=4))
    assert sound.verdict == "inconclusive" and sound.value == 0
    found = chirality(broken.subject(broken.altered(checkpoint, broken.mirrored), 64, steps=4))
    assert found.verdict == "fail" and found.value > 0.9
    # The mirror image of a whole map still turns with its input.
    mirrored = broken.subject(broken.altered(checkpoint, broken.mirrored), 128)
    assert equivariance(mirrored).verdict == "pass"


def with_samples(checkpoint, positions, seed=1):
    """A subject whose samples are given."""
    given = broken.subject(checkpoint, len(positions), seed=seed)
    given.__dict__["positions"] = positions
    return given


@pytest.fixture(scope="module")
def md():
    reference = find_reference("alanine_dipeptide")
    return reference.positions[np.random.default_rng(0).permutation(len(reference.positions))]


def test_enough_samples_of_md_have_the_right_hand_and_its_energies(checkpoint, md):
    positions = np.concatenate([md, md])[:4000]
    assert chirality(with_samples(checkpoint, positions)).verdict == "pass"
    found = energy_tail(with_samples(checkpoint, md[:1500]))
    assert found.verdict == "pass" and found.value < 0.005
    assert energy_tail(with_samples(checkpoint, md[:64])).verdict == "inconclusive"


def test_samples_of_md_do_not_relax(checkpoint, md, monkeypatch):
    monkeypatch.setattr(stationarity_module, "_SHARE", 20)
    energy, basins = stationarity(with_samples(checkpoint, md[:480]))
    assert energy.verdict != "fail" and basins.verdict != "fail"
    assert energy.details["walkers"] == 24 and energy.details["blown_up"] == 0
    assert energy.value < 0.6
    assert sum(basins.details["later"].values()) == pytest.approx(1.0)


def test_heated_samples_have_a_tail_and_relax(checkpoint):
    hot = broken.subject(broken.altered(checkpoint, broken.heated), 128)
    assert energy_tail(hot).verdict == "fail"
    energy, _ = stationarity(hot)
    assert energy.verdict == "fail" and energy.details["shift_kt"] > 5
    assert energy.sentence.endswith("the samples were not at equilibrium.")


def test_few_walkers_are_inconclusive(checkpoint):
    for found in stationarity(broken.subject(checkpoint, 16)):
        assert found.verdict == "inconclusive" and "too few" in found.sentence


def judged_energies(shift, n, blown=0):
    rng = np.random.default_rng(3)
    frames = stationarity_module.FRAMES
    walkers = rng.normal(0, 5, (n, 1)) * 0.5 + rng.normal(0, 4.33, (n, frames + 1))
    walkers[:blown, frames // 2 :] = np.nan
    return stationarity_module._energy(("a", "A"), rng.normal(shift, 5, 8 * n), walkers, seed=0)


def test_energies_are_judged_in_units_of_their_spread():
    assert judged_energies(0.0, 800).verdict == "pass"
    found = judged_energies(2.0, 800)
    assert found.verdict == "fail" and found.value == pytest.approx(0.4, abs=0.05)
    assert judged_energies(-2.0, 800).verdict == "fail"
    assert judged_energies(0.3, 20).verdict == "inconclusive"
    assert "blew up" in judged_energies(0.0, 200, blown=20).sentence


def test_interval_of_the_shift_is_that_of_independent_members():
    found = judged_energies(0.0, 800)
    # Median of 6400 Gaussians, and of walkers of which each has its own mean of spread 2.5.
    error = 1.2533 * np.hypot(5 / 6400**0.5, 2.5 / 800**0.5) / 5
    assert found.interval[1] == pytest.approx(1.96 * error + found.value, rel=0.35)


@pytest.mark.parametrize(("moved", "verdict"), [(0, "pass"), (30, "inconclusive"), (80, "fail")])
def test_basins_that_empty_are_seen(checkpoint, md, moved, verdict):
    """Walkers that go from one frame of MD to another, as many as are told to."""
    from molflow.analysis.torsions import phi_psi

    topology = checkpoint.topology()
    import mdtraj

    psi = phi_psi(mdtraj.Trajectory(md, topology))[:, 1]
    helix, beta = md[(psi > -1.5) & (psi < 0.5)][:1], md[psi > 2.0][:1]
    starts = np.repeat(helix, 400, axis=0)
    positions = np.repeat(starts[:, None], stationarity_module.FRAMES + 1, axis=1)
    positions[:moved, 1:] = beta
    found = stationarity_module._basins(("b", "B"), positions, topology)
    assert found.verdict == verdict and found.value == pytest.approx(moved / 400)


def test_wells_of_any_torsion_are_basins():
    """Chains of four torsions, of which the last turns over in some walkers."""
    from molecules import chain, zigzag

    frames = stationarity_module.FRAMES + 1
    angles = np.full((200, frames, 4), 1.0) + 0.1 * np.random.default_rng(0).normal(
        size=(200, frames, 4))  # fmt: skip
    angles[:100, :, 3] -= 2.1
    angles[100:160, 1:, 3] -= 2.1
    positions = zigzag(angles.reshape(-1, 4)).reshape(200, frames, 7, 3)
    found = stationarity_module._basins(("b", "B"), positions, chain("C" * 7))
    assert found.verdict == "fail" and found.value == pytest.approx(0.3)
    assert list(found.details["start"]) and all("C7" in name for name in found.details["start"])
    alone = stationarity_module._basins(("b", "B"), positions[:, :, :3], chain("CCC"))
    assert alone.verdict == "inconclusive" and "no torsion" in alone.sentence
