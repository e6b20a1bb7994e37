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
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), help="Where no file is named.")
@click.option("--top-k", type=click.IntRange(0), help="Classes listed per image, most probable first, instead of all.")
@click.option("--abstain-below", type=click.FloatRange(0, 1), help="No label where the confidence is lower.")
@click.option("--reference/--no-reference", default=None, help="List the reference's prediction beside the policy's.")
@click.option("--sheet", type=click.IntRange(0), help="Images on a contact sheet beside the predictions.")
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


@click.command("export")
@configured
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "torch", "huggingface"]),
    multiple=True,
    help="May be given several times; all three if it is not.",
)
def export_policy(config: Config, formats: tuple[str, ...]) -> None:
    """Write the aligned policy for other programs: ONNX, torch.export, and a folder in the Hugging Face layout."""
    from stages.export import run as stage

    click.echo(stage.describe(stage.run(config, formats or stage.FORMATS)))


@click.command()
@configured
def serve(config: Config) -> None:
    """Open a page and an interface that classify images with the aligned policy."""
    from stages.serve import run as stage

    stage.run(config, click.echo)


@click.command()
@configured
@click.option(
    "--runs",
    default="",
    help="Names of finished runs, with spaces between: a page each, and one with all side by side.",
)
def report(config: Config, runs: str) -> None:
    """One self-contained page about a run, from the judgments to the images whose prediction changed."""
    from stages.report import run as stage

    click.echo(stage.describe(stage.run(config, runs.split())))


COMMANDS = (infer, export_policy, serve, report)
