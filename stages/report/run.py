"""`make report`: a self-contained page about a run, or about several runs in comparison."""

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
from stages.report.round_charts import round_plots
from stages.report.round_summary import round_times, rounds_sentence, simulated_times

TEMPLATES = Path(__file__).with_name("templates")
MAX_MATRIX_CLASSES = 20  # a larger confusion matrix is not readable
MAX_FILE_NAME = 100  # characters of a file name that joins runs' names


def run(config: Config, names: Sequence[str] = ()) -> list[Path]:
    """Write runs/<name>/report/: report.html, report.json and the configuration; with several names also a comparison page.

    Args:
        config: of the run; with `names` only its `runs` folder is used.
        names: runs to report on, by name or path, each with the configuration its stages saved; empty for the run of
            `config`.

    Returns:
        The pages; the comparison page is last.

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
            raise UserError(f"{one.runs / one.name}: no such run; run `make reference` first, or `make demo`")
    reports = [write_report(one) for one in configs]
    pages = [page for _, page in reports]
    if len(reports) > 1:
        pages.append(write_multi_run_report(config.runs, [results for results, _ in reports]))
    return pages


def run_name(runs: Path, given: str) -> str:
    """The name of a run, given by name or as the path of its folder."""
    path = Path(given)
    below = len(path.parts) == 1 or os.path.abspath(path.parent) == os.path.abspath(runs)
    return path.name if below else given


def load_run_config(config: Config, name: str) -> Config:
    """The configuration of a run, as its newest stage saved it; `config` names the folder of runs.

    Raises:
        UserError: there is no such run.
    """
    folder = config.runs / name
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run; RUNS takes names of folders in {config.runs}")
    saved = [folder / stage / "config.yaml" for stage in reversed(TARGETS)]
    saved = [path for path in saved if path.is_file() and path.with_name("manifest.json").is_file()]
    if not saved:
        raise UserError(f"{folder}: no stage of this run is finished; run `make reference` first")
    tree = load_saved_config(saved[0]).model_dump(mode="json")
    return parse_config(tree | {"name": name, "runs": str(config.runs)}, str(saved[0]))


@one_process("report")
def write_report(config: Config) -> tuple[Figures, Path]:
    """Write the report of one run; returns its results and the path of report.html."""
    ws = open_workspace(config)
    folder = ws.run.path / "report"
    results = figures(ws)
    results["headline"] = headline(results)
    write_json(folder / "report.json", results)
    write_atomically(folder / "config.yaml", dump_config(config).encode())
    write_atomically(folder / "report.html", page(ws, results).encode())
    return results, folder / "report.html"


def page(ws: Workspace, results: Figures) -> str:
    """The HTML of report.html."""
    predictions, card = results["predictions"], results["card"]
    small = len(ws.classes) <= MAX_MATRIX_CLASSES
    shown = charts.shown_classes(predictions["classes"])
    shown_images = predictions["first_predictions"] or predictions["changed"] or {"images": []}
    listed = [*shown_images["images"], *(card or {"surprising": []})["surprising"]]
    rows = results["ppo"]["rows"] if results["ppo"] else []
    plot = ws.run.path / "compare" / "frontier.svg"
    return render(
        TEMPLATES,
        "report.html.jinja",
        report=results,
        where=where(results),
        card_drawn=card_plots.draw_card_plots(card) if card else None,
        ppo_plots=charts.ppo_plots(charts.drop_uniform_accuracy(rows) if predictions["uniform_reference"] else rows)
        if rows
        else [],
        shown=shown,
        class_plot=charts.class_plot(shown, predictions["chance"] if predictions["uniform_reference"] else None)
        if shown
        else None,
        calibration=charts.calibration_plot(predictions) if predictions["classes"] else None,
        matrices=shade_matrices(predictions["confusion"]) if small else {},
        confused=[] if small or not predictions["confusion"] else most_confused(predictions["confusion"], ws.classes),
        thumbnails={one["image"]: thumbnail(ws.table, one["image"], ws.config.images.max_pixels) for one in listed},
        rounds=rounds_values(results["rounds"]),
        frontier=data_address(plot.read_bytes(), "image/svg+xml") if plot.is_file() else None,
    )


def rounds_values(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What the chapter about rounds shows; None if there were none."""
    if not rows:
        return None
    return {
        "sentence": rounds_sentence(rows),
        "times": round_times(rows),
        "simulated": simulated_times(rows),
        "plots": round_plots(rows),
    }


def shade_matrices(matrices: dict[str, list[list[int]]]) -> dict[str, list[list[dict[str, Any]]]]:
    """Cells of the confusion matrices with count, share of the row, and style: right is blue, wrong is orange."""

    def cell(count: int, total: int, right: bool) -> dict[str, Any]:
        part = count / total if total else 0.0
        colour = "0, 114, 178" if right else "213, 94, 0"
        style = f"background: rgba({colour}, {0.85 * part:.3f}); color: {'#fff' if part > 0.6 else 'inherit'}"
        return {"count": count, "share": part, "right": right, "style": Markup(style)}

    return {
        name: [[cell(count, sum(row), t == p) for p, count in enumerate(row)] for t, row in enumerate(matrix)]
        for name, matrix in matrices.items()
    }


def write_multi_run_report(runs: Path, results: Sequence[Figures]) -> Path:
    """Write the comparison page of several runs, and its results as JSON; returns the page's path."""
    stem = "report-" + "-".join(one["name"] for one in results)
    if len(stem) > MAX_FILE_NAME:
        stem = f"report-{len(results)}-runs-{short_hash(stem)}"
    table = comparison_table(results)
    plots = charts.overlay_runs([(one["name"], one["ppo"]["rows"]) for one in results if one["ppo"]])
    write_json(runs / f"{stem}.json", table)
    path = runs / f"{stem}.html"
    write_atomically(path, render(TEMPLATES, "multi_run.html.jinja", table=table, plots=plots).encode())
    return path


def describe(pages: Sequence[Path]) -> str:
    """One line per page, for the terminal."""
    return "\n".join(f"report in {page}" for page in pages)
