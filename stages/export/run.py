"""The policy for other programs: ONNX, torch.export, and a folder in the Hugging Face layout.

Everything is made in a folder nobody sees, checked against PyTorch on real images, and only then put in its place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from pipeline.config import Config, RuntimeConfig
from pipeline.errors import UserError
from pipeline.models.predictor import POLICY, Predictor
from pipeline.run.optional_packages import missing
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import open_workspace
from stages.export.graph import Outputs, PredictFunction, trace, write_onnx, write_torch
from stages.export.huggingface import write_folder
from stages.export.verify_export import Sample, check

FORMATS = ("onnx", "torch", "huggingface")
PACKAGES = {"onnx": ("onnx", "onnxruntime", "onnxscript")}


@dataclass(frozen=True)
class Exported:
    """What was made: the place of each format with its largest difference to PyTorch, and on how many images."""

    differences: dict[Path, float]
    images: int


@one_process("export")
def run(config: Config, formats: Sequence[str] = FORMATS) -> Exported:
    """Make runs/<name>/export/{model.onnx, model.pt2, huggingface/}, as many of them as are asked for.

    Raises:
        UserError: no policy yet, a package is missing, or an export does not agree with PyTorch; nothing is changed then.
    """
    formats = [name for name in FORMATS if name in formats]
    require_packages(formats)
    ws = open_workspace(config)
    policy = ws.run.require(*POLICY.split("/"))
    cpu = config.runtime.model_copy(
        update={"device": "cpu"}
    )  # a graph remembers its device, and others may have no GPU
    predictor = Predictor.load(policy, cpu)
    sample = Sample.of(ws, predictor)
    program = trace(predictor) if {"onnx", "torch"} & set(formats) else None
    target = ws.run.path / "export"
    target.mkdir(parents=True, exist_ok=True)
    differences: dict[Path, float] = {}
    try:
        with tempfile.TemporaryDirectory(dir=target, prefix=".making-") as made:
            folder = Path(made)
            if program and "onnx" in formats:
                differences[target / "model.onnx"] = check("model.onnx", write_onnx(predictor, program, folder), sample)
            if program and "torch" in formats:
                differences[target / "model.pt2"] = check("model.pt2", write_torch(predictor, program, folder), sample)
            if "huggingface" in formats:
                write_folder(folder / "huggingface", ws, policy, predictor)
                differences[target / "huggingface"] = check("huggingface/", loaded(folder / "huggingface", cpu), sample)
            put_in_place(folder, target)
    finally:
        if not any(target.iterdir()):
            target.rmdir()
    return Exported(differences, len(sample.pixels))


def require_packages(formats: Sequence[str]) -> None:
    """Raise UserError if a format needs a package that is not installed."""
    for name in formats:
        if lacking := missing(PACKAGES.get(name, ())):
            others = " ".join(other for other in FORMATS if other not in PACKAGES)
            raise UserError(
                f"FORMAT={name} needs {', '.join(lacking)}: pip install 'image-rlhf[{name}]', or export the others with "
                f'FORMAT="{others}"'
            )


def loaded(folder: Path, runtime: RuntimeConfig) -> PredictFunction:
    """What an exported folder answers, loaded as its users do."""
    predictor = Predictor.load(folder, runtime)

    def answer(pixels: np.ndarray) -> Outputs:
        log_probs = predictor.log_probs(pixels)
        return log_probs.exp().numpy(), log_probs.numpy()

    return answer


def put_in_place(made: Path, target: Path) -> None:
    """Replace what stands in `target` by what was made, each file or folder whole."""
    if (made / "model.onnx").is_file():
        (target / "model.onnx.data").unlink(missing_ok=True)  # of a larger model that stood here before
    for new in sorted(made.iterdir()):
        old = target / new.name
        if old.is_dir():  # a folder cannot be replaced in one step: it goes aside first, and with `made` in the end
            old.replace(made / f".old-{new.name}")
        new.replace(old)


def describe(exported: Exported) -> str:
    """What was made, for the terminal."""
    width = max(len(str(path)) for path in exported.differences)
    lines = [f"{path!s:{width}}  {found:.1e}" for path, found in exported.differences.items()]
    head = f"      largest difference of a probability to PyTorch's, on {exported.images} evaluation images:"
    return "\n".join([click.style("export", bold=True) + head, *(f"  {line}" for line in lines)])
