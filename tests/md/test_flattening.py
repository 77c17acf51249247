"""Simulations under a static bias: exact weights, known densities, resuming bit by bit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json
from molflow.md.bias import TorsionBias, TorsionForces, load_bias
from molflow.md.build import make_simulation
from molflow.md.energies import potential_energies
from molflow.md.flattening import FlatteningPlan, parse_flatten
from molflow.md.metadynamics import Metadynamics, built_bias, check_metadynamics, gaussian
from molflow.md.plan import plan_of
from molflow.md.replica import Replica, segment_path
from molflow.md.runner import part_folder, run_replicas
from molflow.md.simulate import simulate
from molflow.md.torsions import torsion
from molflow.systems import load_system
from molflow.units import thermal_energy

PHI_PSI = ((4, 6, 8, 14), (6, 8, 14, 16))
#: Torsions of the chain, in kJ/mol: k (1 + cos(n x - phase)) each.
CHAIN = {(0, 1, 2, 3): ((1, 0.5, 4.0), (3, 0.0, 9.0)), (1, 2, 3, 4): ((2, 1.0, 10.0),)}
SETTINGS = {
    "time": "24ps",
    "replicas": 2,
    "flatten": "bond:1,bond:2",
    "building": "100ps",
    "seed": 3,
    "frame_interval": "80fs",
    "equilibration": "4ps",
    "platform": "Reference",
    "jobs": 1,
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Five beads in a chain with bonds, angles and two independent torsions, nothing else.

    In bonds, angles and torsions the density is a product, so that the torsions have exactly
    the density exp(-U / kT) of their own potentials.
    """
    folder = tmp_path_factory.mktemp("chain")
    names = [f"C{i}" for i in range(1, 6)]
    types = "".join(
        f'<Type name="t{i}" class="t{i}" element="C" mass="14.0"/>' for i in range(1, 6)
    )
    atoms = "".join(f'<Atom name="{n}" type="t{n[1]}"/>' for n in names)
    bonds = "".join(f'<Bond atomName1="C{i}" atomName2="C{i + 1}"/>' for i in range(1, 5))
    stretch = "".join(
        f'<Bond class1="t{i}" class2="t{i + 1}" length="0.15" k="20000"/>' for i in range(1, 5)
    )
    bend = "".join(
        f'<Angle class1="t{i}" class2="t{i + 1}" class3="t{i + 2}" angle="1.9" k="300"/>'
        for i in range(1, 4)
    )
    twist = ""
    for (first, *_), terms in CHAIN.items():
        classes = " ".join(f'class{k}="t{first + k}"' for k in range(1, 5))
        numbers = " ".join(
            f'periodicity{j}="{n}" phase{j}="{phase}" k{j}="{k}"'
            for j, (n, phase, k) in enumerate(terms, 1)
        )
        twist += f"<Proper {classes} {numbers}/>"
    (folder / "chain.xml").write_text(
        f"<ForceField><AtomTypes>{types}</AtomTypes>"
        f'<Residues><Residue name="CHN">{atoms}{bonds}</Residue></Residues>'
        f"<HarmonicBondForce>{stretch}</HarmonicBondForce>"
        f"<HarmonicAngleForce>{bend}</HarmonicAngleForce>"
        f"<PeriodicTorsionForce>{twist}</PeriodicTorsionForce></ForceField>"
    )
    places = [(0.0, 0.0, 0.0), (1.5, 0.0, 0.0), (2.0, 1.4, 0.0), (3.4, 1.5, 0.4), (3.9, 2.6, 1.3)]
    lines = [
        f"HETATM{i:5d}  {n:<3} CHN A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C  "
        for i, (n, (x, y, z)) in enumerate(zip(names, places, strict=True), 1)
    ]
    lines += [f"CONECT{i:5d}{i + 1:5d}" for i in range(1, 5)]
    (folder / "chain.pdb").write_text("\n".join([*lines, "END", ""]))
    (folder / "system.yaml").write_text(
        "name: chain\nstructure: chain.pdb\n"
        f"forcefield: ['{folder / 'chain.xml'}']\n"
        "temperature: 300.0\nfriction: 5.0\ntimestep: 4.0\n"
    )
    return load_system(folder)


def spline(table, *angles):
    """The periodic tensor-product spline through a table from -pi, by SciPy."""
    knots = np.linspace(-np.pi, np.pi, len(table) + 1)
    values = np.pad(table, [(0, 1)] * table.ndim, mode="wrap")
    for angle in angles:
        values = CubicSpline(knots, values, bc_type="periodic")(angle)
    return float(values)


def random_bias(terms, seed=0, size=24):
    rng = np.random.default_rng(seed)
    return TorsionBias(terms, tuple(8 * rng.normal(size=(size,) * len(term)) for term in terms))


@pytest.mark.parametrize("terms", [(PHI_PSI,), (PHI_PSI[:1], PHI_PSI[1:], ((0, 1, 4, 5),))])
def test_bias_is_the_spline_of_its_table(terms):
    system = load_system("alanine_dipeptide")
    bias = random_bias(terms)
    simulation = make_simulation(system, 300.0, 1, "Reference", bias.forces())
    context = simulation.context
    plain = make_simulation(system, 300.0, 1, "Reference").context
    simulation.step(50)
    at = context.getState(positions=True).getPositions(asNumpy=True)._value
    expected = sum(
        spline(table, *(torsion(at[None], list(atoms))[0] for atoms in term))
        for term, table in zip(bias.terms, bias.tables, strict=True)
    )
    assert abs(expected) > 0.1 and bias.energy(context) == pytest.approx(expected, abs=1e-10)
    # The whole energy is that of the force field and the bias; forces are its derivatives.
    plain.setPositions(at)
    whole = context.getState(energy=True, forces=True)
    rest = plain.getState(energy=True).getPotentialEnergy()._value
    assert whole.getPotentialEnergy()._value == pytest.approx(rest + expected, abs=1e-9)
    forces = whole.getForces(asNumpy=True)._value
    step = 1e-6
    for atom, axis in ((4, 0), (6, 2), (8, 1), (14, 0)):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[atom, axis] += sign * step
            context.setPositions(moved)
            ends.append(context.getState(energy=True).getPotentialEnergy()._value)
        found = -(ends[0] - ends[1]) / (2 * step)
        assert forces[atom, axis] == pytest.approx(found, rel=1e-5, abs=1e-3)


def test_tables_can_be_changed_in_a_simulation():
    system = load_system("alanine_dipeptide")
    first, second = random_bias((PHI_PSI, PHI_PSI[:1])), random_bias((PHI_PSI, PHI_PSI[:1]), 1)
    forces = TorsionForces(first.terms, first.tables)
    changed = make_simulation(system, 300.0, 1, "Reference", forces.forces).context
    made = make_simulation(system, 300.0, 1, "Reference", second.forces()).context
    before = first.energy(changed)
    forces.change(changed, second.tables)
    assert first.energy(changed) == second.energy(made) != before


def test_bias_file(tmp_path):
    bias = random_bias((PHI_PSI, PHI_PSI[1:]))
    bias.save(tmp_path / "bias.npz")
    found = load_bias(tmp_path / "bias.npz")
    assert found.terms == bias.terms and found.digest == bias.digest
    assert all(np.array_equal(a, b) for a, b in zip(found.tables, bias.tables, strict=True))
    assert random_bias(bias.terms, 1).digest != bias.digest
    np.savez(tmp_path / "other.npz", energies=np.zeros(3))
    with pytest.raises(MolflowError, match="not a bias in torsions"):
        load_bias(tmp_path / "other.npz")


def test_torsions_by_name(chain):
    system = load_system("alanine_dipeptide")
    for text in ("phi,psi", "phi1,psi1", "4-6-8-14, 6-8-14-16"):
        assert parse_flatten(system, text) == (PHI_PSI,)
    assert parse_flatten(system, ["psi", "phi"]) == (PHI_PSI[1:], PHI_PSI[:1])
    assert parse_flatten(chain, "bond:1,bond:2") == (tuple(CHAIN),)
    for text, sentence in (
        ("chi1", "'alanine_dipeptide' has phi, phi1, psi, psi1: choose"),
        ("phi,psi,4-6-8-14", "one torsion or two"),
        ("phi,phi1", "two different ones"),
        ("1-2-3-22", "four different atoms of the 22"),
        ("1-2-3-3", "four different atoms"),
        (["phi"] * 9, "9 terms"),
    ):
        with pytest.raises(MolflowError, match=sentence):
            parse_flatten(system, text)


def test_gaussian_is_periodic():
    points = -np.pi + 2 * np.pi * np.arange(12) / 12
    found = gaussian(np.array([-3.0, 1.0]), 0.4, 12)
    far = np.exp(-0.5 * ((2 * np.pi - 3.0 - points[-1]) / 0.4) ** 2)
    near = np.exp(-0.5 * ((1.0 - points[8]) / 0.4) ** 2)
    assert found.shape == (12, 12) and found[11, 8] == pytest.approx(far * near, rel=1e-12)
    assert gaussian(points[[5, 3]], 0.4, 12)[5, 3] == 1.0


def test_bias_of_known_tables(tmp_path):
    """Of tables that are -(1 - 1/g) F + anything: -(1 - 1/contrast) F, cut off at the cap."""
    x = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    free_energy = 20 * (1 - np.cos(x))
    plan = FlatteningPlan((PHI_PSI[:1],), 25.0, 400, contrast=4.0, bias_factor=5.0)
    for index in range(4):  # the first half does not count, nor does a constant
        table = -0.8 * free_energy * (index > 1) + 7.0 + index
        np.savez(tmp_path / f"segment-{index:05d}.npz", table_0=table)
    found = built_bias(plan, tmp_path)
    assert found.tables[0] == pytest.approx(-0.75 * np.minimum(free_energy, 25.0), abs=1e-12)


def test_several_terms_flatten_less_each(chain):
    """Weights multiply, so that what one term divides by 8 two divide by 4.5 each."""
    def contrast(flatten):
        plan = plan_of(chain, "1ps", frame_interval="100fs", equilibration=0, flatten=flatten)
        return plan.flattening.contrast

    assert contrast("bond:1") == contrast("bond:1,bond:2") == 8.0
    assert contrast(["bond:1", "bond:2"]) == pytest.approx(4.5)


def exact_density(atoms, kt, bins):
    fine = -np.pi + 2 * np.pi * (np.arange(bins * 40) + 0.5) / (bins * 40)
    energy = sum(k * (1 + np.cos(n * fine - phase)) for n, phase, k in CHAIN[atoms])
    density = np.exp(-energy / kt).reshape(bins, 40).sum(axis=1)
    return density / density.sum()


def test_weighted_density_is_the_boltzmann_density(chain, tmp_path):
    simulate(
        chain, "2ns", replicas=1, out=tmp_path, flatten=["bond:1", "bond:2"], building="300ps",
        frame_interval="400fs", equilibration="20ps", platform="Reference", progress=False,
    )  # fmt: skip
    import mdtraj

    frames = mdtraj.load(tmp_path / "replica-0.dcd", top=tmp_path / "topology.pdb").xyz
    weights = np.exp(read_arrays(tmp_path / "replica-0.npz")["log_weights"])
    weights /= weights.sum()
    kt = thermal_energy(300.0)
    raw = []
    for atoms in CHAIN:
        angles = torsion(frames, list(atoms))
        cells = np.floor((angles + np.pi) / (2 * np.pi) * 12).astype(int) % 12
        found = np.bincount(cells, weights, 12)
        expected = exact_density(atoms, kt, 12)
        assert np.abs(found - expected).max() < 0.03
        seen = expected > 0.05
        # Two wells in three, or one in two, are reached from the start over 18 to 20 kJ/mol.
        assert np.abs(np.log(found[seen] / expected[seen])).max() < 0.15
        raw.append(np.abs(np.bincount(cells, minlength=12) / len(cells) - expected).max())
    assert max(raw) > 0.1  # unweighted frames have another density


def test_stored_weights_are_the_bias_at_the_frame(tmp_path):
    system = load_system("alanine_dipeptide")
    bias = random_bias((PHI_PSI,), size=36)
    plan = plan_of(
        system, "1ps", frame_interval="100fs", equilibration="0ps", flatten="phi,psi", seed=5
    )
    replica = Replica(system, plan, bias)
    _, start = replica.advance(plan.seed, None)
    arrays, _ = replica.advance(plan.seed, start)
    # The last frame is where the context still is, in double precision.
    at = replica.simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    value = spline(bias.tables[0], *(torsion(at[None], list(atoms))[0] for atoms in PHI_PSI))
    kt = thermal_energy(system.temperature)
    assert arrays["log_weights"].dtype == np.float64 and len(arrays["log_weights"]) == 10
    assert arrays["log_weights"][-1] == pytest.approx(value / kt, abs=1e-10)
    plain = make_simulation(system, 300.0, 1, "Reference").context
    plain.setPositions(at)
    energy = plain.getState(energy=True).getPotentialEnergy()._value
    assert arrays["energies"][-1] == pytest.approx(energy, abs=1e-8)
    found = potential_energies(system, arrays["positions"], jobs=1)
    assert np.abs(found - arrays["energies"]).max() < 0.05
    run_replicas(system, [plan], tmp_path, 1, False, bias)
    kept = read_arrays(segment_path(part_folder(tmp_path, 0), 0))
    assert all(np.array_equal(kept[name], values) for name, values in arrays.items())
    for other in (random_bias((PHI_PSI,), 1), None):
        with pytest.raises(MolflowError, match="begun under another bias"):
            run_replicas(system, [plan], tmp_path, 1, False, other)


SCRIPT = """
from molflow.md.simulate import simulate
simulate({system!r}, progress=False, **{settings!r})
"""


def test_resume_after_kills_is_bitwise_the_same(chain, tmp_path):
    """Killed in the metadynamics, then in the second replica."""
    whole, out = tmp_path / "whole", tmp_path / "killed"
    manifest = simulate(chain, out=whole, progress=False, **SETTINGS)
    script = SCRIPT.format(system=str(chain.folder), settings=SETTINGS | {"out": str(out)})
    for part in ("metadynamics", "replica-1"):
        process = subprocess.Popen([sys.executable, "-c", script])
        deadline = time.monotonic() + 120
        while not (out / part / "segment-00000.npz").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "replica-0.dcd").exists()
        time.sleep(0.5)  # the worker notices that its parent is gone
    simulate(chain, out=out, progress=False, **SETTINGS)
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in out.iterdir())
    assert {"bias.npz", "replica-0.npz", "replica-1.dcd"} <= set(names)
    for name in names:
        if name != "simulation.json":
            assert (whole / name).read_bytes() == (out / name).read_bytes(), name
    stored = read_json(out / "simulation.json")
    assert stored["plan"] == manifest["plan"] and stored["temperature"] == 300.0
    assert stored["sha256"] == manifest["sha256"] and "bias.npz" in stored["sha256"]
    with pytest.raises(MolflowError, match="different: flattening"):
        simulate(chain, out=out, progress=False, **SETTINGS | {"cap": 12.0})


def test_metadynamics_of_another_plan_is_refused(chain, tmp_path):
    plan = FlatteningPlan(parse_flatten(chain, "bond:1"), 30.0, 4, segment_frames=2)
    builder, stored = Metadynamics(chain, plan, "Reference"), None
    for _ in range(3):  # the start and two segments
        tables, stored = builder.advance(1, stored)
    table = tables["table_0"]
    # Four Gaussians of at most the first height, and never less than the tempered one.
    assert plan.height < table.max() <= 4 * plan.height
    check_metadynamics(tmp_path, stored, chain, plan, 1, "Reference")
    other = FlatteningPlan(plan.terms, 30.0, 4, segment_frames=2, width=0.2)
    for wrong in ((plan, 2), (other, 1)):
        with pytest.raises(MolflowError, match="holds another metadynamics"):
            check_metadynamics(tmp_path, stored, chain, *wrong, "Reference")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cap": -1.0}, "cap is"),
        ({"cap": "high"}, "cap is"),
        ({"building": "0.7ps"}, "building"),
        ({"tempering": "300K:600K:4"}, "give one of them"),
        ({"flatten": "chi1"}, "chi1"),
    ],
)
def test_wrong_arguments_are_refused(change, named):
    system = load_system("alanine_dipeptide")
    with pytest.raises(MolflowError, match=named):
        plan_of(system, "10ns", **{"flatten": "phi,psi"} | change)
