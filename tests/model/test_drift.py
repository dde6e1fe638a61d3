"""The population stability index, and the histogram that forgets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.drift import Recent, psi, reference_of

COUNTS = st.lists(st.integers(0, 500), min_size=3, max_size=20)


@given(COUNTS)
def test_a_distribution_has_not_moved_from_itself(counts: list[int]) -> None:
    assert psi(counts, counts) == pytest.approx(0.0, abs=1e-12)


@given(st.integers(2, 20).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 99), min_size=n, max_size=n)] * 2)))
def test_the_index_is_symmetric_and_never_negative(pair: tuple[list[int], list[int]]) -> None:
    one, other = pair
    assert psi(one, other) == pytest.approx(psi(other, one))
    assert psi(one, other) >= 0


def test_a_share_that_doubles_is_seen() -> None:
    # (0.4 - 0.2) ln(0.4 / 0.2) + (0.6 - 0.8) ln(0.6 / 0.8) = 0.1962
    assert psi([2000, 8000], [4000, 6000]) == pytest.approx(0.1962, abs=1e-3)


def test_without_answers_nothing_has_moved() -> None:
    assert psi([3, 4], [0, 0]) == 0.0


def test_only_the_latest_texts_count() -> None:
    recent = Recent(memory=100)
    for _ in range(50):
        recent.add([10, 0])
    for _ in range(50):
        recent.add([0, 10])
    assert recent.texts == pytest.approx(100, rel=0.06)
    assert recent.counts[1] > 0.98 * recent.texts


def test_answers_are_counted_by_label_and_by_probability() -> None:
    found = reference_of(np.array([[0.9, 0.1], [0.45, 0.55], [0.0, 1.0]]))
    assert found.labels == [1, 2]
    assert found.confidence == [0, 0, 0, 0, 0, 1, 0, 0, 0, 2]
