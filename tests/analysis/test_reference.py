import numpy as np
import pytest
from synthetic import reference

from molflow.analysis.floor import split_reference
from molflow.analysis.reference import load_reference
from molflow.errors import MolflowError


def test_select_remaps_positions_to_their_own_frames():
    whole = reference(frames=300)
    part = whole.select([0, 2])
    assert part.runs == (0, 2) and part.held_out_runs == (2,)
    assert np.array_equal(part.torsions[:100], whole.torsions[:100])
    assert np.array_equal(part.torsions[100:], whole.torsions[200:])
    # Each thinned position must still be that of the frame that its index names.
    for xyz, frame in zip(part.positions, part.position_frame, strict=True):
        old = frame if frame < 100 else frame + 100
        index = np.flatnonzero(whole.position_frame == old)
        assert len(index) == 1 and np.array_equal(xyz, whole.positions[index[0]])
    first, last = whole.position_frame < 100, whole.position_frame >= 200
    assert len(part.positions) == np.sum(first | last)


def test_save_and_load_give_the_same_numbers(tmp_path):
    whole = reference(frames=60)
    whole.save(tmp_path / "ref")
    again = load_reference(tmp_path / "ref")
    for name in ("torsions", "energies", "replica", "positions", "position_frame"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))
    assert again.topology == whole.topology and again.topology.n_bonds == 21
    assert again.held_out_runs == (2,) and again.ensemble == whole.ensemble
    assert again.delta_f_alpha_l is None


def test_unknown_runs_are_refused():
    with pytest.raises(MolflowError, match=r"runs \[0, 1, 2\]"):
        reference(frames=30).select([7])
    with pytest.raises(MolflowError):
        reference(frames=30, held_out=()).held_out()


def test_inconsistent_parts_are_refused(tmp_path):
    reference(frames=30).save(tmp_path)
    with np.load(tmp_path / "reference.npz") as arrays:
        broken = dict(arrays) | {"energies": arrays["energies"][:-1]}
    np.savez(tmp_path / "reference.npz", **broken)
    with pytest.raises(MolflowError, match="differ in length"):
        load_reference(tmp_path)


def test_floor_uses_disjoint_runs():
    rng = np.random.default_rng(0)
    whole = reference(frames=300)
    split = split_reference(whole, 1, rng)
    ((model, truth),) = split.floors
    assert split.scored.runs == truth.runs == (2,)
    assert model.runs == (0, 1)
    split = split_reference(reference(frames=300, held_out=()), 1, rng)
    ((model, truth),) = split.floors
    assert not set(model.runs) & set(truth.runs)
    assert len(split.scored.torsions) == 300


def test_a_single_run_is_halved_by_whole_blocks_at_random():
    one = reference(frames=300).select([0])
    split = split_reference(one, 7, np.random.default_rng(0))
    assert len(split.scored.torsions) == 100 and len(split.floors) == 5
    place = {float(phi): i for i, phi in enumerate(one.torsions[:, 0])}
    chosen = []
    for sides in split.floors:
        first, second = ([place[float(phi)] for phi in side.torsions[:, 0]] for side in sides)
        assert sorted(first + second) == list(range(100))
        assert abs(len(first) - len(second)) <= 14
        assert not {i // 7 for i in first} & {i // 7 for i in second}
        chosen.append(tuple(first))
    assert len(set(chosen)) == 5
