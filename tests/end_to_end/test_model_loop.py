"""The whole life of a model, small: fine-tuned, exported, measured, promoted under a running worker, rolled back."""

import json
from pathlib import Path

import httpx
import pytest

from bus.embedded import EmbeddedLog
from bus.messages import ScoredArticle, decode
from bus.topics import SCORED, news_topics
from model.training.config import Config
from tests.end_to_end.house import House
from tests.model.conftest import data, encoder, recipe, training  # noqa: F401 - fixtures
from tests.services.ports import wait_until

HEADLINES = ["oil falls sharply", "euro gains again", "senate meets early", "gas wins twice", "minister cuts late"]


def test_a_model_is_made_measured_promoted_and_rolled_back_while_articles_flow(
    recipe: Config,  # noqa: F811
    data: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for each other's tiny tensors take most of the time
    own = {"registry": "models", "model": tmp_path / "one", "shadow": tmp_path / "two", "shadow_share": 1.0}
    with House(tmp_path, **own) as house, EmbeddedLog(tmp_path / "log.db") as log:
        log.create_topics(news_topics())
        for name, seed in (("one", 7), ("two", 8)):
            file = tmp_path / f"{name}.toml"
            file.write_text(as_toml(recipe, seed))
            house.run(*f"model finetune --data {data} --config {file} --out {tmp_path / name}".split())
        versions = [json.loads((tmp_path / name / "manifest.json").read_text())["version"] for name in ("one", "two")]
        house.run(
            *f"model evaluate --data {data} --model {tmp_path / 'two'} --json {tmp_path / 'figures.json'}".split()
        )
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert figures["version"] == versions[1]
        assert figures["sets"]["news"]["topic"]["accuracy"] > 0.9

        house.start("worker")
        house.run("model", "promote", str(tmp_path / "one"))
        assert stamps(house, log, switches=0) == {versions[0]}
        house.run("model", "promote", str(tmp_path / "two"), "--force")
        assert stamps(house, log, switches=1) == {versions[1]}
        house.run("model", "rollback")
        assert stamps(house, log, switches=2) == {versions[0]}
        wait_until(lambda: shadowed(house, versions[1]) >= len(HEADLINES), 30, "the second model's verdicts")
        tones = {each.article.title: each.sentiment.label for each in scored(log) if each.sentiment}
        assert tones["oil falls sharply"] == "negative"
        assert tones["euro gains again"] == "positive"


def stamps(house: House, log: EmbeddedLog, switches: int) -> set[str]:
    """The versions that judge five new articles, once the worker has exchanged its model so many times."""
    wait_until(lambda: house.said("worker").count("is in service") == switches, 30, "the exchange")
    before = len(scored(log))
    stream = house.folder / f"stream-{switches}.jsonl"
    stream.write_text("".join(line(headline, switches) for headline in HEADLINES))
    house.run("replay", str(stream))
    wait_until(lambda: len(scored(log)) == before + len(HEADLINES), 30, "the articles")
    return {each.model_version for each in scored(log)[before:]}


def shadowed(house: House, version: str) -> float:
    """Articles that the second model judged too."""
    text = httpx.get(f"http://127.0.0.1:{house.metrics_port + 2}/metrics", timeout=5).text
    name = f'squall_shadow_compared_total{{version="{version}"}}'
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def scored(log: EmbeddedLog) -> list[ScoredArticle]:
    return [decode(entry.value, ScoredArticle) for entry in sorted(log.read_all(SCORED), key=lambda e: e.timestamp)]


def as_toml(recipe: Config, seed: int) -> str:  # noqa: F811
    own = {"encoder": recipe.encoder, "encoder_licence": recipe.encoder_licence, "seed": seed}
    own |= {name: getattr(recipe, name) for name in ("epochs", "batch_size", "learning_rate", "max_tokens", "dropout")}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in own.items())


def line(headline: str, number: int) -> str:
    article = {"title": headline, "source": "wire", "url": f"https://example.com/{headline.replace(' ', '-')}/{number}"}
    return json.dumps(article | {"published_at": f"2023-02-0{1 + number}T10:00:00Z", "language": "en"}) + "\n"
