"""Running the crawler in a process of its own, and reading what it did."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.crawler.spider import Look
from tests.ingest.conftest import FEEDS

PUBLIC = "127.0.0.2"
"""A loopback address that the child takes for a public one, so that a test can stand on both sides of the fence."""


RSS = (FEEDS / "rss.xml").read_bytes()


def feed(*links: str) -> bytes:
    """A feed with an item for each link, titled by it."""
    items = "".join(f"<item><title>About {link}</title><link>{link}</link></item>" for link in links)
    return f"<rss version='2.0'><channel><title>t</title>{items}</channel></rss>".encode()


def source(name: str, url: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "url": url, "allow_private": True, **fields}


@dataclass
class Crawl:
    """What a crawl did."""

    status: int
    """Exit status of the process."""
    looks: list[tuple[str, Look]]
    samples: dict[str, float]
    """Metrics, as ``name{label values}``."""
    stop_seconds: float
    """From the stop event to the end."""
    megabytes: float
    """Resident memory at the end."""
    modules: list[str]
    """Which heavy modules were imported."""
    warnings: list[str]
    """What the ingest room logged as a warning or worse."""
    in_reactor: list[str]
    """Which of the steps that may take long ran in the reactor's thread, where all other sources wait for them."""

    def of(self, name: str) -> list[Look]:
        """The looks at one source, in order."""
        return [look for source, look in self.looks if source == name]


def run_crawl(
    log: Path,
    sources: list[dict[str, Any]],
    *,
    seconds: float = 0.0,
    crash: bool = False,
    full: int = 0,
    max_body: int = 1 << 20,
    names: dict[str, list[str]] | None = None,
) -> Crawl:
    """Crawl in a child process.

    Args:
        log: file of the embedded log.
        sources: the fields of each ingest.sources.Source.
        seconds: when to stop; 0 looks at each source once.
        crash: die at the first publish.
        full: how many publishes fail, as on a full disk, before one succeeds.
        max_body: largest response, in bytes.
        names: what names resolve to, one address after the other.
    """
    task = {
        "log": str(log),
        "sources": sources,
        "seconds": seconds,
        "crash": crash,
        "full": full,
        "max_body": max_body,
        "names": names or {},
        "public": [PUBLIC],
    }
    child = subprocess.run(
        [sys.executable, "-m", "tests.ingest.crawl_child"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    if crash:
        return Crawl(child.returncode, [], {}, 0.0, 0.0, [], [], [])
    assert child.returncode == 0, child.stderr
    answer = json.loads(child.stdout)
    looks = [(name, Look(*fields)) for name, *fields in answer.pop("looks")]
    return Crawl(0, looks, **answer)
