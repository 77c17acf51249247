"""Speed, memory, scaling, training curves and handedness of the networks.

    python benchmarks/networks.py --data DATA --work WORK

DATA is a training set of alanine dipeptide (`molflow prepare`). Contestants take turns and the
median of their processor times is taken, because a machine may be shared. Each part is kept in
WORK when it is done, and is not done again; all that is done goes to
``benchmarks/results/networks.json``, which names what is missing.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from measuring import floor_of, interleaved, keep_freed_memory, peak_memory
from network_training import Step, mirror_fraction, train
from peers import GraphTransformer
from peptides import DIPEPTIDE, peptide
from record import command_line, markdown, once, write_results

from molflow.data.dataset import TrainingData, load_training_data
from molflow.files import read_json
from molflow.maps.denoiser.batches import scaled_positions
from molflow.nn.graph import MolecularGraph
from molflow.nn.registry import NETWORKS, build_network, network_configuration
from molflow.nn.sparse_attention import SparseAttention
from molflow.sampling.ensemble import sample
from molflow.systems import load_system
from molflow.testing.distance_only import DistanceOnly
from molflow.training.checkpoint import load_checkpoint
from molflow.training.configuration import load_configuration

SYSTEM = load_system("alanine_dipeptide")
CONFIG = load_configuration([SYSTEM.folder / "training.yaml"])
INPUTS, DURATION = 5, 8.517
#: Molecules in a batch of that many atoms.
BATCHES = {22: 64, 138: 8, 500: 1, 2000: 1}
#: About 1.65 million parameters each, the published number. The tensor-product network, which does
#: far more with each parameter, is measured at its default size alone.
EQUAL = {
    "dense": {"kind": "dense", "scalars": 152, "vectors": 72},
    "sparse": {"kind": "sparse", "scalars": 160, "vectors": 64},
}
DEFAULTS = {kind: {"kind": kind} for kind in NETWORKS}
#: Times the learning rate of the configuration. At the rate of the others the tensor-product
#: network takes longer to learn which hand the molecule has.
RATES = {"tensor_product": 3.0}
#: What equal time leaves undecided is also trained for so many times as long.
LONGER = {"sparse": 2, "tensor_product": 4}


def network(sizes: dict, graph: MolecularGraph):
    """Return an untrained network of a configuration."""
    config = network_configuration(sizes)
    return build_network(config, graph, INPUTS, DURATION, CONFIG.map.sigma_max)


def contestants(graph: MolecularGraph) -> dict:
    """Return makers of the networks and of the transformer for a molecule."""
    sizes = EQUAL | {f"{kind}_default": part for kind, part in DEFAULTS.items()}
    makers = {name: lambda part=part: network(part, graph) for name, part in sizes.items()}
    makers["transformer"] = lambda: GraphTransformer(graph, INPUTS, DURATION)
    makers["transformer_lean"] = lambda: GraphTransformer(graph, INPUTS, DURATION, lean=True)
    return makers


def inputs(atoms: int, batch: int):
    """Return positions, noise and times of a step."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, atoms, 3, generator=generator)
    z = torch.randn(batch, atoms, 3, INPUTS, generator=generator)
    s = 5.0 * torch.rand(batch, generator=generator)
    return x - x.mean(1, keepdim=True), z, s, s + 1.0


def modes(net, arguments) -> dict:
    """Return what is timed."""
    tangents = tuple(torch.ones_like(value) for value in arguments)

    def forward():
        with torch.no_grad():
            net(*arguments)

    def backward():
        net.zero_grad(set_to_none=True)
        net(*arguments).square().sum().backward()

    def jvp():
        with torch.no_grad():
            torch.func.jvp(net, arguments, tangents)

    return {"forward": forward, "jvp": jvp, "forward_backward": backward}


def speed(atoms: int, rounds: int) -> dict:
    """Return time per molecule (s), peak memory (bytes), floors and parameters per contestant."""
    batch = BATCHES[atoms]
    arguments = inputs(atoms, batch)
    tasks, rows = {}, {}
    for name, make in contestants(peptide(atoms) if atoms > 22 else DIPEPTIDE).items():
        net = make()
        torch.nn.init.normal_(net.last if hasattr(net.last, "shape") else net.last.weight, std=0.1)
        row = {"parameters": sum(p.numel() for p in net.parameters()), "batch": batch}
        for mode, task in modes(net, arguments).items():
            memory = peak_memory(task)
            row[mode] = {"peak_bytes": memory}
            if memory is not None:
                tasks[name, mode] = task
        row["floor"] = floor_of(tasks.get((name, "forward")))
        rows[name] = row
        print(atoms, name, row, flush=True)
    for (name, mode), times in interleaved(tasks, rounds).items():
        rows[name][mode] |= {key: value / batch for key, value in times.items()}
    for row in rows.values():
        if "seconds" in row["forward"]:
            row["floor"]["distance"] = row["forward"]["seconds"] * batch / row["floor"]["seconds"]
    return rows


def train_step(positions, rounds: int) -> dict:
    """Return processor seconds of a training step of 64 molecules per contestant."""
    makers = contestants(DIPEPTIDE).items()
    tasks = {name: Step(make(), CONFIG, positions, DIPEPTIDE) for name, make in makers}
    rows = interleaved(tasks, rounds)
    for name, row in rows.items():
        row["ratio"] = row["seconds"] / rows["transformer"]["seconds"]
        row["ratio_lean"] = row["seconds"] / rows["transformer_lean"]["seconds"]
        row["parameters"] = sum(p.numel() for p in tasks[name].flow_map.parameters())
    return rows


def scaling(rounds: int, sizes: tuple[int, ...] = (500, 1000, 2000, 4000)) -> dict:
    """Return the exponent of the sparse network's time, default size, against atoms."""
    torch.set_num_threads(1)
    tasks = {}
    for atoms in sizes:
        net = SparseAttention(peptide(atoms), INPUTS, DURATION)
        torch.nn.init.normal_(net.last, std=0.1)
        for mode, task in modes(net, inputs(atoms, 1)).items():
            if mode != "jvp":
                tasks[mode, atoms] = task
    times = interleaved(tasks, rounds)
    result = {"atoms": list(sizes)}
    x = torch.log(torch.tensor(sizes).double())
    for mode in ("forward", "forward_backward"):
        seconds = [times[mode, atoms]["seconds"] for atoms in sizes]
        y = torch.log(torch.tensor(seconds).double())
        slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
        result[mode] = {"seconds": seconds, "exponent": float(slope)}
    return result


def scaling_in_kept_memory(rounds: int) -> dict:
    """Return what `scaling` does in a process whose allocator keeps what is freed.

    By default glibc returns large tensors to the system, which clears every page again when the
    next one is made: at thousands of atoms that takes longer than the arithmetic.
    """
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=keep_freed_memory
    ) as pool:
        return pool.submit(scaling, rounds).result()


def summary(parts: dict) -> dict:
    """Pick the figures that others read, of the parts that there are."""
    steps, training = parts.get("train_step", {}), parts.get("training", {})
    mirrored = {
        name + suffix: row["mirror_fraction"]
        for suffix, rows in (("", training), ("_longer", parts.get("training_longer", {})))
        for name, row in rows.items()
    }
    if "shipped" in parts:
        mirrored["dense_shipped"] = parts["shipped"]["mirror_fraction"]
    exponents = {
        name: parts[name]["forward_backward"]["exponent"] if name in parts else None
        for name in ("scaling", "scaling_in_kept_memory")
    }
    return {
        "train_step_ratio_cpu": steps["dense"]["ratio"] if steps else None,
        "train_step_ratio_cpu_by_network": {name: row["ratio"] for name, row in steps.items()},
        "train_step_ratio_cpu_lean": {name: row["ratio_lean"] for name, row in steps.items()},
        "train_step_ratio_gpu": None,
        "scaling_exponent": exponents["scaling_in_kept_memory"],
        "scaling_exponent_default_allocator": exponents["scaling"],
        "mirror_fraction": mirrored,
        "final_loss": {name: row["curve"][-1]["loss"] for name, row in training.items()},
    }


def shipped(data: TrainingData, samples: int = 1024, nfe: int = 8) -> dict:
    """Return the share of mirror images of the shipped checkpoint, a dense network."""
    checkpoint = load_checkpoint(SYSTEM.name)
    positions = sample(checkpoint, steps=nfe, n=samples, path_seed=0, progress=False).xyz
    return {
        "mirror_fraction": mirror_fraction(positions, SYSTEM.topology(), data.validation),
        "nfe": nfe,
        "samples": samples,
        "training_steps": checkpoint.description["record"]["steps"],
    }


def table(results: dict) -> str:
    """Return times as Markdown, milliseconds a molecule, forward / forward and backward."""
    sizes = [atoms for atoms in BATCHES if f"speed_{atoms}" in results]
    heads = ["network", "parameters", "training step", *(f"{atoms} atoms" for atoms in sizes)]
    rows = []
    for name, step in results["train_step"].items():
        times = [results[f"speed_{atoms}"][name] for atoms in sizes]
        cells = (f"{_milliseconds(row['forward'])} / {_milliseconds(row['forward_backward'])}"
                 for row in times)  # fmt: skip
        label = name.replace("_", " "), f"{step['parameters']:,}", f"{step['ratio']:.2f}"
        rows.append([*label, *cells])
    return markdown(heads, rows)


def training_table(results: dict) -> str:
    """Return what each network has learned in equal time, and some in more, as Markdown."""
    heads = [
        "network", "learning rate", "seconds", "steps", "loss", "`fes_rmse` / kT", "intact",
        "mirrored",
    ]  # fmt: skip
    rows = [*results["training"].items(), *results["training_longer"].items()]
    return markdown(heads, (
        [
            name.replace("_", " "), f"{row['learning_rate']:g}", f"{row['seconds']:.0f}",
            f"{row['steps']:,}", f"{row['curve'][-1]['loss']:.3f}", f"{row['fes_rmse']:.2f}",
            f"{row['intact']:.1%}", f"{row['mirror_fraction']:.1%}",
        ]
        for name, row in rows
    ))  # fmt: skip


def _milliseconds(row: dict) -> str:
    return f"{1e3 * row['seconds']:.3g}" if "seconds" in row else "–"


def trainings() -> dict:
    """Return makers of the networks that are trained: default sizes, and the one of distances."""
    makers = {name: lambda sizes=s: network(sizes, DIPEPTIDE) for name, s in DEFAULTS.items()}
    return makers | {"distance_only": lambda: DistanceOnly(DIPEPTIDE, INPUTS, DURATION)}


def main() -> None:
    """Run what is missing, and collect."""
    parser = command_line(__doc__, work=None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0, help="of training per network")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[], help="parts; the rest is left for later")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, rounds, work = load_training_data(options.data), options.rounds, options.work
    positions = scaled_positions(data.train, data.scale)

    def trained(name: str, folder: Path, times: int) -> dict:
        torch.manual_seed(0)
        seconds, rate = times * options.seconds, RATES.get(name, 1.0)
        return train(name, trainings()[name](), CONFIG, data, seconds, folder, rate)

    makers = {
        "shipped": lambda: shipped(data),
        "train_step": lambda: train_step(positions, rounds),
        "scaling": lambda: scaling(rounds),
        "scaling_in_kept_memory": lambda: scaling_in_kept_memory(rounds),
        **{f"speed_{atoms}": lambda atoms=atoms: speed(atoms, rounds) for atoms in BATCHES},
    }
    tasks = {name: (work / f"{name}.json", make) for name, make in makers.items()}
    longer = {name: f"{name}_longer" for name in LONGER}
    for name in trainings():
        tasks[name] = work / f"{name}.json", partial(trained, name, work, 1)
    for name, label in longer.items():
        folder = work / "longer"
        tasks[label] = folder / f"{name}.json", partial(trained, name, folder, LONGER[name])
    for label, (path, make) in tasks.items():
        if label in (options.only or tasks):
            once(path, make)
    found = {label: read_json(path) for label, (path, _) in tasks.items() if path.is_file()}
    parts = {name: found[name] for name in makers if name in found}
    for part, labels in (
        ("training", {name: name for name in trainings()}), ("training_longer", longer)
    ):  # fmt: skip
        rows = {name: found[label] for name, label in labels.items() if label in found}
        parts |= {part: rows} if rows else {}
    write_results(
        options.out / "networks.json",
        {
            "summary": summary(parts),
            **parts,
            "missing": [label for label in tasks if label not in found],
            "configurations": {"equal": EQUAL, "default": DEFAULTS},
            "seed": 0,
            "data_hash": data.manifest["data_hash"],
        },
        e3nn=version("e3nn"),
        torch_geometric=version("torch-geometric"),
    )


if __name__ == "__main__":
    main()
