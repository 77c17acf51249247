"""Independent seeds for the parts of one run, derived from a single number."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: int | str, bits: int = 63) -> int:
    """Return a seed that depends on `seed` and on every name, and on nothing else.

    A hash rather than an offset: runs whose seeds differ by one share no stream.
    """
    text = ":".join(str(part) for part in (seed, *names))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % (1 << bits)


def generator(seed: int, *names: int | str) -> torch.Generator:
    """Return a generator of torch, on the processor, whose stream follows from `derive_seed`.

    Of the seed that `torch.Generator.manual_seed` is given, 32 bits count: among the batches of a
    long run two would likely be the same. The whole state of the Mersenne twister is filled here,
    as numpy does it from a seed of any length (`numpy.random.SeedSequence`).
    """
    import numpy as np
    import torch

    twister = np.random.MT19937(np.random.SeedSequence(derive_seed(seed, *names)))
    made = torch.Generator()
    state = made.get_state()
    # As torch keeps it: the seed, two counters and where it is, then 624 words of 64 bits.
    words = torch.from_numpy(twister.state["state"]["key"].astype(np.int64))
    state[24 : 24 + 8 * len(words)] = words.view(torch.uint8)
    return made.set_state(state)
