"""Reference dynamics of chignolin on a GPU: ladders of temperatures, all walkers at once.

    python benchmarks/gpu/tempering.py --export DATA                  (where OpenMM is)
    python benchmarks/gpu/tempering.py --data DATA --seconds 400 --out OUT     (on the GPU)
    python benchmarks/gpu/tempering.py --trajectories OUT --out MD    (where mdtraj is)

Parallel tempering by `walkers.py`: 32 ladders of eight temperatures from 300 to 600 K, in steps of
2 fs with hydrogens of 3 amu, which leave the law of conformations as it is. Every other ladder
begins folded; the others begin extended and are melted at the highest temperature first. The
first half of the ladders is for training, the second is the reference. Frames of 300 K are kept,
of each ladder every ps in memory, and so many of them in the files as fit into ``--megabytes``
each. How far a ladder gets is a matter of the GPU. ``--trajectories`` leaves out the time for
equilibration and writes a DCD file for each ladder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from walkers import BOLTZMANN, Field, exported  # noqa: E402

LADDERS, TEMPERATURES = 32, tuple(float(t) for t in np.geomspace(300.0, 600.0, 8))
#: ps, 1/ps, amu; steps between exchanges, exchanges between frames; ps of melting.
STEP, FRICTION, HYDROGEN = 0.002, 1.0, 3.0
EXCHANGE, FRAME, MELTING = 250, 2, 60.0
#: Steps of a graph of kernels, and of the descent from both starts.
GRAPH, DESCENT = 50, 200
#: Share of the frames at the beginning that is for equilibration.
EQUILIBRATION = 0.25
PS = EXCHANGE * FRAME * STEP


def export(folder: Path) -> None:
    """Write the force field and both starts."""
    import mdtraj

    from molflow.md.build import build
    from molflow.systems import load_system

    system = load_system("chignolin")
    parameters = exported(build(system.model_copy(update={"hydrogen_mass": HYDROGEN}))[0])
    folded = mdtraj.load(str(system.folder / "folded.pdb")).xyz[0]
    folder.mkdir(parents=True, exist_ok=True)
    starts = np.stack([folded, system.start_positions()])
    np.savez(folder / "field.npz", starts=starts, **parameters)


class Ladders:
    """Walkers at the temperatures of ladders, (ladders * temperatures) of them."""

    def __init__(self, parameters, ladders: int, device, seed: int):
        torch.manual_seed(seed)
        self.device, self.ladders, self.rungs = torch.device(device), ladders, len(TEMPERATURES)
        self.field = Field(parameters, device)
        self.force = self.field
        starts = torch.as_tensor(parameters["starts"], dtype=torch.float32, device=device)
        self.melted = torch.arange(ladders, device=device) % 2 == 1
        kinds = self.melted.long().repeat_interleave(self.rungs)
        self.x = starts[kinds].contiguous()
        ladder = torch.tensor(TEMPERATURES, device=device).repeat(ladders)
        self.kt = BOLTZMANN * ladder
        self.kt_now = self.kt.clone()
        self.inverse_mass = 1 / torch.as_tensor(
            parameters["masses"], dtype=torch.float32, device=device
        ).unsqueeze(-1)
        self.walkers = torch.arange(len(self.x), device=device)
        self.energy = torch.zeros(len(self.x), device=device)
        self.tried = torch.zeros(self.rungs - 1, device=device)
        self.moved = torch.zeros(self.rungs - 1, device=device)
        self.parity, self.done, self.graph = 0, 0, None
        self.v = torch.zeros_like(self.x)
        self.thermalise()

    def thermalise(self) -> None:
        """Draw all velocities at the temperatures that there are now."""
        self.v.copy_(torch.randn_like(self.x) * self.spread())

    def spread(self) -> torch.Tensor:
        return (self.kt_now[:, None, None] * self.inverse_mass).sqrt()

    def settle(self, steps: int) -> None:
        """Move down the energy, by no more than a hundredth of an angstrom an atom and step."""
        for _ in range(steps):
            force = self.force(self.x)[1]
            self.x += force * (1e-3 / force.norm(dim=-1, keepdim=True).clamp(min=1e3))

    def melting(self, on: bool) -> None:
        """Put the ladders that begin extended at their highest temperature, or back."""
        hot = self.melted.repeat_interleave(self.rungs) & on
        self.kt_now.copy_(torch.where(hot, BOLTZMANN * TEMPERATURES[-1], self.kt))

    def steps(self, count: int) -> None:
        """Make Langevin steps, the middle one of Zhang et al. (2019), and the energy after them."""
        kept = float(np.exp(-FRICTION * STEP))
        noise = float(np.sqrt(1 - kept * kept))
        for _ in range(count):
            force = self.force(self.x)[1]
            self.v += STEP * force * self.inverse_mass
            self.x += 0.5 * STEP * self.v
            self.v.mul_(kept).add_(noise * self.spread() * torch.randn_like(self.x))
            self.x += 0.5 * STEP * self.v
        self.energy.copy_(self.force(self.x)[0])

    def capture(self) -> None:
        """Keep the kernels of some steps as a CUDA graph."""
        self.graph = None
        if self.device.type != "cuda":
            return
        kept = [t.clone() for t in (self.x, self.v, self.energy)]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.steps(2)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.steps(GRAPH)
        for tensor, old in zip((self.x, self.v, self.energy), kept, strict=True):
            tensor.copy_(old)
        self.graph = graph

    def advance(self) -> None:
        """Make the steps up to an exchange."""
        for _ in range(EXCHANGE // GRAPH):
            if self.graph is None:
                self.steps(GRAPH)
            else:
                self.graph.replay()
        self.done += EXCHANGE

    def exchange(self) -> None:
        """Try to swap neighbours of all ladders, pairs that begin even and odd in turn."""
        energy = self.energy.view(self.ladders, self.rungs)
        beta = 1 / self.kt.view(self.ladders, self.rungs)
        low = torch.arange(self.parity, self.rungs - 1, 2, device=self.device)
        gain = (beta[:, low] - beta[:, low + 1]) * (energy[:, low] - energy[:, low + 1])
        swap = torch.rand_like(gain).log() < gain
        order = torch.arange(self.rungs, device=self.device).repeat(self.ladders, 1)
        order[:, low] += swap.long()
        order[:, low + 1] -= swap.long()
        self.tried[low] += self.ladders
        self.moved[low] += swap.sum(0)
        first = self.rungs * torch.arange(self.ladders, device=self.device)[:, None]
        flat = (order + first).reshape(-1)
        scale = (self.kt / self.kt[flat]).sqrt()[:, None, None]
        self.x.copy_(self.x[flat])
        self.v.copy_(self.v[flat] * scale)
        self.energy.copy_(self.energy[flat])
        self.walkers = self.walkers[flat]
        self.parity = 1 - self.parity

    def compiled(self) -> float:
        """Use compiled kernels from now on; return by how much they change forces, kJ/mol/nm."""
        made = torch.compile(self.field.__call__, dynamic=False, fullgraph=True)
        change = float((made(self.x)[1] - self.field(self.x)[1]).abs().max())
        if change < 2.0:  # forces are thousands
            self.force = made
        return change


def seconds_of(ladders: Ladders) -> float:
    """Return the seconds of a step."""
    ladders.energy.cpu()
    begun = time.monotonic()
    ladders.advance()
    ladders.energy.cpu()
    return (time.monotonic() - begun) / EXCHANGE


def save(out: Path, frames: list, energies: list, walkers: list, ladders: Ladders, megabytes, told):
    """Write the frames of both halves, as many as fit, and where the walkers are."""
    atoms, count = ladders.field.n, len(frames)
    if not count:
        return
    half = ladders.ladders // 2
    begin = int(EQUILIBRATION * count)
    fitting = max(1, int(megabytes * 1e6 / (half * atoms * 12)))
    stride = max(1, -(-(count - begin) // fitting))
    chosen = list(range(begin + stride - 1, count, stride)) or [count - 1]
    all_energies = np.stack(energies, axis=1)
    all_walkers = np.stack(walkers, axis=1)
    for name, part in (("training", slice(0, half)), ("reference", slice(half, None))):
        arrays = {
            "positions": np.stack([frames[k][part] for k in chosen], axis=1),
            "times": PS * (1 + np.array(chosen)), "energies": all_energies[part],
            "walkers": all_walkers[part].astype(np.int16), "interval": np.array(PS * stride),
        }  # fmt: skip
        written(out / f"{name}.npz", lambda path, arrays=arrays: np.savez(path, **arrays))
    state = {
        "x": ladders.x.cpu().numpy(), "v": ladders.v.cpu().numpy(),
        "walkers": ladders.walkers.cpu().numpy(), "frames": np.array(count),
    }  # fmt: skip
    written(out / "walkers.npz", lambda path: np.savez(path, **state))
    told |= {
        "ps": PS * count, "ns_at_300_K": 1e-3 * PS * count * ladders.ladders,
        "stored_every_ps": PS * stride, "equilibration_ps": PS * begin,
        "exchanges_accepted": (ladders.moved / ladders.tried.clamp(min=1)).tolist(),
    }  # fmt: skip
    written(out / "tempering.json", lambda path: path.write_text(json.dumps(told, indent=1)))


def written(path: Path, write) -> None:
    """Write a file under another name, and rename it."""
    other = path.with_name("." + path.name)
    write(other)
    os.replace(other, path)


def run(options) -> None:
    """Simulate for as long as there is time, and write frames every half minute."""
    end = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    parameters = dict(np.load(options.data / "field.npz"))
    device = torch.device(options.device)
    warm = None
    if not options.plain:
        words = [sys.executable, __file__, "--warm", "--data", options.data, "--out", options.out]
        words += ["--device", options.device, "--ladders", options.ladders]
        with (options.out / "warm.log").open("w") as log:
            warm = subprocess.Popen([str(w) for w in words], stdout=log, stderr=log)
    ladders = Ladders(parameters, options.ladders, device, options.seed)
    ladders.settle(DESCENT)
    ladders.melting(True)
    ladders.thermalise()
    told: dict = {"ladders": options.ladders, "temperatures": TEMPERATURES, "device": str(device)}
    if device.type == "cuda":
        told["device"] = torch.cuda.get_device_name(device)
        try:
            ladders.capture()
        except RuntimeError as error:
            print("no graph:", error, flush=True)
            ladders.graph = None
    told["seconds_of_a_step"] = seconds_of(ladders)
    print(told, flush=True)
    frames: list = []
    energies: list = []
    walkers: list = []
    melting = max(1, round(options.melting / PS)) * FRAME
    exchanges, saved = 0, time.monotonic()
    slots = slice(0, None, ladders.rungs)
    while time.monotonic() < end - 8:
        if warm is not None and warm.poll() is not None:
            if warm.returncode == 0:
                use_compiled(ladders, told)
            else:
                print("nothing compiled: see warm.log", flush=True)
            warm = None
        ladders.advance()
        exchanges += 1
        if exchanges <= melting:
            if exchanges == melting:
                ladders.melting(False)
                ladders.thermalise()
                told["melting_ps"] = melting * EXCHANGE * STEP
                print("melted", time.monotonic() - end + options.seconds, flush=True)
            continue
        if exchanges % FRAME == 0:
            ladders.x -= ladders.x.mean(1, keepdim=True)
            frames.append(ladders.x[slots].cpu().numpy())
            energies.append(ladders.energy[slots].cpu().numpy())
            walkers.append(ladders.walkers[slots].cpu().numpy())
        ladders.exchange()
        if time.monotonic() - saved > 30:
            save(options.out, frames, energies, walkers, ladders, options.megabytes, told)
            saved = time.monotonic()
            print(f"{PS * len(frames):.0f} ps", told.get("exchanges_accepted"), flush=True)
    if warm is not None:
        warm.kill()
    save(options.out, frames, energies, walkers, ladders, options.megabytes, told)
    print(json.dumps(told), flush=True)


def use_compiled(ladders: Ladders, told: dict) -> None:
    """Change to compiled kernels if they are right and faster."""
    begun = time.monotonic()
    try:
        before = seconds_of(ladders)
        change = ladders.compiled()
        ladders.capture()
        after = seconds_of(ladders)
        if after > before:
            ladders.force = ladders.field
            ladders.capture()
        told["compiled"] = {"seconds_of_a_step": after, "without": before, "change": change}
    except Exception as error:  # whatever the compiler raises; what ran before goes on
        print("not compiled:", type(error).__name__, str(error)[:500], flush=True)
        ladders.force = ladders.field
        ladders.capture()
    print(told.get("compiled"), f"{time.monotonic() - begun:.0f} s to change", flush=True)


def compile_first(options) -> None:
    """Fill the compiler's cache, in a process of its own."""
    parameters = dict(np.load(options.data / "field.npz"))
    ladders = Ladders(parameters, options.ladders, torch.device(options.device), 0)
    begun = time.monotonic()
    print(ladders.compiled(), time.monotonic() - begun)


def trajectories(source: Path, out: Path) -> None:
    """Write a DCD file of each ladder, those for training first."""
    from molflow.systems import load_system
    from molflow.trajectories import write_trajectory

    system = load_system("chignolin")
    topology = system.topology()
    out.mkdir(parents=True, exist_ok=True)
    write_trajectory(out / "topology.pdb", system.start_positions()[None], topology)
    number = 0
    for name in ("training", "reference"):
        found = np.load(source / f"{name}.npz")
        for x in found["positions"]:
            write_trajectory(out / f"ladder-{number:02d}.dcd", x, topology)
            number += 1
        print(name, found["positions"].shape, "frames, every", float(found["interval"]), "ps")


def command_line() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", type=Path, metavar="DATA", help="write what the GPU needs")
    parser.add_argument("--trajectories", type=Path, metavar="OUT", help="turn results into DCD")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--ladders", type=int, default=LADDERS)
    parser.add_argument("--melting", type=float, default=MELTING, help="ps")
    parser.add_argument("--megabytes", type=float, default=14.5, help="of each file of frames")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without torch.compile")
    parser.add_argument("--warm", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Do what is asked for."""
    options = command_line().parse_args()
    if options.export:
        export(options.export)
    elif options.trajectories:
        trajectories(options.trajectories, options.out)
    elif options.warm:
        compile_first(options)
    else:
        run(options)


if __name__ == "__main__":
    main()
