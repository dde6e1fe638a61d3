"""A 64-bit signature of a story: copies of one headline have equal or near-equal bits."""

import re
import zlib
from collections.abc import Iterable, Sequence
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
    """The signature of one title; see :func:`signatures`."""
    return signatures([title])[0]


def signatures(titles: Sequence[str]) -> list[int]:
    """The similarity hash of each title's words (Charikar 2002); their order, case and punctuation do not count.

    63 bits are used, so that the value fits a signed column of a database. 0 for a title without words.
    """
    words = [_WORD.findall(title.lower()) for title in titles]
    counts = np.array([len(found) for found in words])
    wordy = counts > 0
    found = np.zeros(len(titles), np.uint64)
    if wordy.any():
        hashes = np.array([_hash(word) for each in words for word in each], dtype=">u8")
        bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)
        starts = (np.cumsum(counts) - counts)[wordy]
        votes = np.add.reduceat(bits, starts, axis=0, dtype=np.int64)
        packed = np.packbits(2 * votes > counts[wordy, None], axis=1)
        found[wordy] = packed.view(">u8").ravel().astype(np.uint64) >> np.uint64(1)
    return [int(each) for each in found]


def count_near(one: int, others: Iterable[int]) -> int:
    """How many of the others belong to one signature's story."""
    return sum([(one ^ other).bit_count() <= NEAR_BITS for other in others])


def near(left: int, right: int) -> bool:
    """Whether two signatures belong to one story; titles without words, 0, belong to none."""
    return bool(left and right) and (left ^ right).bit_count() <= NEAR_BITS
