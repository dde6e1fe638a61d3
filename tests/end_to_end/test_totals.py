"""After a replay the page and /metrics say what counting the file says."""

from collections import Counter
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.house import House
from tests.end_to_end.streams import february, rows
from tests.end_to_end.test_slack import stored
from tests.services.ports import wait_until


def test_page_and_metrics_agree_with_counting_the_file(tmp_path: Path) -> None:
    file = february()
    counted = Counter(row["source"] for row in rows(file))
    total = sum(counted.values())
    with House(tmp_path, sources="none.yml") as house:
        house.start("up")
        page = f"http://127.0.0.1:{house.page_port}"
        wait_until(lambda: stored(page) == 0, 60, "the page to answer")
        house.run("replay", str(file))
        wait_until(lambda: stored(page) >= total, 120, "every article to be stored")
        totals = httpx.get(f"{page}/api/totals", timeout=5).json()
        assert totals["articles"] == total
        wait_until(lambda: sum(by_source(house).values()) >= total, 30, "every article to be in the trends")
        assert by_source(house) == counted
        by_outcome = metric(house, "trends", "squall_articles_total", "sentiment")
        assert {outcome: by_outcome[outcome] for outcome in by_outcome} == {
            outcome: totals[outcome] for outcome in by_outcome
        }
        assert sum(metric(house, "worker", "squall_scored_total", "outcome").values()) == total
        front = httpx.get(f"{page}/", timeout=10).text
        assert f"{total:,}" in front or str(total) in front


def by_source(house: House) -> Counter[str]:
    return metric(house, "trends", "squall_articles_total", "source")


def metric(house: House, role: str, name: str, label: str) -> Counter[str]:
    """A counter's samples added up by one label, as a scrape sees them; zeros left out."""
    port = house.metrics_port + {"worker": 2, "trends": 3}[role]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.value:
                found[sample.labels[label]] += int(sample.value)
    return found
