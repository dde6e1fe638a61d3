"""The bundled stream of ``squall up --demo``: real headlines, made-up times and sources (see README.md beside this)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

FOLDER = Path(__file__).parent
STREAM = FOLDER / "stream.jsonl"
WATCHLIST = FOLDER / "watchlist.yml"

START = datetime(2024, 1, 9, 0, 0, tzinfo=UTC)
"""Event time at which the stream begins; a Tuesday."""

DAYS = 3

SURGE = START + timedelta(days=2, hours=14)
"""Event time at which the bad news about DLF begins."""

SURGE_LENGTH = timedelta(minutes=90)

PACED_FROM = SURGE - timedelta(minutes=9)
"""What lies before is history and replayed flat out; from here on a person can follow."""

SPEED = 180.0
"""Event time against wall time from there on: three minutes a second, so that the surge takes half a minute."""
