"""The gate that a version passes before it serves: no head worse than the live one beyond the measurement's noise."""

from typing import Any

from bus.errors import BundleError
from model.bundle import Manifest
from model.training.evaluate import NEWS

FIGURES = {"sentiment": "macro_f1", "topic": "accuracy", "relevance": "macro_f1"}
"""For each head the figure that counts."""

QUANTIZED = 0.005
"""How much int8 and fp16 may lose against fp32, of 1."""


def refusals(candidate: Manifest, now: Manifest | None) -> list[str]:
    """Why a version must not go live: one line for each figure that fails; empty when it passes.

    A figure fails when it lies below the lower end of the live version's 95 % interval, or when int8 or fp16 loses more
    than :data:`QUANTIZED` against fp32. Figures are those of the manifests, which measured on their own development
    part; sets that only one of them measured are not compared.

    Raises:
        BundleError: the candidate was not measured.
    """
    found = []
    measured = candidate.metrics.get("int8")
    if not measured:
        raise BundleError(
            f"version {candidate.version}: holds no figures; 'squall model finetune' measures what it makes"
        )
    for name in NEWS:
        for head, figure in FIGURES.items():
            own = _row(candidate, "int8", name, head)
            exact = _row(candidate, "fp32", name, head)
            if not own:
                if now and _row(now, "int8", name, head):
                    found.append(f"{name} {head}: not measured, and the live version is")
                continue
            for kind in ("int8", "fp16"):
                rounded = _row(candidate, kind, name, head)
                if exact and rounded and rounded[figure] < exact[figure] - QUANTIZED:
                    found.append(f"{name} {head}: {kind} {figure} {rounded[figure]:.3f}, fp32 {exact[figure]:.3f}")
            served = _row(now, "int8", name, head) if now else {}
            low = served.get(f"{figure}_low", served.get(figure))
            if low is not None and own[figure] < low:
                found.append(
                    f"{name} {head}: {figure} {own[figure]:.3f}, live {served[figure]:.3f} (not below {low:.3f})"
                )
    return found


def _row(manifest: Manifest, kind: str, name: str, head: str) -> dict[str, Any]:
    row: dict[str, Any] = manifest.metrics.get(kind, {}).get(name, {}).get(head, {})
    return row
