"""How the demo stream was made: ``python -m squall.demo.build SENTFIN.csv`` writes stream.jsonl again, the same.

Headlines of SEntFiN 1.0 (Sinha et al. 2022, MIT) get times over three days that follow a working day, and sources that
do not exist. Negative headlines are dealt out evenly, so that nothing surges but the one subject chosen for it.
"""

import ast
import csv
import json
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

from squall.demo import DAYS, START, STREAM, SURGE, SURGE_LENGTH

SOURCES = ("demo-wire", "demo-herald", "demo-ledger", "demo-bulletin", "demo-courier", "demo-gazette", "demo-tribune")
SUBJECT = "DLF"
HEADLINES = 2_000
SEED = 20_240_109

SURGING = (
    "DLF shares tumble 28% to 7-year low on Sebi ban",
    "DLF IPO disclosure case: Sebi imposes Rs 85-crore penalties",
    "Promoters take biggest hit of Rs 5,500 crore in DLF share plunge",
    "DLF seeks interim relief from capital market ban; stock in red",
    "Things appear bleak for DLF at present: Ambareesh Baliga, Market Experta",
    "DLF falls 5%; BSE removes stock from Group A category",
    "DLF ratings likely to fall post ban, ratings firms to take a call",
    "DLF's ratings likely to fall post ban, ratings firms to take a call",
    "After DLF exit, Nifty may have to do without realty sector",
    "DLF Ltd slips as High Court cancels 300-acre land allotment",
    "DLF: Reviewing $8.4 million penalty slapped by SEBI",
    "Can't pay Rs 580 crore due to financial crunch: DLF to Supreme Court",
    "DLF approaches SAT against Sebi order",
    "DLF balance sheet does not give a very encouraging picture: Mayuresh Joshi",
    "Avoid buying JSPL and DLF due to uncertainity: Mehraboon Irani, Nirmal Bang Securities",
    "Disappointing Q4 show pulls DLF down to 2-year low",
)
"""Headlines of SEntFiN about one subject, in the order in which they are told."""

BUSY = (6, 6, 6, 6, 6, 6, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7, 6, 6, 6, 6)
"""Articles by hour of the day, as weights: flatter than real ones, so that no morning looks like a surge."""


def headlines(file: Path) -> tuple[list[str], list[str]]:
    """The negative and the other headlines of SEntFiN, shuffled, each once, without the surge's subject."""
    negative: list[str] = []
    others: list[str] = []
    seen: set[str] = set()
    with file.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            title = " ".join(row["Title"].split())
            try:
                tones = set(ast.literal_eval(row["Decisions"]).values())
            except (ValueError, SyntaxError):
                continue
            if title.lower() in seen or SUBJECT.lower() in title.lower():
                continue
            seen.add(title.lower())
            (negative if tones == {"negative"} else others).append(title)
    chance = random.Random(SEED)
    chance.shuffle(negative)
    chance.shuffle(others)
    return negative, others


def spread(count: int, chance: random.Random) -> list[datetime]:
    """So many times over the days, as evenly as a working day allows: equal steps of cumulated weights, jittered."""
    hours = [START + timedelta(hours=hour) for hour in range(24 * DAYS)]
    weights = [BUSY[hour.hour] for hour in hours]
    total, times = sum(weights), []
    for i in range(count):
        left = (i + chance.random()) * total / count
        hour = 0
        while left >= weights[hour]:
            left -= weights[hour]
            hour += 1
        times.append(hours[hour] + timedelta(hours=left / weights[hour]))
    return times


def build(file: Path) -> list[dict[str, str]]:
    """The stream's articles in order of time."""
    chance = random.Random(SEED)
    negative, others = headlines(file)
    quiet = HEADLINES - len(SURGING)
    bad = quiet // 4
    told = list(zip(spread(bad, chance), negative, strict=False))
    told += zip(spread(quiet - bad, chance), others, strict=False)
    step = SURGE_LENGTH / len(SURGING)
    told += [(SURGE + i * step, title) for i, title in enumerate(SURGING)]
    articles = []
    for number, (time, title) in enumerate(sorted(told)):
        source = SOURCES[number % len(SOURCES)]
        articles.append(
            {
                "source": source,
                "title": title,
                "url": f"https://{source}.example/news/{number}",
                "published_at": f"{time:%Y-%m-%dT%H:%M:%SZ}",
                "language": "en",
            }
        )
    return articles


if __name__ == "__main__":
    lines = [json.dumps(article, ensure_ascii=False) + "\n" for article in build(Path(sys.argv[1]))]
    STREAM.write_text("".join(lines), encoding="utf-8")
