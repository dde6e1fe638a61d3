"""Batches of similar length within a budget of tokens."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from model.batches import by_token_budget

lengths = st.lists(st.integers(1, 512), max_size=300)
budgets = st.integers(1, 4_096)


@given(lengths, budgets)
def test_every_text_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    groups = by_token_budget(lengths, budget)

    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert all(groups)


@given(lengths, budgets)
def test_a_batch_keeps_to_the_budget_unless_one_text_alone_exceeds_it(lengths: list[int], budget: int) -> None:
    for group in by_token_budget(lengths, budget):
        padded = len(group) * max(lengths[index] for index in group)
        assert padded <= budget or len(group) == 1


@given(lengths, budgets)
def test_lengths_rise_from_batch_to_batch(lengths: list[int], budget: int) -> None:
    flat = [lengths[index] for group in by_token_budget(lengths, budget) for index in group]

    assert flat == sorted(flat)


@given(lengths, budgets)
def test_no_batch_could_have_taken_the_next_text(lengths: list[int], budget: int) -> None:
    groups = by_token_budget(lengths, budget)

    for group, following in pairwise(groups):
        assert (len(group) + 1) * lengths[following[0]] > budget
