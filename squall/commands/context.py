"""What commands share: the settings of this run and the log that they name."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bus.log import Log
    from squall.settings import Settings


def settings_of(context: typer.Context) -> "Settings":
    """The settings of this run: file, environment and the options before the command."""
    from squall.settings import load

    config, overrides = context.obj
    return load(Path(config) if config else None, **overrides)


def bundle_of(settings: "Settings") -> Path:
    """The folder of the model version that serves. Raises BundleError when the registry cannot be read."""
    from model.registry import served

    return served(settings.path(settings.registry), settings.path(settings.model))


def open_log(settings: "Settings") -> "Log":
    """The log that the settings name, with every topic in place; raises as :func:`log_of`."""
    from bus.topics import news_topics

    log = log_of(settings)
    log.create_topics(news_topics(settings.partitions, settings.retention_days))
    return log


def log_of(settings: "Settings") -> "Log":
    """The log that the settings name, as it is.

    Raises:
        ConfigError: the setting is neither ``sqlite:FILE`` nor ``kafka:HOST:PORT``.
        LogError: the log cannot be opened or reached.
    """
    from bus.open import open_log as opened

    address = f"sqlite:{settings.log_file}" if settings.log_file else settings.log
    return opened(address, settings.kafka_options, settings.kafka_session_seconds, settings.kafka_member)
