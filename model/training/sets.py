"""The labelled sets, one loader each; a row that lacks a kind of label trains only the heads that it has.

None of the sets is part of Squall: ``--data`` or ``SQUALL_DATA`` names the folder that holds them, and docs/model.md
says where each comes from.
"""

import ast
import csv
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

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
READ_LABELS = Path(__file__).parent
"""The folder of ``read_news.tsv`` and ``read_more.tsv``: article keys and labels without texts."""

LABEL_COLUMNS = ("sentiment", "topic", "relevant")
"""How tables of labels name the heads, in the order of :data:`model.labels.HEADS`; relevant is 0 or 1."""

LONGEST_FIELD = 16_000_000
"""Characters of a field; csv's own limit of 131,072 would refuse a long article."""

TWITTER_SENTIMENTS = ("negative", "positive", "neutral")
"""The set's own numbers: 0 bearish, 1 bullish, 2 neutral."""

Loaded = tuple[list[Example], DataSet]
"""The examples of a set, and what the bundle's manifest says about it."""


class StreamArticle(msgspec.Struct, frozen=True):
    """What a line of a stream says of an article; other fields are ignored."""

    title: str
    summary: str | None = ""
    url: str = ""
    published_at: str = ""


def _existing(file: Path, source: str) -> Path:
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; {source}; --data or SQUALL_DATA names the folder that holds it")
    return file


def _rows(file: Path, columns: Sequence[str], delimiter: str = ",") -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table with where they stand (``labels.tsv:7``).

    Raises:
        ConfigError: a column is missing, a row is cut short, the text is not UTF-8 or not CSV.
    """
    csv.field_size_limit(LONGEST_FIELD)
    number = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            plain = delimiter == "\t" and _is_plain(stream)
            reader = csv.DictReader(
                stream, delimiter=delimiter, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL, strict=True
            )
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                separator = "tabs" if delimiter == "\t" else "commas"
                raise ConfigError(
                    f"{file}:1: no column {', '.join(sorted(missing))}; separate the columns by {separator}"
                )
            for row in reader:
                number = reader.line_num
                short = [column for column in columns if row[column] is None]
                if short:
                    raise ConfigError(f"{file}:{number}: the row ends before {', '.join(short)}; is a line cut off?")
                unquoted = {name: _unquoted(value or "") for name, value in row.items() if name}
                yield f"{file}:{number}", unquoted if plain else row
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}:{_line_of(file)}: not UTF-8; save the table in that encoding") from error
    except csv.Error as error:
        raise ConfigError(f"{file}:{number + 1}: cannot be read: {error}") from error


def _line_of(file: Path) -> int:
    """The first line of a file that is not UTF-8."""
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
    return 0


def _is_plain(stream: TextIO) -> bool:
    """Whether each line of a table is a row, so that quotes in it are text: headlines begin with a quotation often."""
    tabs = {line.count("\t") for line in stream if line.strip()}
    stream.seek(0)
    return len(tabs) == 1


def _unquoted(value: str) -> str:
    """A cell without the quotes that a writer of CSV put around it."""
    inner = value[1:-1]
    quoted = len(value) >= 2 and value[0] == value[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if quoted else value


def _described(name: str, root: Path, files: Sequence[Path], rows: int, licence: str, source: str) -> DataSet:
    names = [file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name for file in files]
    hashed = [DataFile(name=name, sha256=sha256_of(file)) for name, file in zip(names, files, strict=True)]
    return DataSet(name=name, files=hashed, rows=rows, licence=licence, source=source)


def _position(label: str, labels: tuple[str, ...], where: str) -> int:
    if label not in labels:
        raise ConfigError(f"{where}: unknown label {label!r}; expected one of {', '.join(labels)}")
    return labels.index(label)


def _labels(row: Mapping[str, str], where: str) -> tuple[int, int, int]:
    """The labels of a row of :data:`LABEL_COLUMNS`, in the order of the heads; an empty cell is no label."""

    def label(column: str, labels: tuple[str, ...]) -> int:
        return _position(row[column], labels, where) if row[column] else NONE

    return label("sentiment", SENTIMENTS), label("topic", TOPICS), label("relevant", ("0", "1"))


def article_key(url: str, title: str) -> str:
    """How the label files name an article of the stream."""
    return hashlib.sha256((url + title).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _stream(root: Path, patterns: Sequence[str]) -> tuple[dict[str, StreamArticle], list[Path]]:
    """The articles of the stream by their key, and the files that they stand in."""
    articles: dict[str, StreamArticle] = {}
    files: list[Path] = []
    for pattern in patterns:
        found = sorted((root / "stream").glob(pattern))
        if not found:
            _existing(root / "stream" / pattern, "the dated news stream that the labels belong to")
        files += found
    for file in files:
        for where, article in stream_lines(file):
            if not article.url or len(article.published_at) < len("2023-04-25"):
                raise ConfigError(f"{where}: an article of the stream needs url and published_at (ISO 8601)")
            articles.setdefault(article_key(article.url, article.title), article)
    return articles, files


def stream_lines(file: Path) -> Iterator[tuple[str, StreamArticle]]:
    """The articles of a file with one JSON object a line, and where each stands (``rss_2023-01.jsonl:7``).

    Raises:
        ConfigError: a line that is not an article; blank ones are passed over.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield f"{file}:{number}", msgspec.json.decode(line, type=StreamArticle)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise ConfigError(
                        f"{file}:{number}: not one article a line as JSON with a title: {error}"
                    ) from error


def _labelled_news(name: str, labels: Path, patterns: Sequence[str], source: str) -> Callable[[Path], Loaded]:
    """A loader of labels that name articles of the stream; a relative ``labels`` stands in the data folder."""

    def load(root: Path) -> Loaded:
        file = _existing(root / labels, source)
        articles, files = _stream(root, patterns)
        examples = []
        for where, row in _rows(file, ("id", *LABEL_COLUMNS), "\t"):
            article = articles.get(row["id"])
            if article is None:
                files_named = f"{', '.join(patterns)} of {root / 'stream'}"
                raise ConfigError(
                    f"{where}: no article {row['id']} in {files_named}; get the whole stream, or leave out set {name}"
                )
            day = article.published_at[:10]
            known = _labels(row, where)
            examples.append(Example(name, article.title, article.summary or "", *known, day=day))
        licence = "labels Apache-2.0; texts are the publishers' and not part of this bundle"
        return examples, _described(name, root, [file, *files], len(examples), licence, source)

    return load


def load_sentfin(root: Path) -> Loaded:
    """SEntFiN 1.0: headlines whose entities all have one sentiment; that sentiment is the headline's."""
    source = "SEntFiN 1.0, https://doi.org/10.1002/asi.24634"
    file = _existing(root / "sentfin" / "SEntFiN_dev.csv", source)
    examples = []
    for _, row in _rows(file, ("Title", "Decisions")):
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
    for where, row in _rows(file, ("article", "head", "new", "title", "summary")):
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
        examples = [
            Example(set=name, title=row["text"], sentiment=_twitter_label(row["label"], where))
            for where, row in _rows(file, ("text", "label"))
        ]
        return examples, _described(name, root, [file], len(examples), "MIT", source)

    return load


def _twitter_label(label: str, where: str) -> int:
    return SENTIMENTS.index(TWITTER_SENTIMENTS[_position(label, ("0", "1", "2"), where)])


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
            Example(set=name, title=text, topic=int(label))
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


def load_unlabelled(root: Path, labelled: Sequence[Example], share: float, most: int) -> Loaded:
    """The articles of the stream that carry no label, each title once, none of a day or a title kept for development.

    Args:
        labelled: all labelled examples; the stream's copies of their titles are left out.
        share: of the days that are kept for development.
        most: articles; where there are more, those of the finance feeds and a sample of the general ones.
    """
    known = {normalised(example.title) for example in labelled}
    found: list[list[Example]] = []
    files: list[Path] = []
    for pattern in (FINANCE_FEEDS, GENERAL_FEEDS):
        articles, read = _stream(root, [pattern])
        files += read
        found.append([])
        for article in articles.values():
            key, day = normalised(article.title), article.published_at[:10]
            example = Example(set=UNLABELLED, title=article.title, summary=article.summary or "", day=day)
            if key and key not in known and not is_held_out(example, share):
                known.add(key)
                found[-1].append(example)
    finance, general = found[0][:most], found[1]
    room = most - len(finance)
    examples = finance + (general if len(general) <= room else random.Random(0).sample(general, room))
    licence = "the publishers'; texts are not part of this bundle"
    return examples, _described(UNLABELLED, root, files, len(examples), licence, "the dated news stream, unlabelled")


LOADERS: dict[str, Callable[[Path], Loaded]] = {
    "news": _labelled_news("news", Path("stream/labels.tsv"), [FINANCE_FEEDS], LABELS_OF_THE_STREAM),
    "wide_news": _labelled_news("wide_news", Path("stream/wide_labels.tsv"), [GENERAL_FEEDS], LABELS_OF_THE_STREAM),
    **{
        name: _labelled_news(name, READ_LABELS / f"{name}.tsv", [FINANCE_FEEDS, GENERAL_FEEDS], LABELS_READ_FOR_SQUALL)
        for name in ("read_news", "read_more")
    },
    "feedback": load_feedback,
    "sentfin": load_sentfin,
    "twitter_sentiment": _twitter_sentiment("train"),
    "twitter_topic": _twitter_topic("train"),
}
"""What may be trained on; a part of each is kept for development."""

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
    examples = [
        Example(file.stem, row["title"], row.get("summary") or "", *_labels(row, where))
        for where, row in _rows(file, ("title", *LABEL_COLUMNS), "\t")
    ]
    if not examples:
        raise ConfigError(f"{file}: holds no row; it needs labelled headlines")
    return examples


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
        if not loaded:
            raise ConfigError(f"{root / data.files[0].name}: set {name} has no row; leave it out of the recipe")
        examples += loaded
        described.append(data)
    return examples, described
