"""image-rlhf: the command line. The only file that knows all stages."""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from feedback_store.errors import FeedbackError, FeedbackWarning
from pipeline import hints
from pipeline.config import Config, load_config, parse_config
from pipeline.errors import Stopped, UserError


class UserErrors(click.Group):
    """Prints a UserError as one clear message and exits with code 2; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", FeedbackWarning)
                warnings.showwarning = _show_warning(warnings.showwarning)
                return super().invoke(ctx)
        except (UserError, FeedbackError) as error:
            click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True)
            ctx.exit(2)
        except Stopped as stopped:
            click.echo(str(stopped), err=True)
            ctx.exit(stopped.code)


def _show_warning(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Warnings about judgments are for the user; all others are for developers and shown as ever."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, FeedbackWarning):
            click.echo(click.style("warning: ", fg="yellow", bold=True) + str(message), err=True)
        else:
            otherwise(message, category, *where, **more)

    return show


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """The options every stage takes, turned into its first argument, a Config."""

    @click.option(
        "--config", "path", type=click.Path(path_type=Path), default=hints.DEFAULT, show_default=True,
        help="YAML file with the run's settings.",
    )  # fmt: skip
    @click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE",
        help='Override settings, several in one string or option: --set "ppo.lr=1e-5 seed=3".',
    )  # fmt: skip
    @functools.wraps(command)
    def wrapped(path: Path, overrides: tuple[str, ...], **options: Any) -> None:
        hints.started_with(path)
        command(load_config(path, [item for text in overrides for item in text.split()]), **options)

    return wrapped


force_option = click.option("--force", is_flag=True, help="Do it again although it is up to date.")

# Command, module and help of each stage, in the order of the pipeline. Modules are imported when they are run: torch
# takes seconds, and --help should not.
STAGES = (
    ("reference", "stages.reference", "Train the reference policy on a few labelled images a class, and freeze it."),
    ("collect", "stages.collect.run", "Ask for judgments and append them to the feedback store."),
    ("train-reward", "stages.reward.run", "Train the reward model on the judgments."),
    ("ppo", "stages.ppo.run", "Align the policy with PPO against the frozen reward model."),
)


@click.group(cls=UserErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="image-rlhf")
def main() -> None:
    """Reinforcement learning from human feedback for image classification.

    The stages, in order: reference, collect, train-reward, ppo, infer. `run` does all but the last in one process;
    `report` makes a page of the result, `serve` and `export` give it to others.
    """


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def run_stage(name: str, module: str, config: Config, force: bool) -> None:
    """Run one stage and say in a line what it made, or that there was nothing to do."""
    from pipeline.run_folder import RunFolder

    stage = importlib.import_module(module)
    changed = stage.run(config, force)
    if _is_main_process():
        note = "" if changed else f"  (up to date; `{hints.make(name)} FORCE=1` does it again)"
        click.echo(stage.describe(RunFolder(config).write_summary()) + note)


def _add_stage(name: str, module: str, text: str) -> None:
    @main.command(name, help=text)
    @configured
    @force_option
    def command(config: Config, force: bool) -> None:
        run_stage(name, module, config, force)


for _stage in STAGES:
    if _stage[0] != "collect":
        _add_stage(*_stage)


@main.command()
@configured
@force_option
@click.option(
    "--teacher",
    type=click.Choice(["people", "simulated", "replay"]),
    default="people",
    show_default=True,
    help="Who answers: people on a page or in a window, or a teacher that stands in for them.",
)
@click.option("--annotators", help="Names of those who judge, with commas between; each gets a link of their own.")
@click.option("--ui", type=click.Choice(["web", "tk"]), help="A page in the browser, or a window.")
def collect(config: Config, force: bool, teacher: str, annotators: str | None, ui: str | None) -> None:
    """Ask for judgments and append them to the feedback store."""
    changed: dict[str, Any] = {"teacher": teacher}
    if annotators is not None:
        changed["annotators"] = [name.strip() for name in annotators.split(",") if name.strip()]
    if ui is not None:
        changed["ui"] = ui
    tree = config.model_dump(mode="json")
    tree["collect"] |= changed
    name, module, _ = next(stage for stage in STAGES if stage[0] == "collect")
    run_stage(name, module, parse_config(tree, "collect"), force)


@main.command()
@configured
@click.option("--images", "pattern", help="A file, a folder, a glob, or - for a list of names on standard input.")
@click.option(
    "--output", type=click.Path(path_type=Path),
    help="File to write, .csv, .jsonl or .parquet [default: runs/<name>/infer/predictions.csv].",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), help="Where no file is named.")
@click.option("--top-k", type=click.IntRange(0), help="The likeliest so many classes instead of all.")
@click.option("--abstain-below", type=click.FloatRange(0, 1), help="No label where the confidence is lower.")
@click.option("--reference/--no-reference", default=None, help="The reference's opinion beside the policy's.")
@click.option("--sheet", type=click.IntRange(0), help="So many images with their predictions on a contact sheet.")
@click.option("--ui", type=click.Choice(["tk"]), help="A window in which to choose images.")
def infer(config: Config, pattern: str | None, output: Path | None, ui: str | None, **changed: Any) -> None:
    """Predict labels with the aligned policy."""
    changed["format"] = changed.pop("form")
    tree = config.model_dump(mode="json")
    tree["infer"] |= {name: value for name, value in changed.items() if value is not None}
    config = parse_config(tree, "infer")
    if ui == "tk":
        from stages.infer.window import run as show

        show(config, pattern)
        return
    if pattern is None:
        raise UserError("IMAGES is missing: name a file, a folder, a glob, or - for a list on standard input")
    from stages.infer import run as stage

    click.echo(stage.describe(stage.run(config, pattern, output)))


@main.command("export")
@configured
@click.option(
    "--format", "formats", type=click.Choice(["onnx", "torch", "huggingface"]), multiple=True,
    help="May be given several times; all three if it is not.",
)  # fmt: skip
def export_policy(config: Config, formats: tuple[str, ...]) -> None:
    """Write the aligned policy for other programs: ONNX, torch.export, and a folder in the Hugging Face layout."""
    from stages.export import run as stage

    click.echo(stage.describe(stage.run(config, formats or stage.FORMATS)))


@main.command()
@configured
def serve(config: Config) -> None:
    """Open a page and an interface that classify images with the aligned policy."""
    from stages.serve import run as stage

    stage.run(config)


@main.command()
@configured
@force_option
def run(config: Config, force: bool) -> None:
    """All stages up to ppo in one process, then the reference beside the aligned policy."""
    from pipeline.run_folder import RunFolder
    from stages.table import comparison_table

    for name, module, _ in STAGES:
        run_stage(name, module, config, force)
    if _is_main_process():
        click.echo(comparison_table(RunFolder(config).write_summary()))


@main.command()
@configured
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(1), help="Runs, each with a seed of its own."
)
@click.option("--only", multiple=True, help="A method by its name in the table; may be given several times.")
def compare(config: Config, seeds: int, only: tuple[str, ...]) -> None:
    """Hold PPO against what a sceptic would use instead, on the same judgments and seeds."""
    from pipeline.checkpoints import Checkpoints
    from pipeline.environment import Environment
    from pipeline.features import Features
    from pipeline.models.backbone import Split
    from pipeline.tracking import Metrics
    from stages.compare import run as stage
    from stages.compare.methods import Learners
    from stages.ppo.run import optimise
    from stages.reward.run import fit_policy

    def prepare(one: Config) -> None:
        stand_in = one.collect.teacher in stage.STAND_INS
        for name, module, _ in STAGES[:3]:
            if name != "collect" or stand_in:
                importlib.import_module(module).run(one)

    def align(environment: Environment, pieces: Split, features: Features, metrics: Metrics) -> int:
        return optimise(environment, pieces, features, metrics, Checkpoints(None, "")).images

    learners = Learners(prepare, fit_policy, align)
    click.echo(stage.run(config, seeds, learners, list(only)))


@main.command()
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


@main.command()
def settings() -> None:
    """Every setting of a configuration, with its default and what it means (docs/settings.md)."""
    from pipeline.config import settings_table

    click.echo(settings_table(), nl=False)


@main.group()
def feedback() -> None:
    """Judgments in and out of other tools' formats, checked, and how far they can be trusted."""


format_option = click.option(
    "--format", "form", type=click.Choice(["label-studio", "trl", "csv"]),
    help="Default: by the file's name (.json, .jsonl, .csv).",
)  # fmt: skip


@feedback.command("import")
@configured
@click.argument("file", type=click.Path(path_type=Path))
@format_option
@click.option("--columns", default="", metavar="OURS=THEIRS,...", help="CSV: which column is what, as image=filename.")
@click.option(
    "--label-config", type=click.Path(path_type=Path, exists=True), help="Label Studio: the labelling configuration."
)
@click.option("--annotator", default="imported", show_default=True, help="Who judged, where the file does not say.")
@click.option("--skip-bad", is_flag=True, help="Import the good rows and write the others to a file of rejects.")
def import_(config: Config, file: Path, **options: Any) -> None:
    """Add the judgments of FILE: Label Studio JSON, TRL preference JSONL or any CSV. All is checked before any is stored."""
    from stages import feedback as stage

    click.echo(stage.import_file(config, file, **options))


@feedback.command()
@configured
@click.argument("file", type=click.Path(path_type=Path))
@format_option
def export(config: Config, file: Path, form: str | None) -> None:
    """Write the judgments that stand to FILE."""
    from stages import feedback as stage

    click.echo(stage.export_file(config, file, form))


@feedback.command()
@configured
@click.option("--accept", is_flag=True, help="The files were changed by hand on purpose: seal them as they are.")
def check(config: Config, accept: bool) -> None:
    """Check every stored row: whole, unchanged, and about images and classes that exist."""
    from stages import feedback as stage

    click.echo(stage.check(config, accept))


@feedback.command()
@configured
@click.option("--fast-ms", default=300, show_default=True, help="Faster answers are suspicious.")
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path), help="Also write NAME.questions.csv and NAME.annotators.csv."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the tables as JSON.")
def stats(config: Config, **options: Any) -> None:
    """Agreement, consistency, accuracy on known images, side bias and speed, by question and by annotator."""
    from stages import feedback as stage

    click.echo(stage.stats(config, **options))


@main.command()
@click.argument("name", type=click.Choice(["ants_bees", "digits"]))
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="Where to put it."
)
def data(name: str, folder: Path) -> None:
    """Get a data set: the tutorial's ants and bees (a download), or the embedded digits as image files."""
    from pipeline.images.digits import write_digits
    from pipeline.images.download import download_ants_bees

    root = write_digits(folder / "digits") if name == "digits" else download_ants_bees(folder)
    click.echo(f"{name} is in {root}")


if __name__ == "__main__":
    main()
