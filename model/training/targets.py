"""What a network learns of each text: for every head a distribution over its labels, and how much it counts.

A label is the distribution that is sure of it; a teacher's opinion is one that is less sure; a text without either for
some head has weight 0 there.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.labels import HEADS
from model.training.data import NONE, Example, labels_of

Floats = NDArray[np.float32]


class Targets(NamedTuple):
    """By head: the wanted distributions (texts, labels), each row of sum 1 or 0, and the rows' weights (texts,)."""

    wanted: dict[str, Floats]
    weights: dict[str, Floats]


def targets_of(
    examples: Sequence[Example],
    set_weights: Mapping[str, float],
    *,
    smoothing: float = 0.0,
    opinions: Mapping[str, Floats] | None = None,
    share: float = 0.0,
) -> Targets:
    """The targets of examples.

    Args:
        set_weights: weight of a row, by the name of its set.
        smoothing: share of a label's certainty that goes to its head's other labels (Szegedy et al. 2016).
        opinions: by head, the teachers' distributions (texts, labels); rows of zeros where no teacher knows the text.
        share: of an opinion in the target of a row that has a label too.
    """
    rows = np.array([set_weights[example.set] for example in examples], np.float32)
    wanted, weights = {}, {}
    for head, names in HEADS.items():
        labels = labels_of(examples, head)
        labelled = labels != NONE
        sure = np.full((len(examples), len(names)), smoothing / len(names), np.float32)
        sure[np.arange(len(examples)), labels] += 1 - smoothing
        sure[~labelled] = 0
        if opinions is not None:
            known = opinions[head].sum(1) > 0
            part = np.where(labelled & known, share, known).astype(np.float32)[:, None]
            sure = np.asarray((1 - part) * sure + part * opinions[head], np.float32)
            labelled = labelled | known
        wanted[head] = sure
        weights[head] = rows * labelled
    return Targets(wanted, weights)
