"""`make report`: one self-contained page of a run, or of several side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.config import Config, dump_config, load_saved_config, parse_config
from pipeline.errors import UserError
from pipeline.run.atomic_files import short_hash, write_atomically, write_json
from pipeline.run.run_folder import TARGETS
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from pipeline.ui import card_plots
from pipeline.ui.html import data_address, render, thumbnail
from stages.report import charts
from stages.report.headline import headline, where
from stages.report.multi_run import comparison_table
from stages.report.predictions import most_confused
from stages.report.report_data import Figures, figures

TEMPLATES = Path(__file__).with_name("templates")
MATRIX = 20  # classes up to which a whole confusion matrix can be read
MAX_FILE_NAME = 100  # characters of a file name made of runs' names


def run(config: Config, names: Sequence[str] = ()) -> list[Path]:
    """Make runs/<name>/report/: report.html, report.json and the configuration; with several names one page of them all.

    Args:
        config: of the run; with `names` only its `runs` folder counts.
        names: runs to report on, by name or by path, each with the configuration its stages kept; none means the run of `config`.

    Returns:
        The pages made; of several runs the one that has them side by side last.

    Raises:
        UserError: a run does not exist, or has no reference yet.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("report runs in one process; start it without torchrun")
    configs = [load_run_config(config, name) for name in dict.fromkeys(run_name(config.runs, n) for n in names)] or [
        config
    ]
    for one in configs:
        if not (one.runs / one.name).is_dir():
            raise UserError(
                f"{one.runs / one.name}: there is no such run yet; run `make reference` first, or `make demo`"
            )
    made = [write_report(one) for one in configs]
    pages = [page for _, page in made]
    if len(made) > 1:
        pages.append(write_multi_run_report(config.runs, [found for found, _ in made]))
    return pages


def run_name(runs: Path, given: str) -> str:
    """The name of a run that was given by name, or as the path of its folder, as a shell completes it."""
    path = Path(given)
    below = len(path.parts) == 1 or os.path.abspath(path.parent) == os.path.abspath(runs)
    return path.name if below else given


def load_run_config(config: Config, name: str) -> Config:
    """The configuration of a run by its name, as its newest stage kept it, in the folder of runs that `config` names.

    Raises:
        UserError: there is no such run.
    """
    folder = config.runs / name
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such run; RUNS names folders in {config.runs}")
    kept = [folder / stage / "config.yaml" for stage in reversed(TARGETS)]
    kept = [path for path in kept if path.is_file() and path.with_name("manifest.json").is_file()]
    if not kept:
        raise UserError(f"{folder}: no stage of this run is finished; run `make reference` for it first")
    tree = load_saved_config(kept[0]).model_dump(mode="json")
    return parse_config(tree | {"name": name, "runs": str(config.runs)}, str(kept[0]))


@one_process("report")
def write_report(config: Config) -> tuple[Figures, Path]:
    """The figures of one run, and its report.html."""
    ws = open_workspace(config)
    folder = ws.run.path / "report"
    found = figures(ws)
    found["headline"] = headline(found)
    write_json(folder / "report.json", found)
    write_atomically(folder / "config.yaml", dump_config(config).encode())
    write_atomically(folder / "report.html", page(ws, found).encode())
    return found, folder / "report.html"


def page(ws: Workspace, found: Figures) -> str:
    """report.html."""
    predictions, card = found["predictions"], found["card"]
    small = len(ws.classes) <= MATRIX
    shown = charts.shown_classes(predictions["classes"])
    looked_at = predictions["first_predictions"] or predictions["changed"] or {"images": []}
    listed = [*looked_at["images"], *(card or {"surprising": []})["surprising"]]
    rows = found["ppo"]["rows"] if found["ppo"] else []
    plot = ws.run.path / "compare" / "frontier.svg"
    return render(
        TEMPLATES,
        "report.html.jinja",
        made=found,
        where=where(found),
        card_drawn=card_plots.draw_card_plots(card) if card else None,
        ppo_plots=charts.ppo_plots(charts.decided(rows) if predictions["uniform_reference"] else rows) if rows else [],
        shown=shown,
        class_plot=charts.class_plot(shown, predictions["chance"] if predictions["uniform_reference"] else None)
        if shown
        else None,
        calibration=charts.calibration_plot(predictions) if predictions["classes"] else None,
        matrices=shade_matrices(predictions["confusion"]) if small else {},
        confused=[] if small or not predictions["confusion"] else most_confused(predictions["confusion"], ws.classes),
        thumbnails={one["image"]: thumbnail(ws.table, one["image"], ws.config.images.max_pixels) for one in listed},
        frontier=data_address(plot.read_bytes(), "image/svg+xml") if plot.is_file() else None,
    )


def shade_matrices(matrices: dict[str, list[list[int]]]) -> dict[str, list[list[dict[str, Any]]]]:
    """Each cell of the confusion matrices as its count, its share of its row, and its style: right blue, wrong orange."""

    def cell(count: int, total: int, right: bool) -> dict[str, Any]:
        part = count / total if total else 0.0
        colour = "0, 114, 178" if right else "213, 94, 0"
        style = f"background: rgba({colour}, {0.85 * part:.3f}); color: {'#fff' if part > 0.6 else 'inherit'}"
        return {"count": count, "share": part, "right": right, "style": Markup(style)}

    return {
        name: [[cell(count, sum(row), t == p) for p, count in enumerate(row)] for t, row in enumerate(matrix)]
        for name, matrix in matrices.items()
    }


def write_multi_run_report(runs: Path, found: Sequence[Figures]) -> Path:
    """The page of several runs, and its figures as JSON beside it."""
    stem = "report-" + "-".join(one["name"] for one in found)
    if len(stem) > MAX_FILE_NAME:
        stem = f"report-{len(found)}-runs-{short_hash(stem)}"
    made = comparison_table(found)
    plots = charts.overlaid([(one["name"], one["ppo"]["rows"]) for one in found if one["ppo"]])
    write_json(runs / f"{stem}.json", made)
    path = runs / f"{stem}.html"
    write_atomically(path, render(TEMPLATES, "multi_run.html.jinja", made=made, plots=plots).encode())
    return path


def describe(pages: Sequence[Path]) -> str:
    """A line a page for the terminal."""
    return "\n".join(f"report in {page}" for page in pages)
