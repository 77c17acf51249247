"""Do samples turn with their start and path, and not mirror with them?"""

from __future__ import annotations

from functools import partial

import torch

from molflow.checking.finding import FAIL, PASS, Finding
from molflow.checking.subject import Subject
from molflow.solvers.loop import integrate
from molflow.testing.equivariance import equivariance_errors, random_rotations

#: Largest relative error that rounding in double precision explains.
LIMIT = 1e-8
_SHARE = 64


def equivariance(subject: Subject) -> Finding:
    """Turn every state and increment of a roll-out, jump by jump, and look for what is left.

    The number is the largest error over jumps, samples and coordinates, relative to the largest
    coordinate; each sample is turned by a random rotation of its own. In double precision, so
    that rounding cannot hide or feign anything.
    """
    turned, mirrored = _errors(subject)
    value, hand = max(turned), max(mirrored)
    if not value <= LIMIT:
        verdict = FAIL
        sentence = (
            f"A turned start on a turned path does not give the turned molecule: {value:.1e} of "
            "its size is left over, so samples depend on how the axes lie."
        )
    elif hand <= LIMIT:
        verdict = FAIL
        sentence = (
            "The map turns with its input, but also mirrors with it: it knows no hand, and "
            "half of its samples of a chiral molecule are mirror images."
        )
    else:
        verdict = PASS
        sentence = (
            f"A turned start on a turned path gives the turned molecule to {value:.1e} of its "
            f"size; a mirrored start does not give the mirror image ({hand:.1e})."
        )
    return Finding(
        "equivariance", "Equivariance", verdict, sentence, value, LIMIT,
        details={
            "rotated_by_jump": turned, "mirrored_by_jump": mirrored,
            "samples": subject.part(_SHARE),
        },
    )  # fmt: skip


def _errors(subject: Subject) -> tuple[list[float], list[float]]:
    count = subject.part(_SHARE)
    subject = subject.in_double_precision()
    x, path = subject.start(count, "equivariance")
    generator = torch.Generator().manual_seed(subject.seed_of("rotations"))
    times = [path.snap(t) for t in subject.flow_map.clock.grid(subject.steps)]
    turned: list[float] = []
    mirrored: list[float] = []
    for s, t in zip(times[:-1], times[1:], strict=True):
        first, last = (torch.tensor(end, dtype=x.dtype, device=x.device) for end in (s, t))
        jump = partial(subject.step, first, last)
        rotation = random_rotations(count, generator, x.dtype).to(x.device)
        increment = path.increment(s, t)
        for matrix, errors in ((rotation, turned), (-rotation, mirrored)):
            errors.append(float(equivariance_errors(jump, x, increment, matrix).max()))
        x = integrate(subject.step, x, path, [s, t])
    return turned, mirrored
