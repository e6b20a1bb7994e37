"""The commands that import, export, check and summarise judgments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.config import Config
from stages.cli.options import configured


@click.group()
def feedback() -> None:
    """Import, export and check judgments, and show their quality."""


format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["label-studio", "trl", "csv"]),
    help="Default: by the file's name (.json, .jsonl, .csv).",
)


@feedback.command("import")
@configured
@click.argument("file", type=click.Path(path_type=Path))
@format_option
@click.option(
    "--columns", default="", metavar="FIELD=COLUMN,...", help="CSV: the column of each field, e.g. image=filename."
)
@click.option(
    "--label-config", type=click.Path(path_type=Path, exists=True), help="Label Studio: the labelling configuration."
)
@click.option("--annotator", default="imported", show_default=True, help="Annotator of rows that name none.")
@click.option("--skip-bad", is_flag=True, help="Import the valid rows and write the others to a file of rejects.")
def import_(config: Config, file: Path, **options: Any) -> None:
    """Add the judgments of FILE: Label Studio JSON, TRL preference JSONL or any CSV.

    The complete file is checked before anything is stored.
    """
    from stages import feedback as stage

    click.echo(stage.import_file(config, file, **options))


@feedback.command()
@configured
@click.argument("file", type=click.Path(path_type=Path))
@format_option
def export(config: Config, file: Path, form: str | None) -> None:
    """Write the current judgments to FILE."""
    from stages import feedback as stage

    click.echo(stage.export_file(config, file, form))


@feedback.command()
@configured
@click.option("--accept", is_flag=True, help="Accept files that were edited on purpose: seal them as they are.")
def check(config: Config, accept: bool) -> None:
    """Check that every stored row is complete and unchanged, and that its images and classes exist."""
    from stages import feedback as stage

    click.echo(stage.check(config, accept))


@feedback.command()
@configured
@click.option("--fast-ms", default=300, show_default=True, help="Faster answers are suspicious.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    help="Also write NAME.questions.csv, NAME.annotators.csv and NAME.response_times.csv.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the tables as JSON.")
def stats(config: Config, **options: Any) -> None:
    """Agreement, consistency, accuracy on known images, side bias, speed and seconds, by question and by annotator."""
    from stages import feedback as stage

    click.echo(stage.stats(config, **options))
