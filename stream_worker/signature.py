"""A 64-bit signature of a story: copies of one headline have equal or near-equal bits."""

import re
import zlib
from functools import lru_cache

import numpy as np

_WORD = re.compile(r"\w+")

NEAR_BITS = 12
"""Two signatures that differ in at most so many bits are one story: a headline reworded by a word or so. Unrelated
headlines differ in 32 bits, with a standard deviation of 4."""


@lru_cache(maxsize=65_536)
def _hash(word: str) -> int:
    raw = word.encode(errors="replace")
    return zlib.crc32(raw) << 32 | zlib.crc32(raw[::-1], 0x9E3779B9)


def signature(title: str) -> int:
    """The similarity hash of a title's words (Charikar 2002); their order, case and punctuation do not count.

    63 bits are used, so that the value fits a signed column of a database. 0 for a title without words.
    """
    words = _WORD.findall(title.lower())
    if not words:
        return 0
    hashes = np.array([_hash(word) for word in words], dtype=">u8")
    votes = np.unpackbits(hashes.view(np.uint8).reshape(len(words), 8), axis=1).sum(axis=0, dtype=np.int64)
    return int.from_bytes(np.packbits(2 * votes > len(words)).tobytes()) >> 1


def near(left: int, right: int) -> bool:
    """Whether two signatures belong to one story."""
    return (left ^ right).bit_count() <= NEAR_BITS
