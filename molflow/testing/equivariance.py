"""Does a map turn with its inputs?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from molflow.brownian.increment import Increment


def random_rotations(
    count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Return (count, 3, 3) proper rotations, uniform on SO(3), from unit quaternions."""
    q = torch.randn(count, 4, generator=generator, dtype=dtype)
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def equivariance_errors(
    map_fn: Callable[[Tensor, Increment], Tensor],
    x: Tensor,
    increment: Increment,
    matrix: Tensor,
) -> Tensor:
    """Return the largest error of map(M x, M I) = M map(x, I) for each member of the batch.

    Parameters
    ----------
    map_fn : callable
        map_fn(x, increment) -> (B, atoms, 3), times already filled in.
    x : Tensor (B, atoms, 3)
    increment : Increment
        Features (B, atoms, 3, size); every one is turned as a vector.
    matrix : Tensor (B, 3, 3)
        Rotations, or rotations times -1 for mirror images.

    Returns
    -------
    Tensor (B,)
        Relative to the largest entry of the results of the whole batch; infinite if they are all
        zero, so that nothing can be said.
    """
    result = map_fn(x, increment)
    turned = map_fn(x @ matrix.mT, increment.rotate(matrix))
    scale = result.abs().max()
    errors = (turned - result @ matrix.mT).abs().amax(dim=(1, 2))
    return errors / scale if scale > 0 else torch.full_like(errors, torch.inf)


def assert_equivariant(
    map_fn: Callable[[Tensor, Increment], Tensor],
    x: Tensor,
    increment: Increment,
    generator: torch.Generator,
    tolerance: float = 1e-5,
    mirror: bool = True,
) -> None:
    """Check map(R x, R I) = R map(x, I) for a rotation R of each member of the batch.

    Parameters
    ----------
    map_fn : callable
        map_fn(x, increment) -> (B, atoms, 3), times already filled in.
    x : Tensor (B, atoms, 3)
    increment : Increment
        Features (B, atoms, 3, size); every one is rotated as a vector.
    generator : torch.Generator
        On the CPU.
    tolerance : float
        Largest error allowed, relative to the largest entry of the result.
    mirror : bool
        Also demand that mirrored inputs do not give the mirrored result, as a map of chiral
        molecules must. Turn it off for maps that are meant to know no hand.

    Raises
    ------
    AssertionError
        With the measured error.
    """
    rotation = random_rotations(x.shape[0], generator, x.dtype).to(x.device)

    def error(matrix: Tensor) -> float:
        return float(equivariance_errors(map_fn, x, increment, matrix).max())

    measured = error(rotation)
    assert measured < torch.inf, (
        "The map returns zero, so nothing can be said about its equivariance."
    )
    assert measured <= tolerance, (
        f"Rotated inputs give a result {measured:.3g} away from the rotated result "
        f"(allowed {tolerance:.3g})."
    )
    if mirror:
        measured = error(-rotation)
        assert measured > tolerance, (
            "Mirrored inputs give the mirrored result: the map knows no hand."
        )
