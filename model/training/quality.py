"""What is to know of labelled sets before they train anything: pure checks, one struct each."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from model.drift import psi
from model.labels import HEADS
from model.language import detect
from model.text import article_text, normalised
from model.training.data import NONE, Example, labels_of

Floats = NDArray[np.float32]

EXAMPLES = 20
"""Pairs and texts that a check shows; its counts are of all."""
SUSPECTS = 50
"""Likely label errors that are listed of each head."""
LANGUAGE_SAMPLE = 2_000
"""Texts of a set whose language is told: enough to see 1 % within 0.5 points, a second's work."""
FOLDS = 5
NEAR = 0.8
"""Cosine from which two titles are near copies: one word in seven or so differs."""
CHUNK = 2_000
"""Titles that are compared at a time."""


class Repeats(Struct, frozen=True):
    """Texts that stand in a set more than once, links, case and punctuation apart."""

    texts: int
    """Different texts that repeat."""
    rows: int
    """Rows beyond the first of each."""
    conflicting: int
    """Repeating texts whose rows are labelled differently."""


class Lengths(Struct, frozen=True):
    """Words of title and summary."""

    median: float
    p95: float
    longest: int
    empty: int
    """Texts without a word."""
    no_summary: float
    """Share of the rows."""


class SetReport(Struct, frozen=True):
    """One set by itself."""

    rows: int
    first_day: str
    last_day: str
    labels: dict[str, dict[str, int]]
    """By head, how many rows carry each label."""
    repeats: Repeats
    languages: dict[str, int]
    """Two-letter codes in a sample of the set."""
    lengths: Lengths


class Crossing(Struct, frozen=True):
    """Texts to train on that resemble texts of the development part."""

    exact: int
    """Same title, links, case and punctuation apart, on both sides."""
    near: int
    """Titles to train on of which a near copy (a word or so changed) is kept for development."""
    pairs: list[tuple[str, str]]
    """Some of the near ones: training title, development title."""


class Suspect(Struct, frozen=True):
    """A row whose label a model trained on the other rows finds unlikely."""

    set: str
    title: str
    label: str
    likely: str
    probability: float
    """Of the label that is written, by the cross-validated model."""


def report_of_set(examples: Sequence[Example]) -> SetReport:
    """Label mix, repeats, languages and lengths of one set."""
    days = sorted(example.day for example in examples if example.day)
    return SetReport(
        rows=len(examples),
        first_day=days[0] if days else "",
        last_day=days[-1] if days else "",
        labels={head: mix for head in HEADS if (mix := label_mix(examples, head))},
        repeats=repeats(examples),
        languages=languages(examples),
        lengths=lengths(examples),
    )


def label_mix(examples: Sequence[Example], head: str) -> dict[str, int]:
    """How many examples carry each label of a head; empty where none carries any."""
    labels = labels_of(examples, head)
    counts = np.bincount(labels[labels != NONE], minlength=len(HEADS[head]))
    return dict(zip(HEADS[head], counts.tolist(), strict=True)) if counts.any() else {}


def repeats(examples: Sequence[Example]) -> Repeats:
    """Texts that occur more than once, and those of them that do not agree on a label."""
    groups: dict[str, list[tuple[int, ...]]] = {}
    for example in examples:
        labels = tuple(getattr(example, head) for head in HEADS)
        groups.setdefault(normalised(article_text(example.title, example.summary)), []).append(labels)
    repeated = [labels for labels in groups.values() if len(labels) > 1]
    return Repeats(
        texts=len(repeated),
        rows=sum(len(labels) - 1 for labels in repeated),
        conflicting=sum(len(set(labels)) > 1 for labels in repeated),
    )


def languages(examples: Sequence[Example]) -> dict[str, int]:
    """The languages of a sample, the most frequent first."""
    step = max(1, len(examples) // LANGUAGE_SAMPLE)
    found = Counter(detect(article_text(each.title, each.summary)) for each in examples[::step])
    return dict(found.most_common())


def lengths(examples: Sequence[Example]) -> Lengths:
    """How long the texts are."""
    words = np.array([len(article_text(each.title, each.summary).split()) for each in examples])
    return Lengths(
        median=float(np.median(words)),
        p95=float(np.percentile(words, 95)),
        longest=int(words.max()),
        empty=int((words == 0).sum()),
        no_summary=round(sum(not each.summary for each in examples) / len(examples), 4),
    )


def crossing(train: Sequence[Example], development: Sequence[Example]) -> Crossing:
    """Copies and near copies of development titles among the texts to train on.

    Near are titles whose words and pairs of words, weighted by rarity, have a cosine of :data:`NEAR` or more.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    titles = [normalised(example.title) for example in train]
    kept = [normalised(example.title) for example in development]
    if not any(kept) or not any(titles):
        return Crossing(0, 0, [])
    held = set(kept)
    vectors = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2)).fit(titles + kept)
    others = vectors.transform(kept).T.tocsr()
    pairs, near, exact = [], 0, 0
    for start in range(0, len(titles), CHUNK):
        cosines = vectors.transform(titles[start : start + CHUNK]) @ others
        closest, best = cosines.argmax(1).A1, cosines.max(1).toarray().ravel()
        for row, (other, cosine) in enumerate(zip(closest, best, strict=True), start=start):
            if titles[row] and titles[row] in held:
                exact += 1
            elif cosine >= NEAR:
                near += 1
                pairs.append((train[row].title, development[other].title))
    return Crossing(exact, near, pairs[:EXAMPLES])


def suspects(examples: Sequence[Example], embedding: Floats, head: str) -> tuple[int, list[Suspect]]:
    """Rows whose label a model that did not see them finds unlikely, the least likely first, and how many there are.

    A logistic regression on the embeddings is fitted five times on four fifths of the days or titles; what confident
    learning makes of its probabilities (Northcutt et al. 2021, doi.org/10.1613/jair.1.12125) is cleanlab's work.

    Args:
        embedding: (examples, width) of an encoder that was not trained on these labels.
    """
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    labels = labels_of(examples, head)
    common = np.flatnonzero(np.bincount(labels[labels != NONE], minlength=len(HEADS[head])) >= 2 * FOLDS)
    rows = np.flatnonzero(np.isin(labels, common)).tolist()
    groups = [examples[i].day or normalised(examples[i].title) for i in rows]
    if len(common) < 2 or len(set(groups)) < 2 * FOLDS:
        return 0, []
    dense = np.searchsorted(common, labels[rows])
    model = LogisticRegression(C=10.0, max_iter=300)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    probabilities = cross_val_predict(model, embedding[rows], dense, groups=groups, cv=folds, method="predict_proba")
    found = find_label_issues(dense, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    names = [HEADS[head][label] for label in common]
    listed = [
        Suspect(
            set=examples[rows[i]].set,
            title=examples[rows[i]].title,
            label=names[dense[i]],
            likely=names[int(probabilities[i].argmax())],
            probability=round(float(probabilities[i][dense[i]]), 4),
        )
        for i in found[:SUSPECTS]
    ]
    return len(found), listed


class Drift(Struct, frozen=True):
    """How far live texts have moved from the texts that the model was trained on."""

    texts: int
    unseen_words: float
    """Share of the live words that no training text has."""
    new_words: dict[str, int]
    """The most frequent of them."""
    length_psi: float
    """Population stability index of the number of words; below 0.1 is stable, above 0.25 has moved."""
    label_psi: dict[str, float]
    """By head, of the labels that the model gives live texts against those that the news sets carry."""
    labels: dict[str, dict[str, float]]
    """By head, the share of each label among the live texts."""


def drift(examples: Sequence[Example], live: Sequence[str], given: Mapping[str, NDArray[np.int64]]) -> Drift:
    """Vocabulary, length and label mix of live texts against labelled news.

    Args:
        examples: the news that a model is trained on.
        live: texts as the model reads them.
        given: by head, the label that a model gives each live text.
    """
    train = [article_text(each.title, each.summary) for each in examples]
    known = {word for text in train for word in normalised(text).split()}
    words = Counter(word for text in live for word in normalised(text).split())
    unseen = Counter({word: count for word, count in words.items() if word not in known})
    edges = np.unique(np.quantile([len(text.split()) for text in train], np.linspace(0, 1, 11)[1:-1]))
    mixes = {head: np.bincount(given[head], minlength=len(names)) for head, names in HEADS.items()}
    return Drift(
        texts=len(live),
        unseen_words=round(unseen.total() / max(words.total(), 1), 4),
        new_words=dict(unseen.most_common(EXAMPLES)),
        length_psi=round(psi(_binned(train, edges), _binned(live, edges)), 4),
        label_psi={
            head: round(psi(list(known_mix.values()), mix.tolist()), 4)
            for head, mix in mixes.items()
            if (known_mix := label_mix(examples, head))
        },
        labels={
            head: dict(zip(HEADS[head], np.round(mix / max(mix.sum(), 1), 4).tolist(), strict=True))
            for head, mix in mixes.items()
        },
    )


def _binned(texts: Sequence[str], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    bins = np.searchsorted(edges, [len(text.split()) for text in texts], side="right")
    return np.bincount(bins, minlength=len(edges) + 1)
