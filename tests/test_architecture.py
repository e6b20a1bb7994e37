"""The house's rules (docs/architecture.md), enforced."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("feedback_store", "pipeline", "stages")
ALLOWED = {
    "feedback_store": {"feedback_store"},
    "pipeline": {"pipeline", "feedback_store"},
    "stages": {"stages", "pipeline", "feedback_store"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    for path in modules(package):
        for name in imported(path):
            top = name.split(".")[0]
            assert top not in PACKAGES or top in ALLOWED[package], f"{path.relative_to(ROOT)} imports {name}"


def test_facts_need_neither_torch_nor_images() -> None:
    for path in modules("feedback_store"):
        assert not {name.split(".")[0] for name in imported(path)} & {"torch", "torchvision", "PIL"}, path


def stage_of(module: str) -> str:
    """The stage a dotted module name belongs to: stages.ppo.loss -> ppo."""
    return module.split(".")[1] if module.count(".") else ""


def test_stages_do_not_import_each_other() -> None:
    for path in modules("stages"):
        own = path.relative_to(ROOT / "stages").parts[0].removesuffix(".py")
        if own == "cli":
            continue
        for name in imported(path):
            if name.startswith("stages"):
                assert stage_of(name) == own, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("task", ["control"])
def test_nothing_else_imports_the_packages_of_other_tasks(task: str) -> None:
    own = (f"pipeline/{task}/", f"stages/{task}/")
    for package in PACKAGES:
        for path in modules(package):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(own):
                found = [one for one in imported(path) if one.startswith((f"pipeline.{task}", f"stages.{task}"))]
                assert not found, f"{name} imports {found[0]}"


def test_values_are_used_in_one_place() -> None:
    """Value-based methods are a package of their own, which one module makes methods of the comparison."""
    own = {path for path in modules("pipeline") if path.is_relative_to(ROOT / "pipeline" / "values")}
    users = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in set(modules(package)) - own
        if any(name.startswith("pipeline.values") for name in imported(path))
    }
    assert users == {"stages/compare/value_baselines.py"}


def test_learners_cannot_be_handed_gold_labels() -> None:
    """Decision 2: nothing that learns from judgments or rewards has an argument for gold labels."""
    for path in (*modules("stages/reward"), *modules("stages/ppo")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                annotations = [ast.unparse(a.annotation) for a in node.args.args if a.annotation]
                assert "GoldLabels" not in " ".join(annotations), f"{path.relative_to(ROOT)}: {node.name}"


def test_top_level_is_fixed() -> None:
    named = {"pipeline", "stages", "feedback_store", "configs", "tests", "docs", "benchmarks"}
    named |= {"Makefile", "pyproject.toml", "README.md", "LICENSE", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    made = {"runs", "data", "feedback", "build", "dist", "__pycache__"}
    found = {p.name for p in ROOT.iterdir() if not p.name.startswith(".") and not p.name.endswith(".egg-info")}
    assert found - made <= named, found - made - named
