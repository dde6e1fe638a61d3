"""Geometry of the page's charts: pure functions from hours to the numbers that the SVG templates print."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from alerts.archive.reader import Hour
from alerts.links import spike_path
from alerts.page.period import Period, moment_of
from alerts.text import moment, number
from bus.messages import SpikeEvent

_Scale = Callable[[float], float]
"""From hours or values to positions."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One bar: one hour, or several where the range is long."""

    first: int
    negative: int
    neutral: int
    positive: int
    expected: float | None
    upper: float | None

    @property
    def articles(self) -> int:
        return self.negative + self.neutral + self.positive

    @property
    def beyond(self) -> bool:
        """Whether there are more negative articles than the band allows."""
        return self.upper is not None and self.negative > self.upper


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with the strip behind it that can be clicked."""

    x: float
    y: float
    width: float
    height: float
    strip_x: float
    strip_width: float
    beyond: bool
    chosen: bool
    label: str
    href: str


@dataclass(frozen=True, slots=True)
class Shade:
    """The time of a spike, behind the bars."""

    x: float
    width: float
    label: str
    href: str


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that the template draws, in the units of the view box."""

    width: int
    height: int
    left: int
    bottom: float
    bars: list[Bar]
    shades: list[Shade]
    band: str
    expected: str
    y_ticks: list[Tick]
    x_ticks: list[Tick]


def slots(hours: Sequence[Hour], first: int, last: int, size: int) -> list[Slot]:
    """Hours as slots of ``size`` hours from ``first`` to ``last``, without gaps.

    The upper edge of several hours adds up as independent spreads do: roots of summed squares. Where trends said
    nothing of any hour of a slot, nothing is expected of it.
    """
    known = {hour.hour: hour for hour in hours}
    found = []
    for start in range(first, last + 1, size):
        parts = [known[hour] for hour in range(start, min(start + size, last + 1)) if hour in known]
        expected = [part.expected for part in parts if part.expected is not None]
        spread = [(part.upper - part.expected) ** 2 for part in parts if part.expected is not None and part.upper]
        total = sum(expected)
        found.append(
            Slot(
                first=start,
                negative=sum(part.negative for part in parts),
                neutral=sum(part.neutral for part in parts),
                positive=sum(part.positive for part in parts),
                expected=total if expected else None,
                upper=total + math.sqrt(sum(spread)) if expected else None,
            )
        )
    return found


def top_of(shown: Sequence[Slot]) -> float:
    """The largest value of a chart, 4 at least, so that one article does not fill it."""
    return max([4.0, *(float(slot.negative) for slot in shown), *(slot.upper or 0.0 for slot in shown)])


def chart(
    shown: Sequence[Slot], spikes: Sequence[SpikeEvent], period: Period, *, width: int, height: int = 240
) -> Chart:
    """The chart of a series: negative articles as bars, what is expected as a line, the band up to its upper edge."""
    left, right, above, below = 34, 6, 10, 24
    step = _nice(top_of(shown) / (4 if height > 200 else 3))
    top = step * math.ceil(top_of(shown) / step)
    bottom, slot_width = float(height - below), (width - left - right) / len(shown)

    def x(hour: float) -> float:
        return left + (hour - period.first) / period.slot * slot_width

    def y(value: float) -> float:
        return bottom - (bottom - above) * value / top

    return Chart(
        width=width,
        height=height,
        left=left,
        bottom=bottom,
        bars=[_bar(slot, period, x(slot.first), y(slot.negative), bottom, slot_width) for slot in shown],
        shades=[shade for spike in spikes if (shade := _shade(spike, period, x))],
        band=_band(shown, x, y, period.slot),
        expected=_line(shown, x, y, period.slot),
        y_ticks=[Tick(round(y(step * i), 1), number(step * i)) for i in range(round(top / step) + 1)],
        x_ticks=_days(period, x, (width - left - right) / 64),
    )


def _bar(slot: Slot, period: Period, x: float, y: float, bottom: float, width: float) -> Bar:
    gap = min(2.0, width * 0.2)
    chosen = period.chosen is not None and slot.first <= period.chosen < slot.first + period.slot
    href = "?" + urlencode({**period.query, "hour": slot.first}) + "#stories"
    return Bar(
        x=round(x + gap / 2, 2),
        y=round(y, 1),
        width=round(max(width - gap, 0.8), 2),
        height=round(bottom - y, 1),
        strip_x=round(x, 2),
        strip_width=round(width, 2),
        beyond=slot.beyond,
        chosen=chosen,
        label=describe(slot, period.slot),
        href=href,
    )


def describe(slot: Slot, size: int) -> str:
    """A slot in words."""
    until = moment_of(slot.first + size).strftime("%H:%M UTC")
    said = f"{moment_of(slot.first).strftime('%-d %b %Y %H:%M')} to {until}: {slot.negative} negative"
    said += f" of {slot.articles}" if slot.articles else ""
    if slot.expected is not None and slot.upper is not None:
        said += f"; {slot.expected:.1f} expected, above {slot.upper:.1f} in one case of a hundred"
    return said


def _shade(spike: SpikeEvent, period: Period, x: _Scale) -> Shade | None:
    start = max(spike.opened_at.timestamp() / 3600, period.first)
    end = (spike.closed_at.timestamp() / 3600) if spike.closed_at else period.last + 1
    end = min(max(end, start + 0.25), period.last + 1)
    if start >= end:
        return None
    until = moment(spike.closed_at) if spike.closed_at else "now"
    return Shade(
        x=round(x(start), 1),
        width=round(x(end) - x(start), 1),
        label=f"Spike from {moment(spike.opened_at)} to {until}: {spike.reason}",
        href=spike_path(spike.id),
    )


def _runs(shown: Sequence[Slot]) -> list[list[Slot]]:
    """Neighbouring slots that have an expectation."""
    runs: list[list[Slot]] = [[]]
    for slot in shown:
        if slot.expected is not None:
            runs[-1].append(slot)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _steps(run: Sequence[Slot], values: Sequence[float], x: _Scale, y: _Scale, size: int) -> list[str]:
    points = []
    for slot, value in zip(run, values, strict=True):
        points += [f"{x(slot.first):.1f},{y(value):.1f}", f"{x(slot.first + size):.1f},{y(value):.1f}"]
    return points


def _band(shown: Sequence[Slot], x: _Scale, y: _Scale, size: int) -> str:
    """The path of the area from nothing to the upper edge."""
    parts = []
    for run in _runs(shown):
        edge = _steps(run, [slot.upper or 0.0 for slot in run], x, y, size)
        start, end = f"{x(run[0].first):.1f},{y(0):.1f}", f"{x(run[-1].first + size):.1f},{y(0):.1f}"
        parts.append(f"M{start}L{'L'.join(edge)}L{end}Z")
    return "".join(parts)


def _line(shown: Sequence[Slot], x: _Scale, y: _Scale, size: int) -> str:
    """The path of what is expected."""
    return "".join(
        "M" + "L".join(_steps(run, [slot.expected or 0.0 for slot in run], x, y, size)) for run in _runs(shown)
    )


def _nice(step: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    power = 10.0 ** math.floor(math.log10(max(step, 1.0)))
    return next(power * part for part in (1, 2, 5, 10) if power * part >= step)


def _days(period: Period, x: _Scale, most: float) -> list[Tick]:
    """Ticks of the time axis: midnights with their date, hours between where there is room for ``most`` labels."""
    hours = period.last - period.first + 1
    every = next((size for size in (1, 2, 3, 6, 12, 24, 48, 72, 168) if hours / size <= most), 336)
    ticks = []
    for hour in range(period.first, period.last + 1):
        if hour % every == 0:
            time, midnight = moment_of(hour), hour % 24 == 0
            ticks.append(Tick(round(x(hour), 1), time.strftime("%-d %b" if midnight else "%H:%M"), midnight))
    return ticks


@dataclass(frozen=True, slots=True)
class Spark:
    """A chart of a few millimetres: bars, and the band behind them."""

    bars: list[Bar]
    band: str
    label: str


SPARK_WIDTH, SPARK_HEIGHT = 120, 28


def spark(hours: Sequence[Hour], first: int, last: int) -> Spark:
    """The last hours of a series at a glance."""
    shown = slots(hours, first, last, 1)
    top, width = top_of(shown), SPARK_WIDTH / len(shown)

    def x(hour: float) -> float:
        return (hour - first) * width

    def y(value: float) -> float:
        return SPARK_HEIGHT - (SPARK_HEIGHT - 1) * min(value / top, 1.0)

    period = Period(first, last, "24h")
    bars = [_bar(slot, period, x(slot.first), y(slot.negative), SPARK_HEIGHT, width) for slot in shown if slot.negative]
    most = max(shown, key=lambda slot: slot.negative)
    label = f"Negative articles by hour; most {most.negative} at {moment(moment_of(most.first))}"
    return Spark(bars, _band(shown, x, y, 1), label)


def net_sentiment(counts: Mapping[str, int]) -> float | None:
    """(positive - negative) / relevant articles, -1 to 1; None without any."""
    total = sum(counts.values())
    return (counts["positive"] - counts["negative"]) / total if total else None
