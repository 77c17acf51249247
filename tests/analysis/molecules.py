"""Small molecules that are built by hand, and files that other programs write."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np


def chain(symbols: str, names=None, bonds=None) -> mdtraj.Topology:
    """Return one residue LIG of atoms named C1, C2 …, bonded in a row unless bonds are given."""
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain(), resSeq=1)
    atoms = [
        topology.add_atom(
            names[i] if names else f"{symbol}{i + 1}",
            mdtraj.element.get_by_symbol(symbol), residue,
        )
        for i, symbol in enumerate(symbols)
    ]  # fmt: skip
    for a, b in bonds or [(i, i + 1) for i in range(len(atoms) - 1)]:
        topology.add_bond(atoms[a], atoms[b])
    return topology


def zigzag(torsions: np.ndarray, sd: float = 0.002, seed: int = 0) -> np.ndarray:
    """Return chains (n, k + 3, 3) nm with these torsions (n, k) rad, bonds 0.153 nm, 112°."""
    bond, bend = 0.153, np.pi - np.radians(112.0)
    xyz = np.zeros((len(torsions), torsions.shape[1] + 3, 3))
    xyz[:, 1, 0] = bond
    xyz[:, 2] = xyz[:, 1] + bond * np.array([np.cos(bend), np.sin(bend), 0.0])
    for k, angle in enumerate(torsions.T, start=3):
        a, b, c = (xyz[:, k - i] for i in (3, 2, 1))
        along = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)
        normal = np.cross(b - a, along)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        across = np.cross(normal, along)
        # IUPAC: at 0 the fourth atom is on the side of the first (cis).
        side = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * normal
        xyz[:, k] = c + bond * (np.cos(bend) * along + np.sin(bend) * side)
    noise = np.random.default_rng(seed).normal(scale=sd, size=xyz.shape)
    return (xyz + noise).astype(np.float32)


def write_psf(path: Path, topology: mdtraj.Topology) -> None:
    """Write atoms and bonds as a CHARMM PSF file."""
    lines = ["PSF", "", "       1 !NTITLE", " REMARKS made by hand", ""]
    lines.append(f"{topology.n_atoms:8d} !NATOM")
    for atom in topology.atoms:
        lines.append(
            f"{atom.index + 1:8d} SEG  {atom.residue.resSeq:<4d} {atom.residue.name:<4s} "
            f"{atom.name:<4s} {atom.element.symbol:<4s} {0.0:10.6f} {atom.element.mass:13.4f} "
            f"          0"
        )
    pairs = [(a.index + 1, b.index + 1) for a, b in topology.bonds]
    lines += ["", f"{len(pairs):8d} !NBOND: bonds"]
    for start in range(0, len(pairs), 4):
        lines.append("".join(f"{i:8d}{j:8d}" for i, j in pairs[start : start + 4]))
    for name in ("NTHETA: angles", "NPHI: dihedrals", "NIMPHI: impropers"):
        lines += ["", f"{0:8d} !{name}", ""]
    path.write_text("\n".join(lines) + "\n")


def write_prmtop(path: Path, topology: mdtraj.Topology) -> None:
    """Write names, residues, elements and bonds as an Amber PRMTOP file."""
    atoms, residues = list(topology.atoms), list(topology.residues)
    bonds = {True: [], False: []}
    for a, b in topology.bonds:
        bonds["H" in (a.element.symbol, b.element.symbol)] += [3 * a.index, 3 * b.index, 1]
    pointers = [0] * 31
    pointers[0], pointers[1] = len(atoms), 1
    pointers[2], pointers[3] = len(bonds[True]) // 3, len(bonds[False]) // 3
    pointers[11] = len(residues)
    numbers = [atom.element.atomic_number for atom in atoms]
    sections = [
        ("TITLE", "20a4", ["made by hand"], "{:<4}", 20),
        ("POINTERS", "10I8", pointers, "{:8d}", 10),
        ("ATOM_NAME", "20a4", [atom.name for atom in atoms], "{:<4}", 20),
        ("CHARGE", "5E16.8", [0.0] * len(atoms), "{:16.8E}", 5),
        ("ATOMIC_NUMBER", "10I8", numbers, "{:8d}", 10),
        ("MASS", "5E16.8", [atom.element.mass for atom in atoms], "{:16.8E}", 5),
        ("RESIDUE_LABEL", "20a4", [r.name for r in residues], "{:<4}", 20),
        ("RESIDUE_POINTER", "10I8", [r.atom(0).index + 1 for r in residues], "{:8d}", 10),
        ("BONDS_INC_HYDROGEN", "10I8", bonds[True], "{:8d}", 10),
        ("BONDS_WITHOUT_HYDROGEN", "10I8", bonds[False], "{:8d}", 10),
    ]
    lines = ["%VERSION  VERSION_STAMP = V0001.000  DATE = 01/01/20  00:00:00"]
    for flag, layout, values, form, width in sections:
        lines += [f"%FLAG {flag:<74}", f"%FORMAT({layout})"]
        rows = [values[i : i + width] for i in range(0, len(values), width)] or [[]]
        lines += ["".join(form.format(value) for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
