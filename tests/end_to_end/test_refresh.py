"""A model is exchanged under a running worker."""

import json
from collections import Counter
from pathlib import Path

import httpx

from bus.embedded import EmbeddedLog
from bus.messages import ScoredArticle, decode
from bus.topics import ARTICLES, SCORED, news_topics
from squall.demo import STREAM
from tests.end_to_end.house import House
from tests.model.conftest import SHIPPED
from tests.model.versions import variant
from tests.services.ports import wait_until

ARTICLES_IN_ALL = 8_000


def test_a_promotion_during_a_replay_loses_no_article_and_stamps_each_with_one_version(tmp_path: Path) -> None:
    made = variant(SHIPPED, tmp_path / "new", 1.07)
    stream = tmp_path / "stream.jsonl"
    rows = [json.loads(line) for line in STREAM.read_text().splitlines()]
    copies = (rows[i % len(rows)] | {"url": f"https://demo.example/{i}"} for i in range(ARTICLES_IN_ALL))
    stream.write_text("".join(json.dumps(row) + "\n" for row in copies))
    with House(tmp_path, registry="models", worker_batch=128) as house, EmbeddedLog(tmp_path / "log.db") as log:
        log.create_topics(news_topics())
        house.start("worker")
        house.start("replay", str(stream))
        wait_until(lambda: sum(log.ends(SCORED)) > 500, 60, "the first articles")
        house.run("model", "promote", str(tmp_path / "new"), "--force")
        wait_until(lambda: metric(house, "squall_model_switches_total") == 1, 30, "the worker to take the new version")
        wait_until(
            lambda: sum(log.ends(ARTICLES)) >= ARTICLES_IN_ALL and not log.lag("worker", ARTICLES), 120, "the rest"
        )
        scored = [decode(entry.value, ScoredArticle) for entry in log.read_all(SCORED)]
        assert len(scored) == len({each.article.id for each in scored}) == ARTICLES_IN_ALL
        by_version = Counter(each.model_version for each in scored)
        assert set(by_version) == {made.version, json.loads((SHIPPED / "manifest.json").read_text())["version"]}
        assert min(by_version.values()) > 100


def metric(house: House, name: str) -> float:
    try:
        text = httpx.get(f"http://127.0.0.1:{house.metrics_port + 2}/metrics", timeout=5).text
    except httpx.HTTPError:
        return 0.0
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} "))
