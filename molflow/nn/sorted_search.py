"""The nearest atoms of each atom by operations of torch, on whatever device the positions are.

Atoms are put in the order of a curve that fills space (Morton 1966), molecule after molecule, and
cut into leaves of equally many. Those that stand near an atom in this order say how far the wanted
ones are at most, boxes around leaves say which leaves have atoms as near as that, and all atoms of
these are looked at: the result is exact, however atoms lie. Memory grows as the number of atoms.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

#: Atoms of a leaf. More leaves have more boxes to be compared, larger ones more atoms too far away.
LEAF = 8
#: Distances that are held at once.
_HELD = 2**25
#: Binary digits of a place along each axis of the curve.
_DIGITS = 14
#: What moves every third digit apart: shifts, and the digits that stay.
_SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def sorted_search(
    positions: Tensor, first: Tensor, searching: Tensor, pairs: Tensor, count: int
) -> Tensor:
    """Return the nearest atoms; parameters and result as of `molflow.nn.neighbours.nearest`.

    The processor waits for the device once, to learn how many leaves each leaf has to look at. What
    has no finite position is nobody's neighbour.
    """
    n, device = len(positions), positions.device
    if not len(searching):
        return searching.new_empty(0, count)
    itself = torch.arange(n, device=device)
    molecule = torch.searchsorted(first, itself, right=True) - 1
    order = along_curve(positions, molecule, len(first) - 1)
    place = torch.empty_like(order).scatter_(0, order, itself)
    # An atom is no neighbour of its own.
    known = torch.stack([torch.cat([part, itself]) for part in pairs])
    leaves = _Leaves(
        positions.index_select(0, order), molecule.index_select(0, order), place[known]
    )
    found = itself.new_empty(leaves.count, LEAF, count)
    for rows, columns in leaves.needed(count):
        found.index_copy_(0, rows, leaves.nearest(rows, columns, count))
    # What stands past the last atom fills a leaf and is nobody's neighbour.
    near = found.flatten(0, 1).index_select(0, place.index_select(0, searching))
    return order.index_select(0, near.flatten()).reshape(near.shape)


def along_curve(positions: Tensor, molecule: Tensor, count: int) -> Tensor:
    """Return atoms in the order of molecules, those of a molecule along the curve."""
    owner = molecule.unsqueeze(1).expand(-1, 3)
    low = positions.new_full((count, 3), torch.inf).scatter_reduce(0, owner, positions, "amin")
    high = positions.new_full((count, 3), -torch.inf).scatter_reduce(0, owner, positions, "amax")
    width = (high - low).amax(1, keepdim=True).clamp(min=torch.finfo(positions.dtype).tiny)
    part = (positions - low.index_select(0, molecule)) / width.index_select(0, molecule)
    # Where a coordinate is no number any place will do.
    key = (part.nan_to_num(0.0).clamp(0.0, 1.0) * (2**_DIGITS - 1)).long()
    for shift, kept in _SPREAD:
        key = (key | (key << shift)) & kept
    x, y, z = key.unbind(1)
    return torch.argsort((molecule << (3 * _DIGITS)) | x | (y << 1) | (z << 2))


class _Leaves:
    """Atoms in order, cut into leaves; places are numbers of atoms in this order.

    Parameters
    ----------
    positions : Tensor, (N, 3)
    molecule : Tensor, (N,)
    known : Tensor, (2, P)
        Places of those that are not looked for, and of whom.
    """

    def __init__(self, positions: Tensor, molecule: Tensor, known: Tensor):
        self.count = -(-len(positions) // LEAF)
        missing = self.count * LEAF - len(positions)
        filled = torch.nn.functional.pad(positions, (0, 0, 0, missing))
        self.positions = filled.reshape(self.count, LEAF, 3)
        owner = torch.nn.functional.pad(molecule, (0, missing), value=-1)
        self.molecule = owner.reshape(self.count, LEAF)
        self.known = known
        there = (self.molecule >= 0).unsqueeze(-1)
        self.low = self.positions.masked_fill(~there, torch.inf).amin(1)
        self.high = self.positions.masked_fill(~there, -torch.inf).amax(1)
        self.first, self.last = self.molecule[:, 0], self.molecule.amax(1)

    def needed(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield leaves and for each the leaves that have its nearest atoms, until all are done."""
        held = self._row(count) * LEAF**2
        reach = torch.cat([self._reach(rows, count) for rows in self._some(held)])
        numbers = torch.cat([
            (self._apart(rows) <= reach[rows].unsqueeze(1)).sum(1)
            for rows in self._some(self.count)
        ]).clamp(min=1)  # fmt: skip
        numbers, rows = numbers.sort(descending=True)
        begin, counts = 0, numbers.cpu().tolist()
        while begin < self.count:
            most, end = counts[begin], begin + 1
            room = max(1, _HELD // max(most * LEAF**2, self.count))
            # Those that need far less are not made to look at as many.
            while end < min(self.count, begin + room) and 2 * counts[end] >= most:
                end += 1
            asking = rows[begin:end]
            yield asking, self._apart(asking).topk(most, largest=False)[1]
            begin = end

    def _some(self, each: int) -> Iterator[Tensor]:
        """Yield all leaves, so many at once that `each` numbers for each of them can be held."""
        leaves = torch.arange(self.count, device=self.positions.device)
        yield from leaves.split(max(1, _HELD // each))

    def _row(self, count: int) -> int:
        """Return how many leaves in a row give the first bound: thrice as many atoms as wanted."""
        return min(-(-3 * count // LEAF), self.count)

    def _reach(self, rows: Tensor, count: int) -> Tensor:
        """Return the square of a distance within which all atoms of a leaf have their nearest."""
        width = self._row(count)
        begin = (rows - width // 2).clamp(0, self.count - width)
        columns = begin.unsqueeze(1) + torch.arange(width, device=rows.device)
        square = self._squares(rows, columns)
        if square.shape[-1] < count:
            return square.new_full((len(rows),), torch.inf)
        last = square.topk(count, largest=False)[0][..., -1]
        there = self.molecule.index_select(0, rows) >= 0
        # Boxes and distances are rounded differently.
        return last.nan_to_num(torch.inf).masked_fill(~there, 0.0).amax(1) * (1.0 + 1e-5)

    def _apart(self, rows: Tensor) -> Tensor:
        """Return squares of distances between the boxes of leaves and of all, (rows, leaves)."""
        low, high = self.low.index_select(0, rows), self.high.index_select(0, rows)
        square = self.low.new_zeros(len(rows), self.count)
        for axis in range(3):
            gap = torch.maximum(
                self.low[:, axis] - high[:, axis, None], low[:, axis, None] - self.high[:, axis]
            )
            square += gap.clamp(min=0.0).square()
        first, last = self.first.index_select(0, rows), self.last.index_select(0, rows)
        strange = (self.first > last.unsqueeze(1)) | (self.last < first.unsqueeze(1))
        return square.nan_to_num(0.0).masked_fill(strange, torch.nan)

    def _squares(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return squares of distances of atoms, (rows, LEAF, columns * LEAF).

        Infinite where one is of another molecule, or known.
        """
        size, wide = len(rows), columns.shape[1] * LEAF
        flat = self.positions.new_zeros(size * LEAF * wide + 1)
        square = flat[:-1].view(size, LEAF, wide)
        own = self.positions.index_select(0, rows)
        other = self.positions.index_select(0, columns.flatten()).reshape(size, wide, 3)
        for axis in range(3):
            gap = own[:, :, None, axis] - other[:, None, :, axis]
            square.addcmul_(gap, gap)
        molecule = self.molecule.index_select(0, columns.flatten()).reshape(size, 1, wide)
        strange = self.molecule.index_select(0, rows).unsqueeze(2) != molecule
        square.masked_fill_(strange, torch.inf)
        # Those known by where they stand here; those that do not stand here go past the end.
        row = columns.new_full((self.count,), -1).scatter_(
            0, rows, torch.arange(size, device=rows.device)
        )
        column = columns.new_full((size, self.count), -1)
        across = torch.arange(columns.shape[1], device=rows.device).expand_as(columns)
        column.scatter_(1, columns, across)
        sender, receiver = self.known
        at = row[receiver // LEAF]
        across = column[at, sender // LEAF]
        index = (at * LEAF + receiver % LEAF) * wide + across * LEAF + sender % LEAF
        index = torch.where((at >= 0) & (across >= 0), index, flat.numel() - 1)
        flat.index_fill_(0, index, torch.inf)
        return square

    def nearest(self, rows: Tensor, columns: Tensor, count: int) -> Tensor:
        """Return places of the nearest atoms of those in some leaves, (rows, LEAF, count).

        Where there are too few, the place of the atom itself.
        """
        square = self._squares(rows, columns)
        distance, index = square.topk(min(count, square.shape[-1]), largest=False)
        leaf = columns.unsqueeze(1).expand(-1, LEAF, -1).gather(2, index // LEAF)
        own = (rows.unsqueeze(1) * LEAF + torch.arange(LEAF, device=rows.device)).unsqueeze(2)
        near = torch.where(distance < torch.inf, leaf * LEAF + index % LEAF, own)
        short = own.expand(-1, -1, count - near.shape[-1])
        return torch.cat([near, short], dim=-1)
