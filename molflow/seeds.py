"""Independent seeds for the parts of one run, derived from a single number."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *names: int | str, bits: int = 63) -> int:
    """Return a seed that depends on `seed` and on every name, and on nothing else.

    A hash rather than an offset: runs whose seeds differ by one share no stream.
    """
    text = ":".join(str(part) for part in (seed, *names))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % (1 << bits)
