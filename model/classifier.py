"""The model at work: texts in, judgements out, with onnxruntime, tokenizers and numpy alone."""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bus.errors import BundleError
from bus.messages import Judgement
from model.batches import by_token_budget
from model.bundle import ONNX, TOKENIZER, Manifest, verify
from model.drift import CONFIDENCE_BINS
from model.labels import HEADS

Floats = NDArray[np.float32]

TOKEN_BUDGET = {"cpu": 256, "cuda": 16_384}
"""Tokens of a batch, padding included. On a CPU each core works on a batch of its own, whose activations stay in the
core's cache: a third quicker than all cores on one larger batch, and no core waits for another. 16,384 is what
text-embeddings-inference takes for a GPU."""
CHARACTERS_PER_TOKEN = 32
"""Texts are cut to this many characters per token before they are tokenized; English has about 5."""
DECIMALS = 4
"""Of the probabilities: more is noise in an int8 model, and a third of a scored article's bytes."""
CPU_UNFUSED = ["SkipLayerNormFusion", "BiasGeluFusion"]
"""What ONNX Runtime must not fuse again on a CPU (:func:`model.training.export.unfuse_for_cpu` says why)."""
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Verdict(NamedTuple):
    """What the model says of one text."""

    sentiment: Judgement
    topic: Judgement
    relevance: Judgement
    embedding: Floats
    """Of length 1: the dot product of two is their similarity."""


class Scores(NamedTuple):
    """What the network puts out for many texts, before temperatures."""

    logits: dict[str, Floats]
    """By head: (texts, labels)."""
    embedding: Floats
    """(texts, width)."""


class Classifier:
    """A bundle, loaded and ready; use one from one thread."""

    def __init__(
        self,
        manifest: Manifest,
        session: onnxruntime.InferenceSession,
        tokenizer: Tokenizer,
        budget: int = TOKEN_BUDGET["cpu"],
        threads: int = 1,
    ) -> None:
        self.manifest = manifest
        self.version = manifest.version
        self.languages = frozenset(manifest.languages)
        self.topics = tuple(manifest.labels["topic"])
        self.reference = manifest.reference
        self._session = session
        self._tokenizer = tokenizer
        self._budget = budget
        self._pool = ThreadPoolExecutor(threads, "classifier")
        self._inputs = {each.name for each in session.get_inputs()}  # DistilBERT takes no token types
        self._outputs = [*HEADS, "embedding"]
        self._on_gpu = session.get_providers()[0] == PROVIDERS["cuda"]
        self.tokens = 0
        """Tokens read so far, for the metrics of whoever feeds it."""

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int = 0, file: str = "") -> Self:
        """Load a bundle after checking every file against its manifest.

        Args:
            device: "cpu", or "cuda" for the GPU.
            threads: batches at a time on the CPU; 0 takes all cores that this process may use.
            file: of the bundle, to run another one than the device's own.

        Raises:
            BundleError: the bundle is missing, damaged or made for another device; the GPU cannot be used.
        """
        manifest = verify(folder)
        if set(manifest.labels) != set(HEADS) or set(manifest.temperatures) != set(HEADS):
            raise BundleError(f"{folder}: heads {sorted(manifest.labels)}, expected {sorted(HEADS)}: upgrade Squall")
        for head, reference in manifest.reference.items():
            counted = (len(reference.labels), len(reference.confidence))
            if counted != (len(manifest.labels.get(head, ())), CONFIDENCE_BINS):
                raise BundleError(f"{folder}: manifest.json: the reference of {head} does not fit its labels")
        model = file or ONNX[device]
        if model not in manifest.files:
            raise BundleError(
                f"{folder}: holds no {model}, which device {device} needs; 'squall model finetune --fp16' writes both"
            )
        session = _session(folder / model, device)
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.enable_truncation(manifest.max_tokens)
        parallel = (threads or usable_cores()) if device == "cpu" else 1
        return cls(manifest, session, tokenizer, TOKEN_BUDGET[device], parallel)

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """The verdict on each text, in their order; texts come from :func:`model.text.article_text`."""
        if not texts:
            return []
        scores = self.scores(texts)
        heads = [
            _judgements(scores.logits[head], self.manifest.temperatures[head], self.manifest.labels[head])
            for head in HEADS
        ]
        return [Verdict(*row) for row in zip(*heads, scores.embedding, strict=True)]

    def scores(self, texts: Sequence[str]) -> Scores:
        """Logits and embedding of each text (at least one), in their order."""
        longest = self.manifest.max_tokens * CHARACTERS_PER_TOKEN
        encoded = self._tokenizer.encode_batch_fast([_encodable(text[:longest]) for text in texts])
        ids = [encoding.ids for encoding in encoded]
        lengths = [len(row) for row in ids]
        self.tokens += sum(lengths)
        groups = by_token_budget(lengths, self._budget)
        results = self._pool.map(lambda group: self._run([ids[index] for index in group]), groups)
        order = np.argsort([index for group in groups for index in group])
        *logits, embedding = [np.concatenate(parts)[order] for parts in zip(*results, strict=True)]
        return Scores(dict(zip(HEADS, logits, strict=True)), embedding)

    def _run(self, rows: list[list[int]]) -> list[Floats]:
        width = max(map(len, rows))
        input_ids = np.zeros((len(rows), width), np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for position, row in enumerate(rows):
            input_ids[position, : len(row)] = row
            mask[position, : len(row)] = 1
        inputs = {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
        run = run_bound if self._on_gpu else run_plain
        return run(self._session, {name: inputs[name] for name in self._inputs}, self._outputs)


def run_plain(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> list[Floats]:
    """One forward pass on the CPU."""
    return list(session.run(outputs, inputs))


def run_bound(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> list[Floats]:
    """One forward pass on a GPU, with each input and output copied once (onnxruntime.ai, "I/O Binding")."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_cpu_input(name, value)
    for name in outputs:
        binding.bind_output(name)
    session.run_with_iobinding(binding)
    return list(binding.copy_outputs_to_cpu())


def usable_cores() -> int:
    """Cores that this process may use: its affinity mask, and a container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or no quota ("max")
        return cores


def _session(file: Path, device: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a batch is one thread's work
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # one pattern would be kept for every shape of batch
    options.log_severity_level = 3
    if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    available = onnxruntime.get_available_providers()
    if PROVIDERS[device] in available:
        unfused = CPU_UNFUSED if device == "cpu" else None
        try:
            session = onnxruntime.InferenceSession(
                str(file), options, providers=[PROVIDERS[device]], disabled_optimizers=unfused
            )
        except Exception as error:  # onnxruntime raises its own types, not one of them public
            raise BundleError(f"{file}: onnxruntime cannot load it on {device}: {_first_line(error)}") from error
        if session.get_providers()[0] == PROVIDERS[device]:
            return session
    raise BundleError(
        f"{file}: device {device} was asked for, but onnxruntime offers {', '.join(available)}; install squall[gpu] in "
        'place of squall[cpu] and check the driver with nvidia-smi, or set model_device = "cpu"'
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _encodable(text: str) -> str:
    """The text without lone surrogates, which the tokenizer's UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")


def _judgements(logits: Floats, temperature: float, labels: Sequence[str]) -> list[Judgement]:
    probabilities = calibrated(logits, temperature)
    winners = probabilities.argmax(1).tolist()
    return [
        Judgement(label=labels[winner], probabilities=dict(zip(labels, row, strict=True)))
        for winner, row in zip(winners, probabilities.tolist(), strict=True)
    ]


def calibrated(logits: Floats, temperature: float) -> NDArray[np.float64]:
    """Probabilities, rounded to :data:`DECIMALS`; each row adds up to 1, what rounding lost goes to its largest."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    probabilities = np.round(powers / powers.sum(1, keepdims=True), DECIMALS)
    rows = np.arange(len(probabilities))
    largest = probabilities.argmax(1)
    probabilities[rows, largest] += 1 - probabilities.sum(1)
    rounded: NDArray[np.float64] = np.round(probabilities, DECIMALS)
    return rounded
