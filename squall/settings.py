"""Every setting of Squall, from ``squall.toml``, then the environment (``SQUALL_*``), then options; the last one wins.

docs/settings.md lists them for users, and tests/squall/test_settings.py fails when one is missing there.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bus.errors import ConfigError

CONFIG_FILE = "squall.toml"
BUNDLED_MODEL = Path(__file__).parent.parent / "model" / "bundle"
METRICS_OFFSET = {"ingest": 1, "worker": 2, "trends": 3, "archive": 4}
"""Added to ``metrics_port`` for each role; the alerts role serves /metrics on the page's port."""


class Settings(BaseSettings):
    """The settings of one installation; relative paths are resolved against the folder of ``squall.toml``."""

    model_config = SettingsConfigDict(
        env_prefix="SQUALL_", env_ignore_empty=True, extra="forbid", protected_namespaces=()
    )

    home: Path = Field(Path(), description="Folder that relative paths start from; the folder of squall.toml.")

    log: str = Field(
        "sqlite:var/log.db", description="The log: sqlite:FILE (one machine) or kafka:HOST:PORT[,HOST:PORT...]."
    )
    kafka_options: dict[str, Any] = Field(
        {}, description="Passed to kafka-python as they are: TLS, SASL, client names."
    )
    kafka_session_seconds: float = Field(
        10.0,
        ge=6,
        description="Silence after which a Kafka consumer's partitions go to others.",
    )
    kafka_member: str = Field(
        "", description="Name that this process keeps over restarts, so that they move no partitions; empty: none."
    )
    partitions: int = Field(4, ge=1, le=1024, description="Partitions of each news topic, when Squall creates it.")
    retention_days: float = Field(
        7.0, gt=0, description="Days that the log keeps articles, scores and tallies (Kafka: of new topics)."
    )

    sources: Path = Field(Path("sources.yml"), description="The sources to crawl.")
    watchlist: Path = Field(Path("watchlist.yml"), description="Companies and people to watch.")
    user_agent: str = Field("Squall/0.1", description="What the crawler calls itself.")
    max_body_mb: float = Field(10.0, gt=0, description="Largest response, decompressed, that the crawler takes, in MB.")
    push_host: str = Field("127.0.0.1", description="Address of the HTTP push endpoint.")
    push_port: int = Field(8081, ge=0, le=65535, description="Port of the HTTP push endpoint.")
    push_tokens: Annotated[list[SecretStr], NoDecode] = Field(
        [], description="Bearer tokens that may push, separated by commas in the environment; without any, push is off."
    )
    spool: Path = Field(
        Path("var/spool"), description="Folder of what waits while the log takes nothing; each ingest its own."
    )
    spool_mb: float = Field(
        200.0, ge=0, description="Most that waits there, in MB; beyond it the crawler waits too. 0: nothing is kept."
    )

    model: Path = Field(BUNDLED_MODEL, description="Folder of the model bundle; the default is the one that ships.")
    registry: Path = Field(
        Path("var/models"), description="Folder of promoted models; a live one among them serves in place of model."
    )
    shadow: str = Field(
        "", description="A second model to compare with: a version of the registry, or the folder of a bundle."
    )
    shadow_share: float = Field(0.1, gt=0, le=1, description="Share of the articles that the second model judges too.")
    model_device: Literal["cpu", "cuda"] = Field("cpu", description="Where the model runs; cuda needs squall[gpu].")
    model_threads: int = Field(0, ge=0, description="Threads of the model on the CPU; 0 takes the process's cores.")
    worker_batch: int = Field(
        2048, ge=1, le=10_000, description="Most articles that a worker scores in one transaction."
    )

    sensitivity: Literal["fewer", "balanced", "more"] = Field("balanced", description="How easily a spike opens.")
    horizons_minutes: Annotated[list[int], NoDecode] = Field(
        [60, 360],
        min_length=1,
        max_length=8,
        description="Windows in which negative articles are counted: minutes, multiples of 5 up to a week.",
    )
    lateness_minutes: int = Field(
        15, ge=0, description="How late an article may come, in event time, and still count towards spikes."
    )

    archive: str = Field("sqlite:///var/archive.db", description="SQLAlchemy URL of the archive.")
    archive_days: float = Field(90.0, gt=0, description="Days that the archive keeps articles.")

    alert_source: Literal["log", "alertmanager"] = Field(
        "log", description="Where spikes to deliver come from: news.spikes itself, or Alertmanager's webhook."
    )
    slack_webhook_url: SecretStr | None = Field(
        None, description="Slack incoming webhook; without it alerts are only shown."
    )
    outbox: Path = Field(Path("var/outbox.db"), description="SQLite file of alerts that wait for Slack.")
    page_host: str = Field("127.0.0.1", description="Address of the page, the webhook gateway and their metrics.")
    page_port: int = Field(8080, ge=0, le=65535, description="Port of the page, the webhook gateway and their metrics.")
    page_url: str = Field("", description="How people reach the page, for links; empty: http://page_host:page_port.")
    grafana_url: str = Field("", description="How people reach Grafana, for links and for 'squall dashboards push'.")
    grafana_token: SecretStr | None = Field(
        None, description="Grafana service-account token for 'squall dashboards push'."
    )

    metrics_host: str = Field("127.0.0.1", description="Address of the roles' /metrics and /healthz.")
    metrics_port: int = Field(
        9100, ge=0, le=65000, description="Base port: ingest +1, worker +2, trends +3, archive +4; 0 turns it off."
    )
    data: Path | None = Field(None, description="Folder of the public data sets, for training and benchmarks.")

    @field_validator("push_tokens", "horizons_minutes", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("horizons_minutes")
    @classmethod
    def _whole_slots(cls, value: list[int]) -> list[int]:
        for minutes in value:
            if not 5 <= minutes <= 7 * 1440 or minutes % 5:
                raise ValueError(f"{minutes}: expected multiples of 5 from 5 to {7 * 1440}")
        return sorted(set(value))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The file that these settings were read from; None when there was none."""
        return self._file

    def path(self, path: Path) -> Path:
        """A path of the settings, made absolute."""
        return path if path.is_absolute() else (self.home / path).absolute()

    @property
    def log_file(self) -> Path | None:
        """The file of the embedded log; None where the log is another."""
        return self.path(Path(self.log.removeprefix("sqlite:"))) if self.log.startswith("sqlite:") else None

    @property
    def archive_file(self) -> Path | None:
        """The file of an archive on SQLite; None where it is on a server."""
        prefix = "sqlite:///"
        return self.path(Path(self.archive.removeprefix(prefix))) if self.archive.startswith(prefix) else None

    @property
    def archive_url(self) -> str:
        """The archive's SQLAlchemy URL, a SQLite file's path made absolute."""
        return f"sqlite:///{self.archive_file}" if self.archive_file else self.archive

    @property
    def page_link(self) -> str:
        """How people reach the page, without a slash at the end."""
        host = f"[{self.page_host}]" if ":" in self.page_host else self.page_host
        return (self.page_url or f"http://{host}:{self.page_port}").rstrip("/")


SECRET = {"kafka_options", "archive", "slack_webhook_url", "grafana_token", "push_tokens"}
"""Settings whose values no error shows; neither does one show that of a name it does not know, a misspelled secret."""


def load(config: Path | None = None, **options: Any) -> Settings:
    """The settings from a file (``squall.toml`` of the current folder when None), the environment and options.

    Raises:
        ConfigError: the file is missing though named, is not TOML, or a value is not what it must be.
    """
    if config is not None and not config.is_file():
        raise ConfigError(f"{config}: no such file; 'squall init DIR' writes a new one")
    file = config or Path(CONFIG_FILE)

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        loaded = FromFile(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        shown = repr(first["input"]) if name in Settings.model_fields and name not in SECRET else "(hidden)"
        where = f"{file}, SQUALL_{name.upper()} or option {name}"
        raise ConfigError(f"{where}: {first['msg']}, got {shown}; docs/settings.md lists the settings") from error
    except ValueError as error:  # tomllib.TOMLDecodeError
        raise ConfigError(f"{file}: not TOML: {error}") from error
    if loaded.home == Path():
        loaded.home = file.parent
    loaded._file = file if file.is_file() else None
    return loaded
