"""The texts beside a bundle's files: its model card and its notice of licences, both made from the manifest."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from model.bundle import Manifest
from model.training.evaluate import table

_CARD = """# Squall news model {version}

Reads a financial news item (title and summary) and says how it sounds for those who hold the asset, company, economy or
market it is about (negative, neutral, positive), which of 20 topics it belongs to, and whether a financial news desk
would want it. One forward pass also gives an embedding of length 1.

- Languages: {languages}. Squall leaves articles in other languages unscored.
- Encoder: {encoder}; licence {encoder_licence}. Three linear heads on the mean of the token vectors.
- Longest text: {max_tokens} tokens; the rest is cut.
- Probabilities are calibrated by one temperature per head ({temperatures}), fitted on the development part of the news.
- `model.int8.onnx` is for the CPU (dynamic int8, weights in 7 bits: no overflow on processors without VNNI). Like every
  dynamically quantized model it lets a score depend a little on the texts that share its batch.

## Trained on

{data}

The development part is {development:.0%} of the days, and of the titles of SEntFiN, chosen by hash; no training saw it,
nor any other text with the same title. The texts are not part of this bundle.

## Figures

Of the int8 file as shipped, on held-out texts, measured {measured_at} on {machine}. Accuracy and macro-F1 from 0 to 1;
the calibration error of the news rows is measured on the texts that the temperatures were fitted on.

{figures}

fp32 (PyTorch) on the same texts:

{fp32}
{fp16}{relevant}
## Made by

```
{command}
```

The epochs took {minutes:.0f} minutes on that machine, those of the teachers included. The recipe:

```toml
{recipe}
```
{notes}
## What it gets wrong

Labels of the news that it takes for others, most frequent first:

| head | label | answer | texts | of |
|---|---|---|---|---|
{confusions}

The mistakes that it is surest of, of the public sets (`squall model evaluate --html` lists fifty of each set, the news
included):

| set | label | answer | probability | text |
|---|---|---|---|---|
{mistakes}

## What it cannot do

- It judges the tone of a text, not whether it is true, new or important, and not what a price will do.
- One sentiment for one text: where a headline is good for one company and bad for another, it picks one.
- It learned from English-language news, American and British of 2023 and Indian headlines mostly. Words, companies and
  crises that came later, other registers (tweets, filings, research notes) and satire are less certain.
- It reads neither numbers nor tables: "profit 3 million against 4 million" without a word of direction is often taken
  for neutral.
- Rare topics (Dividend, Gold | Metals | Materials, IPO, Treasuries | Corporate Debt) had few examples.
- The labels of the news it is measured on are one reader's, in one pass; two readers agree on about 0.96 of the
  sentiments and 0.95 of the topics.
"""

_NOTICE = """Squall news model {version}

The weights are licensed under the Apache License, Version 2.0 (see LICENSE).

They were fine-tuned from the encoder {encoder}: {encoder_licence}.

Fine-tuned on:
{data}
"""


def card(manifest: Manifest) -> str:
    """The model card, in Markdown."""
    metrics = manifest.metrics
    share = [
        f"- {name}: {figures['share_relevant']:.1%} of the headlines are found relevant"
        for name, figures in metrics["int8"].items()
        if "share_relevant" in figures
    ]
    return _CARD.format(
        version=manifest.version,
        languages=", ".join(manifest.languages),
        encoder=manifest.encoder,
        encoder_licence=manifest.licences["encoder"],
        max_tokens=manifest.max_tokens,
        temperatures=", ".join(f"{head} {value:g}" for head, value in manifest.temperatures.items()),
        data=_data(manifest),
        development=manifest.recipe["development"],
        measured_at=metrics["measured_at"],
        machine=metrics["machine"],
        figures=table(metrics["int8"]),
        fp32=table(metrics["fp32"]),
        fp16=f"\nfp16, the file for GPUs:\n\n{table(metrics['fp16'])}\n" if "fp16" in metrics else "",
        relevant="\n" + "\n".join(share) + "\n" if share else "",
        command=metrics["command"],
        minutes=metrics["training_seconds"] / 60,
        recipe="\n".join(_toml({key: value for key, value in manifest.recipe.items() if key != "notes"})),
        notes=f"\n{manifest.recipe['notes'].strip()}\n" if manifest.recipe.get("notes") else "",
        confusions="\n".join(
            _row(each["head"], each["label"], each["answer"], each["texts"], each["of"])
            for each in metrics["confusions"]
        ),
        mistakes="\n".join(
            _row(name, each["label"], each["answer"], f"{each['confidence']:.2f}", each["title"])
            for name, found in metrics["mistakes"].items()
            for each in found
        ),
    )


def _row(*cells: object) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in cells) + " |"


def notice(manifest: Manifest) -> str:
    """The notice of licences."""
    return _NOTICE.format(
        version=manifest.version,
        encoder=manifest.encoder,
        encoder_licence=manifest.licences["encoder"],
        data=_data(manifest),
    )


def _data(manifest: Manifest) -> str:
    return "\n".join(f"- {each.name}: {each.rows} rows, {each.source}; {each.licence}" for each in manifest.data)


def _toml(recipe: Mapping[str, Any]) -> Iterator[str]:
    """A recipe as it is written in a file, teachers last."""
    for name, value in recipe.items():
        if name != "teachers" and value != "":
            yield f"{name} = {_value(value)}"
    for teacher in recipe.get("teachers", ()):
        yield "\n[[teachers]]"
        yield from _toml(teacher)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_value(part)}" for name, part in value.items()) + "}"
    return json.dumps(value)
