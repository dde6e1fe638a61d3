"""The network: a BERT-family encoder, the mean of its token vectors, one linear head per kind of label."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

from bus.errors import ConfigError
from model.classifier import Scores
from model.labels import HEADS
from model.training.encoders import encoder_folder

HEADS_FILE = "heads.safetensors"

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")
"""BERT's two, and DistilBERT's."""

BATCH = 64
"""Texts of a forward pass without gradients."""


class Network(nn.Module):
    """Encoder and heads; ``forward`` gives the logits of every head and the embedding.

    The attention is the eager one: the ONNX optimizer recognises its subgraph and fuses it.
    """

    def __init__(self, encoder: nn.Module, heads: Mapping[str, int], dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.segments = "token_type_ids" in signature(encoder.forward).parameters  # DistilBERT knows none
        self.dropout = nn.Dropout(dropout)
        width = int(encoder.config.hidden_size)  # type: ignore[arg-type, union-attr]
        self.heads = nn.ModuleDict({name: nn.Linear(width, labels) for name, labels in heads.items()})

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Logits in the order of the heads, each (texts, labels); last the embedding (texts, width), of length 1."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.segments:
            inputs["token_type_ids"] = token_type_ids
        tokens = self.encoder(**inputs).last_hidden_state.float()
        mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
        pooled = (tokens * mask).sum(1) / mask.sum(1)
        logits = [head(self.dropout(pooled)) for head in self.heads.values()]
        return (*logits, nn.functional.normalize(pooled, dim=-1))

    def save(self, folder: Path) -> None:
        """Write the encoder as a Hugging Face folder, the heads beside it."""
        self.encoder.save_pretrained(folder)  # type: ignore[operator]
        save_file({name: value.contiguous() for name, value in self.heads.state_dict().items()}, folder / HEADS_FILE)


def pretrained(name: str, dropout: float = 0.0, encoder_dropout: float = 0.0) -> tuple[Network, Any]:
    """An encoder with fresh heads, and its tokenizer.

    Args:
        dropout: before the heads.
        encoder_dropout: of the encoder's attention and hidden vectors; takes effect in training only.

    Raises:
        ConfigError: no such encoder, or not one that transformers can read.
    """
    folder = encoder_folder(name)
    # Weights of a pooler that nothing uses are "missing": no news.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(folder)
        for each in DROPOUTS:
            if hasattr(config, each):
                setattr(config, each, encoder_dropout)
        encoder = AutoModel.from_pretrained(folder, config=config, attn_implementation="eager", dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"encoder {name}: {first}; give minilm-l6 or a folder with a BERT-family model") from error
    return Network(encoder, {head: len(labels) for head, labels in HEADS.items()}, dropout), tokenizer


def load(folder: Path) -> tuple[Network, Any]:
    """A network that :meth:`Network.save` wrote, and its tokenizer.

    Raises:
        ConfigError: the folder does not hold one.
    """
    if not (folder / HEADS_FILE).is_file():
        raise ConfigError(f"{folder / HEADS_FILE}: no such file; 'squall model finetune' writes it with the weights")
    network, tokenizer = pretrained(str(folder))
    network.heads.load_state_dict(load_file(folder / HEADS_FILE))
    return network.eval(), tokenizer


def average(folders: Sequence[Path], folder: Path) -> None:
    """Write the network whose weights are the mean of several networks' weights; their encoder is the same one."""
    network, tokenizer = load(folders[0])
    states = [load(each)[0].state_dict() for each in folders]
    mean = {name: torch.stack([state[name].float() for state in states]).mean(0) for name in states[0]}
    network.load_state_dict(mean)
    network.save(folder)
    tokenizer.save_pretrained(folder)


def scores_of(
    network: Network,
    tokenizer: Any,
    texts: Sequence[str],
    max_tokens: int,
    *,
    bf16: bool = False,
    done: Callable[[int], None] = lambda count: None,
) -> Scores:
    """What a network puts out for texts, in their order, computed on the device that it is on.

    Args:
        bf16: compute in bfloat16, where the last digit does not matter.
        done: called with the number of texts that are done, batch by batch.
    """
    device = next(network.parameters()).device
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    outputs = []
    for start in range(0, len(texts), BATCH):
        part = [texts[index] for index in order[start : start + BATCH]]
        encoded = tokenizer(part, truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
        ids, mask = encoded["input_ids"].to(device), encoded["attention_mask"].to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            outputs.append([each.float().cpu().numpy() for each in network(ids, mask, torch.zeros_like(ids))])
        done(start + len(part))
    back = np.argsort(order)
    *logits, embedding = [np.concatenate(column)[back] for column in zip(*outputs, strict=True)]
    return Scores(dict(zip(HEADS, logits, strict=True)), embedding)
