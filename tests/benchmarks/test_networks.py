"""What the benchmark of the networks measures with, and what its committed figures say."""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import measuring  # noqa: E402
import networks  # noqa: E402


def test_a_peptide_of_one_residue_is_the_dipeptide_without_its_last_cap():
    graph, whole = networks.peptide(16), networks.DIPEPTIDE
    assert graph.elements == whole.elements[:16] and graph.names == whole.names[:16]
    assert set(graph.bonds) == {pair for pair in whole.bonds if max(pair) < 16}


def test_a_long_peptide_is_one_molecule_with_the_valences_of_its_elements():
    graph = networks.peptide(506)
    degrees = [len(bonded) for bonded in graph.neighbours()]
    assert len(graph.bonds) == 505 and graph.distances()[0].count(0) == 1
    # The last residue, the fiftieth alanine, lacks what would follow it.
    expected = {1: 1, 8: 1, 7: 3}
    for element, degree in list(zip(graph.elements, degrees, strict=True))[:-10]:
        assert degree == expected.get(element, degree) and degree <= 4


def test_contestants_have_as_many_parameters_as_the_published_transformer():
    counts = {
        name: sum(value.numel() for value in make().parameters())
        for name, make in networks.contestants(networks.DIPEPTIDE).items()
    }
    assert counts["transformer"] == counts["transformer_lean"]
    for name, count in counts.items():
        assert name.endswith("_default") or count == pytest.approx(1.65e6, rel=0.04)


def test_flops_and_bytes_of_a_product_are_counted():
    a = torch.ones(64, 32)
    b = torch.ones(32, 16)
    floor = measuring.floor_of(lambda: a @ b)
    assert floor["flops"] == 2 * 64 * 32 * 16
    assert floor["bytes"] == 4 * (64 * 32 + 32 * 16 + 64 * 16)
    assert floor["seconds"] == max(floor["seconds_of_flops"], floor["seconds_of_bytes"]) > 0


def test_peak_memory_is_that_of_the_largest_array():
    peak = measuring.peak_memory(lambda: torch.ones(50_000_000).sum())
    assert 1.9e8 <= peak < 2.3e8
    assert measuring.peak_memory(lambda: torch.ones(10_000_000_000)) is None


def test_committed_figures_are_those_of_their_parts():
    text = (ROOT / "benchmarks/results/networks.json").read_text(encoding="utf-8")
    results = json.loads(text)
    assert results["summary"] == networks.summary(results)


def test_operations_and_bytes_of_the_sparse_network_grow_as_the_number_of_atoms():
    """Counted, not timed: the exponent of the times depends on caches and on who else is there."""
    floors = []
    for atoms in (300, 1200):
        with torch.random.fork_rng():
            net = networks.network(networks.DEFAULTS["sparse"], networks.peptide(atoms))
        forward = networks.modes(net, networks.inputs(atoms, 1))["forward"]
        floors.append(measuring.floor_of(forward))
    for key in ("flops", "bytes"):
        assert floors[1][key] / floors[0][key] == pytest.approx(4.0, rel=0.03)
