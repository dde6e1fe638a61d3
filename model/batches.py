"""Cutting texts of many lengths into batches that waste little padding."""

from collections.abc import Sequence


def by_token_budget(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Groups of indices of similar length, each of at most ``budget`` tokens once padded to its longest.

    Every index appears exactly once. A text longer than the budget is a group of its own. Within and across groups
    lengths rise, so that padding is small.

    Args:
        lengths: tokens of each text.
        budget: most tokens of a batch, padding included.
    """
    groups: list[list[int]] = []
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) + 1) * lengths[index] > budget:
            groups.append(group)
            group = []
        group.append(index)
    if group:
        groups.append(group)
    return groups
