"""Open the log that an address names."""

from pathlib import Path
from typing import Any

from bus.errors import ConfigError
from bus.log import Log


def open_log(
    address: str, kafka_options: dict[str, Any] | None = None, session_seconds: float = 10.0, member: str = ""
) -> Log:
    """The log at ``sqlite:FILE`` or ``kafka:HOST:PORT[,HOST:PORT...]``; the other arguments are Kafka's.

    Raises:
        ConfigError: any other address.
        LogError: the log cannot be opened or reached.
    """
    kind, _, rest = address.partition(":")
    if kind == "sqlite" and rest:
        from bus.embedded import EmbeddedLog

        return EmbeddedLog(Path(rest))
    if kind == "kafka" and rest:
        from bus.kafka import KafkaLog

        return KafkaLog(rest.split(","), kafka_options or {}, session_seconds, member=member)
    raise ConfigError(f"log: expected sqlite:FILE or kafka:HOST:PORT[,HOST:PORT...], got {address!r}")
