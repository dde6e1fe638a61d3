"""The arithmetic of surprise."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nbinom

from bus.signature import near, signature
from stream_worker.detector import Expectation, baseline, capped_sum, expect, surprise, upper

weights = st.floats(0, 10_000)
hourly = st.lists(st.floats(0, 500), max_size=60)
sums = hourly.map(lambda hours: (float(len(hours)), sum(hours), sum(hour * hour for hour in hours)))


@pytest.mark.parametrize(("observed", "mean", "variance"), [(5, 1.0, 2.0), (20, 4.0, 9.0), (1, 0.1, 0.2), (40, 30, 45)])
def test_surprise_is_the_tail_of_the_negative_binomial(observed: int, mean: float, variance: float) -> None:
    size, p = mean**2 / (variance - mean), mean / variance
    expected = -math.log10(nbinom.sf(observed - 1, size, p))
    assert surprise(observed, Expectation(mean, variance)) == pytest.approx(expected, rel=1e-6)


@given(sums, weights, weights, st.floats(0.25, 24))
def test_more_bad_news_is_never_less_surprising(
    state: tuple[float, float, float], less: float, more: float, hours: float
) -> None:
    expected = expect(baseline(*state), hours)
    less, more = sorted((less, more))
    assert surprise(less, expected) <= surprise(more, expected) + 1e-9


@given(sums, st.floats(0.25, 24))
def test_nothing_is_no_surprise(state: tuple[float, float, float], hours: float) -> None:
    assert surprise(0.0, expect(baseline(*state), hours)) == 0.0


@given(sums)
def test_the_variance_is_above_the_mean_and_the_band_above_both(state: tuple[float, float, float]) -> None:
    expected = expect(baseline(*state), 1.0)
    assert expected.variance > expected.mean > 0
    assert upper(expected) > expected.mean


def test_a_baseline_learns_the_rate() -> None:
    assert baseline(240.0, 480.0, 1200.0).rate == pytest.approx(2.0, rel=0.05)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=1), weights))
def test_a_loud_source_counts_at_most_twice_all_others(sources: dict[str, float]) -> None:
    total, loudest = sum(sources.values()), max(sources.values(), default=0.0)
    assert capped_sum(sources) <= min(total, 3 * (total - loudest)) + 1e-6


def test_a_single_source_counts_nothing() -> None:
    assert capped_sum({"wire": 50.0}) == 0.0
    assert capped_sum({"wire": 10.0, "herald": 1.0}) == 3.0


@given(st.text(max_size=200))
def test_signatures_fit_a_signed_column_and_ignore_case(title: str) -> None:
    assert 0 <= signature(title) < 2**63
    assert signature(title) == signature(title.swapcase()) or not title.isascii()


def test_reworded_headlines_are_near_and_others_far() -> None:
    title = signature("Adani shares plunge after Hindenburg short-seller report")
    assert near(title, signature("Adani stocks plunge after Hindenburg short-seller report"))
    assert near(title, signature("ADANI SHARES PLUNGE AFTER HINDENBURG SHORT SELLER REPORT!"))
    assert not near(title, signature("UBS to buy Credit Suisse in rescue deal"))
