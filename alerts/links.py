"""Links into the page and into Grafana: a series at a time range, a spike."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

DASHBOARD = "squall"
"""The fixed uid of Squall's Grafana dashboard."""

BEFORE = timedelta(hours=24)
AFTER = timedelta(hours=3)
"""What a link to a spike shows around it: enough calm before it to see that it is none."""


def is_web(url: str) -> bool:
    """Whether a URL may become a link: absolute, http or https, and printable."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        return False


def series_path(
    series: str, start: datetime | None = None, end: datetime | None = None, hour: int | None = None
) -> str:
    """The page's path for a series, at a time range and with one hour's stories open."""
    times = {"from": start and stamp(start), "to": end and stamp(end), "hour": None if hour is None else str(hour)}
    query = urlencode({name: value for name, value in times.items() if value is not None})
    return f"/series/{quote(series, safe=':')}" + (f"?{query}" if query else "")


def spike_path(spike: str) -> str:
    """The page's path for a spike."""
    return f"/spikes/{quote(spike, safe=':@')}"


def stamp(moment: datetime) -> str:
    """A time as the page's addresses and forms have it: UTC to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


@dataclass(frozen=True, slots=True)
class Links:
    """Where people reach the page, and Grafana where there is one; without a slash at the end."""

    page: str
    grafana: str = ""

    def spike(self, spike: str) -> str:
        return self.page.rstrip("/") + spike_path(spike)

    def series(self, series: str, start: datetime, end: datetime) -> str:
        return self.page.rstrip("/") + series_path(series, start - BEFORE, end + AFTER)

    def dashboard(self, series: str, start: datetime, end: datetime) -> str:
        """The dashboard at a series and time range; empty where there is no Grafana."""
        if not self.grafana:
            return ""
        first, last = (round(moment.timestamp() * 1000) for moment in (start - BEFORE, end + AFTER))
        query = urlencode({"var-series": series, "from": first, "to": last})
        return f"{self.grafana.rstrip('/')}/d/{DASHBOARD}?{query}"
