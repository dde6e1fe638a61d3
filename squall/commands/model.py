"""Commands of the model room: classify texts, make and measure models."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squall.commands.context import bundle_of, settings_of
from squall.commands.model_data import data
from squall.commands.training import DataOption, data_root, needs_training, progress

if TYPE_CHECKING:
    from squall.settings import Settings

models = typer.Typer(help="Make and measure models (needs the 'train' extra).", no_args_is_help=True)

ModelOption = Annotated[Path | None, typer.Option(help="Folder of a bundle; default: the setting model.")]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(classify)
    models.add_typer(data, name="data")
    app.add_typer(models, name="model")


def classify(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="One text; without it, lines of standard input.")] = None,
    model: ModelOption = None,
) -> None:
    """Say sentiment, topic and relevance of TEXT, or of each line of standard input, as one JSON line each.

    A line is a title, or JSON with "title" and perhaps "summary", "id" and "language". A line that cannot be read gives
    {"line", "error"} in its place, the rest goes on, and the exit status is 1.
    """
    from bus.messages import encode
    from model.classifier import Classifier
    from model.lines import Failure, Item, classify_lines, classify_texts, text_of

    settings = settings_of(context)
    classifier = Classifier.load(
        model or bundle_of(settings), device=settings.model_device, threads=settings.model_threads
    )
    if text is not None:
        answers = classify_texts([text_of(Item(text), classifier.languages)], classifier)
    else:
        if sys.stdin.isatty():
            print("squall classify: reading one text a line from the terminal; Ctrl-D ends", file=sys.stderr)
        answers = classify_lines(sys.stdin.buffer, classifier)
    failed = False
    for answer in answers:
        failed = failed or isinstance(answer, Failure)
        sys.stdout.buffer.write(encode(answer) + b"\n")
    sys.stdout.buffer.flush()
    if failed:
        raise typer.Exit(1)


@models.command()
def finetune(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Recipe in TOML; default: that of the bundle that ships.")] = None,
    data: DataOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; must not exist.")] = Path("var/model"),
    fp16: Annotated[bool, typer.Option("--fp16", help="Also write the file for GPUs.")] = False,
) -> None:
    """Fine-tune a model on the labelled sets and write its bundle to --out.

    Checkpoints go to the folder beside it whose name ends in .training; the same command goes on after an interruption.
    """
    settings = settings_of(context)
    root = data_root(settings, data)
    with needs_training():
        from model.training.config import read_config
        from model.training.pipeline import make_bundle

        out = settings.path(out)
        manifest = make_bundle(
            read_config(config),
            root,
            out.with_name(f"{out.name}.training"),
            out,
            progress,
            fp16=fp16,
            command=" ".join(
                ["squall model finetune --data DATA --out OUT"]
                + ([f"--config {config.name}"] if config else [])
                + (["--fp16"] if fp16 else [])
            ),
            parent=_serving(settings),
        )
    print(f"{out}: version {manifest.version}; README.md in it has the figures")


def _serving(settings: "Settings") -> str:
    """The version that serves; empty before the first."""
    from bus.errors import BundleError
    from model.bundle import load_manifest

    try:
        return load_manifest(bundle_of(settings)).version
    except BundleError:
        return ""


@models.command()
def evaluate(
    context: typer.Context,
    model: ModelOption = None,
    data: DataOption = None,
    news: Annotated[
        Path | None, typer.Option(help="Measure on this table of labelled headlines alone (docs/model.md).")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a report with pictures and mistakes to this file.")
    ] = None,
) -> None:
    """Measure a bundle on held-out texts: accuracy, macro-F1 and calibration by set and head."""
    settings = settings_of(context)
    folder = model or bundle_of(settings)
    with needs_training():
        import msgspec

        from model.bundle import load_manifest
        from model.training.config import Config
        from model.training.evaluate import evaluate_bundle, held_out, table
        from model.training.report import sections, write_report
        from model.training.sets import load_table

        manifest = load_manifest(folder)
        if news is not None:
            examples = load_table(news)
        else:
            share = manifest.recipe.get("development", Config().development)
            examples = held_out(data_root(settings, data), share, progress)
        measured = evaluate_bundle(folder, examples, settings.model_device)
        if html:
            write_report(html, f"Squall news model {manifest.version}", sections(*measured))
    print(table(measured.figures))
    if json:
        content = {"version": manifest.version, "sets": measured.figures}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


RegistryOption = Annotated[Path | None, typer.Option(help="Folder of promoted models; default: the setting registry.")]


@models.command("list")
def list_(context: typer.Context, registry: RegistryOption = None) -> None:
    """List the versions of the registry, oldest first, the live one marked."""
    from model.registry import live, versions

    settings = settings_of(context)
    folder = registry or settings.path(settings.registry)
    now = live(folder)
    found = versions(folder)
    for manifest in found:
        news = manifest.metrics.get("int8", {}).get("news", {})
        figures = ", ".join(f"{head} {row['macro_f1']:.3f}" for head, row in news.items() if isinstance(row, dict))
        mark = "live" if now and now.version == manifest.version else ""
        typer.echo(f"{manifest.version}  {mark:5}{manifest.encoder}  {figures or 'not measured'}")
    if now is None:
        typer.echo(f"{folder}: no version is live; {bundle_of(settings)} serves")


@models.command()
def promote(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle, as 'squall model finetune' made it.")],
    registry: RegistryOption = None,
    force: Annotated[bool, typer.Option("--force", help="Promote it although the gate refuses it.")] = False,
) -> None:
    """Put a bundle into the registry and let it serve, if it passes the gate; workers take it without a restart."""
    from bus.errors import BundleError
    from model.bundle import load_manifest, verify
    from model.registry import add, go_live, live, served
    from model.training.promotion import refusals

    settings = settings_of(context)
    folder = registry or settings.path(settings.registry)
    now = live(folder)
    reasons = refusals(verify(bundle), load_manifest(served(folder, settings.path(settings.model))))
    for reason in reasons:
        typer.echo(f"worse: {reason}", err=True)
    if reasons and not force:
        raise BundleError(f"{bundle}: refused by {len(reasons)} figures; --force promotes it all the same")
    manifest = add(folder, bundle)
    if now is None or now.version != manifest.version:
        go_live(folder, manifest.version)
    typer.echo(f"{manifest.version} is live; 'squall model rollback' returns to the version before")


@models.command()
def rollback(context: typer.Context, registry: RegistryOption = None) -> None:
    """Let the version serve that was live before the present one."""
    from model.registry import roll_back

    settings = settings_of(context)
    typer.echo(f"{roll_back(registry or settings.path(settings.registry)).version} is live")
