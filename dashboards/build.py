"""Build the dashboards' JSON, and say whether the committed JSON is still what the code builds.

Building needs grafana-foundation-sdk (``squall[dashboards]``); reading the committed files does not.
"""

from pathlib import Path

from bus.errors import ConfigError
from dashboards.names import PAGE, UID

JSON_FOLDER = Path(__file__).parent / "json"
"""The committed dashboards: what Grafana's provisioning mounts and ``squall dashboards push`` sends."""


def build() -> dict[str, str]:
    """The dashboards as JSON texts by file name; the same for the same code and SDK.

    Raises:
        ConfigError: grafana-foundation-sdk is not installed.
    """
    import json

    try:
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
    except ImportError as error:
        raise ConfigError(
            "building dashboards needs grafana-foundation-sdk: pip install 'squall[dashboards]'"
        ) from error
    from dashboards.board import board

    text = json.dumps(board(PAGE).build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False)
    return {f"{UID}.json": text + "\n"}


def write(folder: Path = JSON_FOLDER) -> list[Path]:
    """Write the dashboards into a folder; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in build().items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def stale(folder: Path = JSON_FOLDER) -> list[Path]:
    """The files of a folder that are missing, differ from what the code builds, or that it no longer builds."""
    built = build()
    wrong = [folder / name for name, text in built.items() if _read(folder / name) != text]
    return wrong + [path for path in sorted(folder.glob("*.json")) if path.name not in built]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
