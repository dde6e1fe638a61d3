"""Distinct stories: copies and near-copies of one headline are one story with several sources."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from alerts.archive.reader import ArchivedArticle
from alerts.text import plural
from bus.signature import near

NEAR_TITLE = 0.7
"""Titles that share this part of their words are the same headline, edited: one word in six may differ."""


@dataclass(slots=True)
class Story:
    """Articles that tell one story, newest first."""

    articles: list[ArchivedArticle]
    _words: list[frozenset[str]] = field(default_factory=list)

    @property
    def first(self) -> ArchivedArticle:
        """The article that told it first."""
        return self.articles[-1]

    @property
    def sources(self) -> list[str]:
        """The sources, the first to tell it first."""
        return list(dict.fromkeys(article.source for article in reversed(self.articles)))

    def holds(self, article: ArchivedArticle, words: frozenset[str]) -> bool:
        """Whether an article tells this story."""
        return any(
            near(article.signature, other.signature) or _overlap(words, other_words) >= NEAR_TITLE
            for other, other_words in zip(self.articles, self._words, strict=True)
        )

    def add(self, article: ArchivedArticle, words: frozenset[str]) -> None:
        self.articles.append(article)
        self._words.append(words)


def group(articles: Iterable[ArchivedArticle]) -> list[Story]:
    """The distinct stories of some articles, those with most sources first, then the newest.

    Every article is compared with the others: meant for the hundreds of a page, not for an archive.
    """
    stories: list[Story] = []
    for article in sorted(articles, key=lambda one: (one.published_at, one.id), reverse=True):
        words = _title_words(article.title)
        story = next((story for story in stories if story.holds(article, words)), None)
        if story is None:
            story = Story([])
            stories.append(story)
        story.add(article, words)
    return sorted(stories, key=lambda story: len(story.sources), reverse=True)


def summary(stories: Sequence[Story]) -> str:
    """How many stories from how many articles, for people."""
    articles = sum(len(story.articles) for story in stories)
    return f"{plural(len(stories), 'distinct story')} in {plural(articles, 'article')}"


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one and other else 0.0


def _title_words(title: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", title.casefold()))
