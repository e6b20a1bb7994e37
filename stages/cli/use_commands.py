"""The commands that use a finished run: predict, serve, export, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.config import Config, parse_config
from pipeline.errors import UserError
from stages.cli.options import configured


@click.command()
@configured
@click.argument("images", nargs=-1)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, .csv, .jsonl or .parquet [default: runs/<name>/infer/predictions.csv].",
)
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), help="Format if no output file is named."
)
@click.option("--top-k", type=click.IntRange(0), help="List only so many classes per image, the most probable first.")
@click.option("--abstain-below", type=click.FloatRange(0, 1), help="Give no label below this confidence.")
@click.option("--reference/--no-reference", default=None, help="Add the reference's predictions.")
@click.option("--sheet", type=click.IntRange(0), help="Draw a contact sheet with so many images.")
@click.option("--engine", help="local: in this process; ray: by Ray Data, on all cores or a cluster.")
@click.option("--ui", type=click.Choice(["tk"]), help="A window in which to choose images.")
def infer(config: Config, images: tuple[str, ...], output: Path | None, ui: str | None, **changed: Any) -> None:
    """Predict labels with the aligned policy.

    IMAGES: files, folders and globs, or - for a list of names on standard input.
    """
    changed["format"], changed["contact_sheet"] = changed.pop("form"), changed.pop("sheet")
    tree = config.model_dump(mode="json")
    tree["infer"] |= {name: value for name, value in changed.items() if value is not None}
    config = parse_config(tree, "infer")
    if ui == "tk":
        from stages.infer.window import run as show

        show(config, images)
        return
    if not any(images):
        raise UserError("IMAGES is missing: name a file, a folder, a glob, or - for a list on standard input")
    from stages.infer import run as stage

    click.echo(stage.describe(stage.run(config, images, output)))


@click.command()
@configured
@click.argument("texts", type=click.Path(path_type=Path), required=False)
@click.option(
    "--output", type=click.Path(path_type=Path), help="CSV file to write [default: runs/<name>/rank/ranking.csv]."
)
@click.option("--column", help="Column of the texts in a CSV file [default: items.column, text or title].")
def rank(config: Config, texts: Path | None, **options: Any) -> None:
    """Score and rank TEXTS, a CSV file or one with a text per line, with a reward model of texts."""
    raise UserError(
        f"run '{config.name}' is about images, and rank is for texts: it needs a configuration with `items`, such as "
        "configs/texts.yaml; to classify images, run infer"
    )


@click.command("export")
@configured
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "torch", "huggingface"]),
    multiple=True,
    help="May be given several times; default: all three.",
)
def export_policy(config: Config, formats: tuple[str, ...]) -> None:
    """Write the aligned policy for other programs: ONNX, torch.export, and a folder in the Hugging Face layout."""
    from stages.export import run as stage

    click.echo(stage.describe(stage.run(config, formats or stage.FORMATS)))


@click.command()
@configured
def serve(config: Config) -> None:
    """Serve a page and an HTTP API that classify images with the aligned policy."""
    from stages.serve import run as stage

    stage.run(config, click.echo)


@click.command()
@configured
@click.option(
    "--runs",
    default="",
    help="Names of finished runs, separated by spaces: one page per run, and one that compares them.",
)
def report(config: Config, runs: str) -> None:
    """Write a self-contained page about a run, from the judgments to the images whose prediction changed."""
    from stages.report import run as stage

    click.echo(stage.describe(stage.run(config, runs.split())))


COMMANDS = (infer, rank, export_policy, serve, report)
