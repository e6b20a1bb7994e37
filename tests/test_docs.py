"""The documentation matches the code: columns, packages, modules and links."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from feedback_store.agreement import ANNOTATOR_COLUMNS, QUESTION_COLUMNS
from pipeline.config import Config, parse_config
from pipeline.learning.person_seconds import TIMES_COLUMNS
from stages.collect.run import run as collect
from stages.ppo.run import run as ppo
from stages.reference.run import run as reference
from stages.reward.run import run as train_reward

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.glob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY"))]
)


def section(page: str, heading: str) -> str:
    """The text below a heading of a page, up to the next heading of the same level or a higher one."""
    level = heading.split()[0]
    text = (DOCS / page).read_text(encoding="utf-8").split(f"{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{len(level)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """Code in the first cell of each table row."""
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


@pytest.fixture(params=["adamw", "lbfgs"])
def tiny_run(request: pytest.FixtureRequest, image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A finished run with every optional column: an ensemble, a critic, known classes."""
    tree = {
        "name": "tiny",
        "runs": str(tmp_path / "runs"),
        "images": {"root": str(image_folder(train=12, test=4)), "size": 32},
        "model": {"backbone": "squeezenet1_1", "weights": "none", "trainable": "head"},
        "reference": {"optimiser": request.param, "labelled_per_class": 2, "epochs": 1, "calibration_folds": 0},
        "collect": {"count": 20},
        "reward": {"optimiser": request.param, "epochs": 1, "members": 2, "curve": [], "start": "backbone"},
        "ppo": {"iterations": 1, "batch_size": 8, "minibatch_size": 8, "epochs": 1, "estimator": "critic"},
    }
    config: Config = parse_config(tree, "test")
    for stage in (reference, collect, train_reward):
        stage(config)
    ppo(config, force=True)  # whatever the card says of a network that was trained for one epoch
    return tmp_path / "runs" / "tiny"


def test_the_glossary_has_every_column_of_every_stage(tiny_run: Path, request: pytest.FixtureRequest) -> None:
    of = {"adamw": "networks", "lbfgs": "linear heads"}[request.node.callspec.params["tiny_run"]]
    for stage in ("reference", "reward", "ppo"):
        with (tiny_run / stage / "metrics.csv").open(encoding="utf-8") as file:
            written = next(csv.reader(file))
        heading = next(
            line
            for line in (DOCS / "glossary.md").read_text(encoding="utf-8").splitlines()
            if f" {stage}/metrics" in line and (stage == "ppo" or f" of {of}" in line)
        )
        assert first_cells(section("glossary.md", heading)) == set(written), stage


def test_the_glossary_has_every_column_of_the_quality_tables() -> None:
    documented = first_cells(section("glossary.md", "## Columns of the quality tables"))
    assert documented == {*QUESTION_COLUMNS, *ANNOTATOR_COLUMNS, *TIMES_COLUMNS}


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    reasons = (DOCS / "dependencies.md").read_text(encoding="utf-8").lower().replace("_", "-")
    for requirement in wanted:
        name = re.split(r"[<>=\[]", requirement.lower())[0].replace("_", "-")
        assert name == "image-rlhf" or re.search(rf"\b{re.escape(name)}\b", reasons), name


def test_architecture_names_files_that_exist() -> None:
    named = re.findall(
        r"`((?:feedback_store|pipeline|stages|tests)/[\w/.]+\.\w+)`", (DOCS / "architecture.md").read_text("utf-8")
    )
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_architecture_lists_every_room() -> None:
    rooms = section("architecture.md", "## Rooms")
    for package in ("feedback_store", "pipeline", "stages"):
        for folder in sorted({path.parent for path in (ROOT / package).rglob("__init__.py")}):
            inside = folder.relative_to(ROOT / package).as_posix()
            assert inside == "." or re.search(rf"^ +{inside}/ ", rooms, re.MULTILINE), f"{package}/{inside}"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the site and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_notebook_has_pictures_and_no_paths_of_a_machine() -> None:
    text = (DOCS / "tour.ipynb").read_text(encoding="utf-8")
    outputs = [output for cell in json.loads(text)["cells"] for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    assert not any(output["output_type"] == "error" for output in outputs)
    assert re.findall(r"[\"'\s(](/(?:home|root|tmp|work|Users|private)/\S*)", text) == []


@pytest.fixture
def hooks() -> ModuleType:
    """The module that makes the site's pages of the notebook and the top-level files."""
    pytest.importorskip("mkdocs", reason="the documentation needs the extra docs")
    spec = importlib.util.spec_from_file_location("mkdocs_hooks", ROOT / ".ci" / "mkdocs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notebook_becomes_a_page(hooks: ModuleType) -> None:
    picture = {"output_type": "display_data", "data": {"image/png": "aGVsbG8=", "text/plain": "<Figure>"}}
    printed = {"output_type": "stream", "name": "stdout", "text": ["ready\n"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": "show()", "outputs": [printed, picture]},
    ]
    text, pictures = hooks.notebook_page({"cells": cells})
    assert text == "# Title\ntext\n\n```python\nshow()\n```\n\n```text\nready\n```\n\n![Figure](tour-1.png)\n"
    assert pictures == {"tour-1.png": b"hello"}
