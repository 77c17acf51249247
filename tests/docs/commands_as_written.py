"""Every command line of the pages, given as a person would: in order, as written, in clean folders.

    python tests/docs/commands_as_written.py WORK [PAGE ...]

Only sizes are smaller: `SIZES` and `CONSTANTS` have them all. What a page presumes is put into its
folder first (`PRESUMED`), made by the lines of other pages where it can be. Lines that cannot be
given have their reason in `UNRUN`, and a line of no known kind is an error. Commands run in forked
processes, so that each takes its own time alone. Writes ``WORK/lines.json``.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import resource
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data"
DIPEPTIDE = ROOT / "systems/alanine_dipeptide"
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
#: What begins a line of a block without a language, if it is one for a shell.
_PROGRAMS = ("molflow", "python", "make", "git", "pip", "conda", "srun", "torchrun", "dask")

#: Smaller sizes, by verb: options that are there get this value, others are added at the end. Words
#: ``key=value`` are settings of training, added where the line does not set them.
SIZES: dict[str, list[str]] = {
    "simulate": ["--time", "1.2ps", "--frame-interval", "0.02ps", "--equilibration", "0.02ps",
                 "--platform", "Reference", "--jobs", "1"],
    "simulate --flatten": ["--building", "1ps"],
    "simulate solvated": ["--time", "0.06ps", "--platform", "CPU", "--replicas", "3"],
    "prepare": ["--paths", "6"],
    "label": ["--jobs", "1"],
    "train": ["steps=2", "batch_size=4", "validation_samples=64", "validation_nfe=[1]"],
    "sample": ["-n", "60", "--strata", "beta=9,alpha_r=9,alpha_l=2", "--refine", "20"],
    "sample --weights": ["-n", "1", "--steps", "1", "--jobs", "1"],
    "sample --strata": ["-n", "100"],
    "refine": ["--steps", "20", "--jobs", "1"],
    "reweight": ["--frames", "2", "--time", "0.1ps", "--jobs", "1"],
    "propagate": ["--time", "1ps", "--chains", "4", "--save", "0.02ps"],
    "compare": ["--jobs", "1", "--no-transport", ""],
    "conformers": ["-n", "20"],
    "check": ["--steps", "1", "-n", "64", "--jobs", "1"],
    "study": ["--steps", "1", "-n", "60", "--seeds", "1"],
    "estimate": ["--calls", "800", "--steps", "1,2"],
    "kinetics": ["--lag", "0.1ps", "--states", "4"],
    "demo": ["-n", "200"],
}  # fmt: skip
#: Sizes that no option has: constants by module.
CONSTANTS = {
    "molflow.step_study.pieces": {"SAME_PATH_N": 64, "FINEST": 4},
    "molflow.exact.weighted_piece": {"PIECE": 4},
    "molflow.exact.steered": {"GROUP": 64},
    "molflow.exact.estimate": {"PILOT": 32},
}
#: Lines that are not given, by how they begin, and why.
UNRUN = {
    "git clone": "there is no address in it",
    "make demo": "a step of its own before the tests (.ci/run)",
    "make test": "it runs this",
    "srun": "needs SLURM; tests/training/test_processes.py starts processes as it does",
    "torchrun": "needs GPUs; tests/training/test_processes.py trains under torchrun's variables",
    "molflow train alanine_dipeptide --data data --out run --devices": "starts this program again; "
    "tests/training/test_processes.py trains so",
    "dask": "starts processes that stay; tests/test_farm.py has a cluster",
    "export": "a batch script's, see tests/docs/test_batch_script.py",
    "address=": "a batch script's, see tests/docs/test_batch_script.py",
    "kill": "a batch script's, see tests/docs/test_batch_script.py",
    "molflow label data --system my_molecule --out data-xtb --jobs tcp": "needs that scheduler",
    "molflow sample run/checkpoint -n 1000000": "needs that scheduler",
    "molflow sample alanine_dipeptide -n 1000000 --device cpu": "a batch script's, see "
    "tests/docs/test_batch_script.py",
    "molflow run": "takes its budget by the clock; tests/test_whole_way.py gives it in seconds",
    "molflow learn": "takes its budget by the clock; tests/active/test_learn.py has few labels",
}
#: Statuses other than 0 that tell of the map and not of the command.
STATUSES = {"check": (0, 1)}


#: The pages of these make what others presume.
_FIRST = ("simulate", "prepare", "train", "sample", "propagate")


def pages() -> list[Path]:
    """Return the pages, those that make what others presume first."""
    first = [f"docs/how_to/{verb}.md" for verb in _FIRST]
    docs = sorted((ROOT / "docs").rglob("*.md"))
    found = [p for p in docs if not {"generated", "_build"} & set(p.parts)]
    every = [*(ROOT / page for page in first), ROOT / "README.md", *found]
    return list(dict.fromkeys(every))


def lines(page: Path) -> Iterator[str]:
    """Yield the command lines of a page, continued ones as one."""
    text = page.read_text(encoding="utf-8")
    rest = FENCE.sub("", text)
    indented = "\n".join(line[4:] for line in rest.splitlines() if line.startswith("    "))
    blocks = [(language, code) for _, language, code in FENCE.findall(text)]
    for language, code in [*blocks, ("text", indented)]:
        for line in code.replace("\\\n", " ").splitlines():
            said = " ".join(line.split())
            if language == "sh" and said and not said.startswith("#"):
                yield said
            elif language in ("", "text") and said.split(" ")[0] in _PROGRAMS:
                yield said


def smaller(words: list[str]) -> list[str]:
    """Return the words of a line of molflow with the sizes of the table."""
    verb, words = words[0], list(words)
    sizes: dict[str, str] = {}
    for kind, table in SIZES.items():
        name, _, option = kind.partition(" ")
        if name == verb and (not option or option in words):
            sizes |= _pairs(table)
    for name, value in sizes.items():
        if not name.startswith("-"):  # a setting
            set_already = [word for word in words if word.startswith(f"{name}=")]
            if name == "steps" or not set_already:
                words = [word for word in words if word not in set_already] + [f"{name}={value}"]
        elif name in words and value:
            words[words.index(name) + 1] = value
        elif name not in _ONLY_REPLACED:
            words += [name, value] if value else [name]
    return words


#: A line without these means something else.
_ONLY_REPLACED = ("--paths", "--strata", "--refine")


def _pairs(table: list[str]) -> dict[str, str]:
    if all("=" in word for word in table):
        return {name: value for name, _, value in (word.partition("=") for word in table)}
    return dict(zip(table[::2], table[1::2], strict=True))


def _copied(source: Path | str) -> Callable[[Path, Path], None]:
    """Return what puts a file or folder, of the work folder or of the repository, at its place."""

    def put(work: Path, target: Path) -> None:
        found = work / source  # an absolute path stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, target, dirs_exist_ok=True)
            return
        shutil.copy(found, target)
        for more in (found.with_suffix(".json"), found.with_suffix(".npz")):
            if found.suffix == ".dcd" and more.is_file():
                shutil.copy(more, target.with_suffix(more.suffix))
        if found.suffix == ".dcd" and found.with_name("topology.pdb").is_file():
            shutil.copy(found.with_name("topology.pdb"), target.with_name("topology.pdb"))

    return put


#: Weights by file, and how many frames they are of.
_COUNTS = {"weights.npz": 60, "md-weights.npz": 100}


def _frames(first: int) -> Callable[[Path, Path], None]:
    """Return what writes a hundred frames of molecular dynamics in the format of a name."""

    def put(work: Path, target: Path) -> None:
        import mdtraj
        import numpy as np

        from molflow.comparison import find_reference

        truth = find_reference(DIPEPTIDE.name)
        positions = truth.positions[first : first + 25 * _COUNTS["md-weights.npz"] : 25]
        frames = mdtraj.Trajectory(positions, truth.topology, np.arange(1.0, len(positions) + 1))
        (frames[0] if target.suffix in (".gro", ".pdb") else frames).save(str(target))

    return put


def _shaken(system: str) -> Callable[[Path, Path], None]:
    """Return what writes the structure of a shipped system as if it had moved a little."""

    def put(work: Path, target: Path) -> None:
        import mdtraj
        import numpy as np

        frames = mdtraj.load(str(ROOT / "systems" / system / "structure.pdb"))[[0] * 20]
        frames.xyz += np.random.default_rng(0).normal(scale=0.005, size=frames.xyz.shape)
        (frames[0] if target.suffix == ".pdb" else frames).save(str(target))

    return put


def _prmtop(work: Path, target: Path) -> None:
    import mdtraj

    sys.path.insert(0, str(ROOT / "tests/analysis"))
    from molecules import write_prmtop

    write_prmtop(target, mdtraj.load_topology(str(DIPEPTIDE / "structure.pdb")))


def _by(*lines: str) -> Callable[[Path, Path], None]:
    """Return what makes a thing by command lines, in which ``{}`` is its name."""

    def put(work: Path, target: Path) -> None:
        from killing import run

        for line in lines:
            ended = run(smaller(line.format(target.name).split()), target.parent)
            if ended.status:
                raise SystemExit(f"{line} ends with {ended.status}: {ended.text}")

    return put


def _weights(work: Path, target: Path) -> None:
    import numpy as np

    np.savez(target, weights=np.random.default_rng(0).exponential(size=_COUNTS[target.name]))


def _rewards(work: Path, target: Path) -> None:
    """Write the function that the page of `sample` shows."""
    page = (ROOT / "docs/how_to/sample.md").read_text(encoding="utf-8")
    code = [code for _, language, code in FENCE.findall(page) if language == "python"]
    target.write_text(next(c for c in code if "def phi_near_60" in c), encoding="utf-8")


_HOW = "docs/how_to"
_ENSEMBLE = {"ensemble.dcd": _copied(f"{_HOW}/sample/ensemble.dcd")}
_MD = {"md": _copied(f"{_HOW}/simulate/md")}
_TRAINED = {"data": _copied(f"{_HOW}/prepare/data")}
#: What stands in the folder of a page before its first line.
PRESUMED: dict[str, dict[str, Callable[[Path, Path], None]]] = {
    "README.md": {"peptide.pdb": _copied(DATA / "molecules/alanine_tripeptide.pdb")},
    f"{_HOW}/clusters.md": _TRAINED,
    f"{_HOW}/compare.md": {
        **_ENSEMBLE, "weights.npz": _weights, "md-weights.npz": _weights,
        **dict.fromkeys(("run.xtc", "run.gro", "run.dcd", "run.h5"), _frames(0)),
        **dict.fromkeys(("md.h5", "md.dcd"), _frames(12)), "run.prmtop": _prmtop,
    },
    f"{_HOW}/conformers.md": {
        **_ENSEMBLE, "my-aspirin": _copied(ROOT / "systems/aspirin"),
        **dict.fromkeys(("md.xtc", "md.pdb"), _shaken("aspirin")),
    },
    f"{_HOW}/init.md": {
        "peptide.pdb": _copied(DATA / "molecules/alanine_tripeptide.pdb"),
        "system.xml": _copied(DATA / "molecules/aspirin_system.xml"),
        "molecule.pdb": _copied(DATA / "molecules/aspirin.pdb"),
        "molecule.prmtop": _copied(DATA / "molecules/leucine_dipeptide.prmtop"),
        "molecule.inpcrd": _copied(DATA / "molecules/leucine_dipeptide.inpcrd"),
        "solvated.pdb": _copied(ROOT / "systems/alanine_dipeptide_water/structure.pdb"),
    },
    f"{_HOW}/kinetics.md": {
        "plain-md": _copied(f"{_HOW}/simulate/plain-md"),
        "trajectory.dcd": _copied(f"{_HOW}/propagate/trajectory.dcd"),
    },
    f"{_HOW}/label.md": {
        "data": _copied(f"{_HOW}/prepare/data-dynamics"),
        "my_molecule_xtb": _copied(ROOT / "systems/alanine_dipeptide_gfn2"),
    },
    f"{_HOW}/molecules.md": {
        residue + end: put
        for residue in ("gly", "ala", "thr", "ser")
        for end, put in (
            ("", _by(f"init --sequence ACE-{residue.upper()}-NME --out {{}}")),
            ("-data", _by(f"simulate {residue} --replicas 3 --time 1ns --out {residue}-md",
                          f"prepare {residue}-md --train 0 --validation 1 --out {{}}")),
        )
    },
    f"{_HOW}/prepare.md": {
        **_MD, **dict.fromkeys(("a.xtc", "b.xtc", "c.xtc", "run.gro"), _frames(0)),
        "peptide": _copied(DIPEPTIDE),
    },
    f"{_HOW}/refine.md": _ENSEMBLE,
    f"{_HOW}/resample.md": {**_ENSEMBLE, "weights.npz": _weights},
    f"{_HOW}/restrain.md": _ENSEMBLE,
    f"{_HOW}/run.md": {
        **dict.fromkeys(("a.dcd", "b.dcd", "molecule.pdb"), _frames(0)), "my": _copied(DIPEPTIDE),
    },
    f"{_HOW}/sample.md": {
        "rewards.py": _rewards, "other-forces": _copied(ROOT / "systems/alanine_dipeptide_amber14"),
    },
    f"{_HOW}/train.md": {
        **_TRAINED, "data-dynamics": _copied(f"{_HOW}/prepare/data-dynamics"),
    },
}  # fmt: skip


@dataclass
class Given:
    """A line that was given, how it ended, and what it cost in seconds of the processor."""

    page: str
    line: str
    status: int
    seconds: float
    text: str

    @property
    def right(self) -> bool:
        """Whether the line does what it should."""
        verb = shlex.split(self.line)[1]
        told = "unexpected error" not in self.text
        return told and self.status in STATUSES.get(verb, (0,))


def give(page: Path, work: Path) -> Iterator[Given]:
    """Give the lines of a page in a clean folder of its own."""
    from killing import run

    name = str(page.relative_to(ROOT))
    folder = work / name.removesuffix(".md")
    every = [line for line in lines(page) if not line.startswith(tuple(UNRUN))]
    strange = [line for line in every if not line.startswith("molflow ")]
    if strange:
        raise SystemExit(f"{name}: neither a line of molflow nor in UNRUN: {strange}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "systems").symlink_to(ROOT / "systems")
    for thing, put in PRESUMED.get(name, {}).items():
        put(work, folder / thing)
    for line in every:
        before = _used()
        ended = run(smaller(shlex.split(line, comments=True)[1:]), folder)
        yield Given(name, line, ended.status, round(_used() - before, 2), ended.text[-1500:])


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read_once() -> None:
    """Read what most lines need, so that forked processes have it: modules, and force fields."""
    import jinja2  # noqa: F401
    import matplotlib.backends.backend_pdf  # noqa: F401
    import openmm.app
    import rdkit.Chem.AllChem  # noqa: F401

    import molflow.cli  # noqa: F401
    from molflow.md.build import build
    from molflow.systems import load_system

    openmm.app.ForceField = functools.lru_cache(openmm.app.ForceField)
    for name in ("alanine_dipeptide", "alanine_dipeptide_amber14", "alanine_dipeptide_water"):
        build(load_system(name))


def main() -> None:
    """Give the lines of all pages, or of some."""
    work = Path(sys.argv[1]).resolve()
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}  # compilers are tested
    sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT)]
    from killing import preload

    for module, sizes in CONSTANTS.items():  # before others take them over
        vars(importlib.import_module(module)).update(sizes)
    preload()
    _read_once()
    chosen = [ROOT / name for name in sys.argv[2:]] or pages()
    found = []
    for page in chosen:
        for given in give(page, work):
            found.append(asdict(given) | {"right": given.right})
            state = "right" if given.right else f"status {given.status}"
            print(f"{given.seconds:6.2f} s  {state}  {given.page}: {given.line}", flush=True)
            if not given.right:
                print(given.text[-700:], flush=True)
    (work / "lines.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
