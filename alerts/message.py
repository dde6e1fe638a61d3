"""What Slack is told: pure functions from a spike's evidence, or Alertmanager's alerts, to a message in blocks.

Slack's limits (https://docs.slack.dev/reference/block-kit/blocks): a header of 150 characters, a section of 3,000, ten
fields, fifty blocks, and about 13,000 characters in all. Lengths are counted in UTF-16 units, the larger of two ways to
count. Only & < > are escaped, and only http(s) URLs become links.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, MarkdownTextObject, PlainTextObject, SectionBlock

from alerts.evidence import Evidence
from alerts.links import is_web
from alerts.stories import Story, summary
from alerts.text import moment, number, plain, plural, span, subject

Body = dict[str, Any]
"""What is posted: ``text``, for notifications and readers of screens, and ``blocks``."""

HEADER = 150
SECTION = 3_000
FIELD = 300
CONTEXT = 2_000
TEXT = 600
"""Most characters of each part, escaped. With :data:`MOST_ALERTS` sections a message stays under 13,000."""

LONGEST_URL = 800
"""A longer URL is not linked: it would leave no room for others."""

MOST_STORIES = {"opened": 5, "updated": 5, "closed": 3}
MOST_ALERTS = 10
SUMMARY, DESCRIPTION, RUNBOOK = 150, 400, 300
"""Most characters of each part about one alert of Alertmanager."""

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def spike_message(evidence: Evidence) -> Body:
    """The message about a spike that opened, grew or closed."""
    event = evidence.event
    about = subject(event.series)
    if event.state == "closed":
        lasted = span((event.closed_at or event.at) - event.opened_at)
        title = f"🟢 Back to normal: {about}"
        said = f"The surge of negative news lasted {lasted} and peaked at {number(event.peak_observed)} articles."
    else:
        title = f"🔴 Negative news surges: {about}" if event.state == "opened" else f"🔴 Surge has grown: {about}"
        said = f"{event.reason[:1].upper()}{event.reason[1:]}."
    blocks: list[Block] = [_header(title), _section(fit(said, FIELD), _facts(evidence))]
    told = _stories(evidence.stories, MOST_STORIES.get(event.state, 5))
    if told:
        blocks.append(_section(told))
    links = [
        _link(evidence.page, "Stories and chart"),
        _link(evidence.series, "Series"),
        _link(evidence.dashboard, "Grafana"),
    ]
    return _body(f"{title} – {said}", blocks, links)


def _facts(evidence: Evidence) -> list[str]:
    event = evidence.event
    facts = {"Since": moment(event.opened_at)}
    if event.state == "closed":
        facts["Until"] = moment(event.closed_at or event.at)
    else:
        facts["Observed"] = (
            f"{number(event.observed)} negative articles in {span(timedelta(minutes=event.horizon_minutes))}"
        )
        facts["Expected"] = f"{event.expected:.1f}"
    names = sorted(event.sources, key=lambda source: -event.sources[source])
    facts["Sources"] = _listed([f"{name} ({event.sources[name]})" for name in names], 5) or "–"
    return [f"*{name}*\n{fit(value, FIELD - len(name) - 3)}" for name, value in facts.items()]


def _stories(stories: Sequence[Story], most: int) -> str:
    """A list of stories that fits one section."""
    if not stories:
        return ""
    lines = [f"*{summary(stories)}*"]
    room = SECTION - len(lines[0]) - 100
    for story in stories[:most]:
        first = story.first
        told = fit(f"{_listed(story.sources, 3)}, {moment(first.published_at)}", FIELD)
        line = f"• {_link(first.url, first.title, 300) or fit(first.title, 300)} – {told}"
        room -= units(line) + 1
        if room < 0:
            break
        lines.append(line)
    if len(stories) > len(lines) - 1:
        lines.append(f"_and {len(stories) - len(lines) + 1} more_")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Notice:
    """What Alertmanager's rules say of one alert."""

    summary: str
    description: str
    runbook: str
    links: tuple[tuple[str, str], ...] = ()
    """URLs with their labels."""
    stories: tuple[Story, ...] = ()


def notice_message(notices: Sequence[Notice], *, firing: bool) -> Body:
    """The message about alerts of Alertmanager, all firing or all resolved."""
    mark = "🟠" if firing else "🟢 Resolved:"
    title = f"{mark} {notices[0].summary}" if len(notices) == 1 else f"{mark} {plural(len(notices), 'alert')}"
    blocks: list[Block] = [_header(title)]
    for notice in notices[:MOST_ALERTS]:
        described, runbook = fit(notice.description, DESCRIPTION), fit(notice.runbook, RUNBOOK)
        parts = [
            f"*{fit(notice.summary, SUMMARY)}*" if len(notices) > 1 else "",
            described,
            f"_What to do:_ {runbook}" if runbook and firing else "",
        ]
        if any(parts):
            blocks.append(_section("\n".join(filter(None, parts))))
        if notice.stories and len(notices) == 1:
            blocks.append(_section(_stories(notice.stories, 5)))
    if len(notices) > MOST_ALERTS:
        blocks.append(_section(f"_and {len(notices) - MOST_ALERTS} more_"))
    links = [_link(url, label) for url, label in dict.fromkeys(link for notice in notices for link in notice.links)]
    return _body(title + (f" – {notices[0].description}" if len(notices) == 1 else ""), blocks, links)


def trial_message() -> Body:
    """The message of ``squall alerts-test``."""
    title = "Squall can post here"
    return _body(
        title,
        [_header(title), _section("This is a test. Alerts about surges of negative news will look like this.")],
        [],
    )


def fit(text: str, limit: int) -> str:
    """Text on one line, escaped for Slack, of at most ``limit`` UTF-16 units; a cut is marked."""
    escaped = [_ESCAPES.get(character, character) for character in plain(text)]
    lengths = [units(part) for part in escaped]
    if sum(lengths) <= limit:
        return "".join(escaped)
    used, kept = 1, 0  # the mark takes one
    while used + lengths[kept] <= limit:
        used += lengths[kept]
        kept += 1
    return "".join(escaped[:kept]).rstrip() + "…"


def units(text: str) -> int:
    """Length in UTF-16 units, as Java and JavaScript count."""
    return len(text) + sum(character > "\uffff" for character in text)


def _link(url: str, label: str, limit: int = FIELD) -> str:
    """A link in Slack's notation; empty where the URL cannot become one."""
    if not is_web(url):
        return ""
    safe = quote(url, safe="!#$%&'()*+,-./:;=?@[]_~").replace("&", "&amp;")
    return f"<{safe}|{fit(label, limit) or 'link'}>" if len(safe) <= LONGEST_URL else ""


def _listed(names: Sequence[str], most: int) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _header(text: str) -> Block:
    return HeaderBlock(text=PlainTextObject(text=fit(text, HEADER) or "–", emoji=True))


def _section(text: str, fields: Sequence[str] = ()) -> Block:
    return SectionBlock(
        text=MarkdownTextObject(text=text), fields=[MarkdownTextObject(text=field) for field in fields] or None
    )


def _body(text: str, blocks: list[Block], links: Iterable[str]) -> Body:
    line = ""
    for link in filter(None, links):
        longer = f"{line}  ·  {link}" if line else link
        if units(longer) <= CONTEXT:
            line = longer
    if line:
        blocks.append(ContextBlock(elements=[MarkdownTextObject(text=line)]))
    return {"text": fit(text, TEXT), "blocks": [block.to_dict() for block in blocks]}
