"""The labelled sets, one loader each; a row that lacks a kind of label trains only the heads that it has.

None of the sets is part of Squall: ``--data`` or ``SQUALL_DATA`` names the folder that holds them, and docs/model.md
says where each comes from.
"""

import ast
import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bus.errors import ConfigError
from bus.messages import SENTIMENTS
from model.bundle import DataFile, DataSet, sha256_of
from model.labels import HEADS, TOPICS
from model.text import normalised
from model.training.data import NONE, UNLABELLED, Example, is_held_out

FINANCE_FEEDS = "rss_*.jsonl"
GENERAL_FEEDS = "wide_*.jsonl"

LABELS_OF_THE_STREAM = "labels of a dated news stream, read from title and summary in one pass"
LABELS_READ_FOR_SQUALL = "more labels of the same stream, read for Squall by a language model under the same guide"
READ_LABELS = Path(__file__).with_name("read_news.tsv")
"""Article keys and labels, no text: of use only beside the stream."""

TWITTER_SENTIMENTS = ("negative", "positive", "neutral")
"""The set's own numbers: 0 bearish, 1 bullish, 2 neutral."""

Loaded = tuple[list[Example], DataSet]
"""The examples of a set, and what the bundle's manifest says about it."""


def _existing(file: Path, source: str) -> Path:
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; {source}; --data or SQUALL_DATA names the folder that holds it")
    return file


def _described(name: str, root: Path, files: Sequence[Path], rows: int, licence: str, source: str) -> DataSet:
    names = [file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name for file in files]
    hashed = [DataFile(name=name, sha256=sha256_of(file)) for name, file in zip(names, files, strict=True)]
    return DataSet(name=name, files=hashed, rows=rows, licence=licence, source=source)


def _position(label: str, labels: tuple[str, ...], where: str) -> int:
    if label not in labels:
        raise ConfigError(f"{where}: unknown label {label!r}; expected one of {', '.join(labels)}")
    return labels.index(label)


def article_key(url: str, title: str) -> str:
    """How the label files name an article of the stream."""
    return hashlib.sha256((url + title).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _stream(root: Path, patterns: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[Path]]:
    """The articles of the stream by their key, and the files that they stand in."""
    articles: dict[str, dict[str, str]] = {}
    files: list[Path] = []
    for pattern in patterns:
        found = sorted((root / "stream").glob(pattern))
        if not found:
            _existing(root / "stream" / pattern, "the dated news stream that the labels belong to")
        files += found
    for file in files:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                article = json.loads(line)
                articles.setdefault(article_key(article["url"], article["title"]), article)
    return articles, files


def _labelled_news(name: str, labels: Path, patterns: Sequence[str], source: str) -> Callable[[Path], Loaded]:
    """A loader of labels that name articles of the stream; a relative ``labels`` stands in the data folder."""

    def load(root: Path) -> Loaded:
        file = _existing(root / labels, source)
        articles, files = _stream(root, patterns)
        examples = []
        with file.open(encoding="utf-8", newline="") as stream:
            for number, row in enumerate(csv.DictReader(stream, delimiter="\t"), start=2):
                where = f"{file}:{number}"
                article = articles.get(row["id"])
                if article is None:
                    raise ConfigError(
                        f"{where}: no article {row['id']} in {', '.join(patterns)} of {root / 'stream'}; get the whole"
                        " stream"
                    )
                examples.append(
                    Example(
                        set=name,
                        title=article["title"],
                        summary=article["summary"],
                        sentiment=_position(row["sentiment"], SENTIMENTS, where),
                        topic=_position(row["topic"], TOPICS, where),
                        relevance=_position(row["relevant"], ("0", "1"), where),
                        day=article["published_at"][:10],
                    )
                )
        licence = "labels Apache-2.0; texts are the publishers' and not part of this bundle"
        return examples, _described(name, root, [file, *files], len(examples), licence, source)

    return load


def load_sentfin(root: Path) -> Loaded:
    """SEntFiN 1.0: headlines whose entities all have one sentiment; that sentiment is the headline's."""
    source = "SEntFiN 1.0, https://doi.org/10.1002/asi.24634"
    file = _existing(root / "sentfin" / "SEntFiN_dev.csv", source)
    examples = []
    with file.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            try:
                polarities = set(ast.literal_eval(row["Decisions"]).values())
            except (SyntaxError, ValueError, AttributeError):
                continue  # 13 rows hold a quote that breaks their dict
            if len(polarities) == 1 and polarities <= set(SENTIMENTS):
                sentiment = SENTIMENTS.index(polarities.pop())
                examples.append(Example(set="sentfin", title=row["Title"], sentiment=sentiment))
    return examples, _described("sentfin", root, [file], len(examples), "MIT", source)


def load_feedback(root: Path) -> Loaded:
    """The corrections that readers made on the page, as ``squall labels export`` writes them.

    A correction labels the head that it corrects and no other; of several of one head, the last one holds.
    """
    source = "corrections by readers, from 'squall labels export'"
    file = _existing(root / "feedback" / "labels.csv", source)
    examples: dict[str, Example] = {}
    with file.open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            where = f"{file}:{number}"
            if row["head"] not in HEADS:
                raise ConfigError(f"{where}: unknown head {row['head']!r}; expected one of {', '.join(HEADS)}")
            known = examples.get(row["article"], Example(set="feedback", title=row["title"], summary=row["summary"]))
            label = {row["head"]: _position(row["new"], HEADS[row["head"]], where)}
            examples[row["article"]] = msgspec.structs.replace(known, **label)
    described = _described("feedback", root, [file], len(examples), "yours; not part of this bundle", source)
    return list(examples.values()), described


def _twitter_sentiment(part: str) -> Callable[[Path], Loaded]:
    source = "https://huggingface.co/datasets/zeroshot/twitter-financial-news-sentiment"
    name = "twitter_sentiment" + ("_valid" if part == "valid" else "")

    def load(root: Path) -> Loaded:
        file = _existing(root / "sentiment" / f"twitter_{part}.csv", source)
        with file.open(encoding="utf-8", newline="") as stream:
            examples = [
                Example(set=name, title=repaired(row["text"]), sentiment=_twitter_label(row["label"], file))
                for row in csv.DictReader(stream)
            ]
        return examples, _described(name, root, [file], len(examples), "MIT", source)

    return load


def _twitter_label(label: str, file: Path) -> int:
    return SENTIMENTS.index(TWITTER_SENTIMENTS[_position(label, ("0", "1", "2"), str(file))])


def _twitter_topic(part: str) -> Callable[[Path], Loaded]:
    source = "https://huggingface.co/datasets/zeroshot/twitter-financial-news-topic"
    name = "twitter_topic" + ("_valid" if part == "valid" else "")

    def load(root: Path) -> Loaded:
        import pandas  # type: ignore[import-untyped]

        file = _existing(root / "topic" / f"twitter_topic_{part}.parquet", source)
        table = pandas.read_parquet(file)
        if not table["label"].between(0, len(TOPICS) - 1).all():
            raise ConfigError(f"{file}: labels outside 0..{len(TOPICS) - 1}; the set has {len(TOPICS)} topics")
        examples = [
            Example(set=name, title=repaired(text), topic=int(label))
            for text, label in zip(table["text"], table["label"], strict=True)
        ]
        return examples, _described(name, root, [file], len(examples), "MIT", source)

    return load


def load_phrasebank(root: Path) -> Loaded:
    """Financial PhraseBank, the sentences on which all readers agree; its licence forbids to train what ships on it."""
    source = "Financial PhraseBank, https://doi.org/10.1002/asi.23062"
    file = _existing(root / "phrasebank" / "Sentences_AllAgree.txt", source)
    examples = []
    for number, line in enumerate(file.read_text(encoding="latin-1").splitlines(), start=1):
        sentence, _, label = line.rpartition("@")
        tone = _position(label.strip(), SENTIMENTS, f"{file}:{number}")
        examples.append(Example(set="phrasebank_all_agree", title=sentence, sentiment=tone))
    return examples, _described("phrasebank_all_agree", root, [file], len(examples), "CC BY-NC-SA 3.0", source)


def repaired(text: str) -> str:
    """A text with its mojibake undone; live feeds state their encoding, the tweets of the public sets lost it."""
    import ftfy

    return ftfy.fix_text(text)


def load_unlabelled(root: Path, labelled: Sequence[Example], share: float) -> Loaded:
    """The articles of the stream that carry no label, each title once, none of a day or a title kept for development.

    Args:
        labelled: all labelled examples; the stream's copies of their titles are left out.
        share: of the days that are kept for development.
    """
    known = {normalised(example.title) for example in labelled}
    examples = []
    articles, files = _stream(root, (FINANCE_FEEDS, GENERAL_FEEDS))
    for article in articles.values():
        key = normalised(article["title"])
        example = Example(
            set=UNLABELLED, title=article["title"], summary=article["summary"], day=article["published_at"][:10]
        )
        if key and key not in known and not is_held_out(example, share):
            known.add(key)
            examples.append(example)
    licence = "the publishers'; texts are not part of this bundle"
    return examples, _described(UNLABELLED, root, files, len(examples), licence, "the dated news stream, unlabelled")


LOADERS: dict[str, Callable[[Path], Loaded]] = {
    "news": _labelled_news("news", Path("stream/labels.tsv"), [FINANCE_FEEDS], LABELS_OF_THE_STREAM),
    "wide_news": _labelled_news("wide_news", Path("stream/wide_labels.tsv"), [GENERAL_FEEDS], LABELS_OF_THE_STREAM),
    "read_news": _labelled_news("read_news", READ_LABELS, [FINANCE_FEEDS, GENERAL_FEEDS], LABELS_READ_FOR_SQUALL),
    "feedback": load_feedback,
    "sentfin": load_sentfin,
    "twitter_sentiment": _twitter_sentiment("train"),
    "twitter_topic": _twitter_topic("train"),
}
"""What may be trained on; a part of each is kept for development."""

DEVELOPED = ("news", "wide_news", "sentfin")
"""The sets whose development part a bundle is measured on: labelled by one reader, or published with labels."""

PUBLISHED: dict[str, tuple[Callable[[Path], Loaded], str]] = {
    "twitter_sentiment_valid": (_twitter_sentiment("valid"), "twitter_sentiment"),
    "twitter_topic_valid": (_twitter_topic("valid"), "twitter_topic"),
    "phrasebank_all_agree": (load_phrasebank, ""),
}
"""What is only ever measured on, with the name of the training set that was published beside it."""


def load_table(file: Path) -> list[Example]:
    """Headlines that a desk labelled: tab-separated id, title, summary, sentiment, topic, relevant; labels may lack.

    Raises:
        ConfigError: a missing file or column, an unknown label, no row at all.
    """
    _existing(file, "a table with the columns id, title, summary, sentiment, topic, relevant")
    examples = []
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t")
        missing = {"title", "sentiment", "topic", "relevant"} - set(reader.fieldnames or ())
        if missing:
            raise ConfigError(f"{file}:1: no column {', '.join(sorted(missing))}; separate the columns by tabs")
        for number, row in enumerate(reader, start=2):
            where = f"{file}:{number}"
            relevance = _optional(row["relevant"], ("0", "1"), where)
            examples.append(
                Example(
                    set=file.stem,
                    title=row["title"] or "",
                    summary=row.get("summary") or "",
                    sentiment=_optional(row["sentiment"], SENTIMENTS, where),
                    topic=_optional(row["topic"], TOPICS, where),
                    relevance=relevance,
                )
            )
    if not examples:
        raise ConfigError(f"{file}: holds no row; it needs labelled headlines")
    return examples


def _optional(label: str | None, labels: tuple[str, ...], where: str) -> int:
    return _position(label, labels, where) if label else NONE


def load_sets(names: Sequence[str], root: Path) -> tuple[list[Example], list[DataSet]]:
    """The examples of the named sets, one after another, and their descriptions.

    Raises:
        ConfigError: an unknown set, a missing file, a label that does not exist.
    """
    examples: list[Example] = []
    described: list[DataSet] = []
    for name in names:
        if name not in LOADERS:
            raise ConfigError(f"sets: unknown set {name!r}; expected some of {', '.join(LOADERS)}")
        loaded, data = LOADERS[name](root)
        examples += loaded
        described.append(data)
    return examples, described
