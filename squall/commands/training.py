"""What the commands share that train, measure or look at data."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from squall.settings import Settings

DataOption = Annotated[Path | None, typer.Option(help="Folder of the data sets; default: the setting data.")]


def data_root(settings: "Settings", option: Path | None) -> Path:
    """The folder of the data sets.

    Raises:
        ConfigError: neither option nor setting names one.
    """
    from bus.errors import ConfigError

    if option is not None:
        return option
    if settings.data is None:
        raise ConfigError(
            "data: no folder of data sets given; set --data DIR or SQUALL_DATA; docs/model.md says where they come from"
        )
    return settings.path(settings.data)


@contextmanager
def needs_training() -> Iterator[None]:
    """Turn a missing package of the ``train`` extra into an error that says so."""
    from bus.errors import ConfigError

    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}; training and evaluation need it: pip install 'squall[train]'") from error


def progress(line: str) -> None:
    """Write a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)
