"""`make export`: the policy for other programs, as ONNX, torch.export and a folder in the Hugging Face layout.

Files are written to a temporary folder, compared with PyTorch on real images, and only then moved to their place.
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
    """The path of each format with its largest difference to PyTorch, and the number of images compared."""

    differences: dict[Path, float]
    images: int


@one_process("export")
def run(config: Config, formats: Sequence[str] = FORMATS) -> Exported:
    """Write runs/<name>/export/{model.onnx, model.pt2, huggingface/}, those of `formats`.

    Raises:
        UserError: no policy yet, a package is missing, or an export does not agree with PyTorch; no file changes then.
    """
    formats = [name for name in FORMATS if name in formats]
    require_packages(formats)
    ws = open_workspace(config)
    policy = ws.run.require(*POLICY.split("/"))
    # A graph stores its device and precision, and other machines may have no GPU and no bfloat16.
    cpu = config.runtime.model_copy(update={"device": "cpu", "precision": "fp32"})
    predictor = Predictor.load(policy, cpu)
    sample = Sample.of(ws, predictor)
    program = trace(predictor) if {"onnx", "torch"} & set(formats) else None
    target = ws.run.path / "export"
    target.mkdir(parents=True, exist_ok=True)
    differences: dict[Path, float] = {}
    try:
        with tempfile.TemporaryDirectory(dir=target, prefix=".making-") as temporary:
            folder = Path(temporary)
            if program and "onnx" in formats:
                differences[target / "model.onnx"] = check("model.onnx", write_onnx(predictor, program, folder), sample)
            if program and "torch" in formats:
                differences[target / "model.pt2"] = check("model.pt2", write_torch(predictor, program, folder), sample)
            if "huggingface" in formats:
                write_folder(folder / "huggingface", ws, policy, predictor)
                differences[target / "huggingface"] = check(
                    "huggingface/", load_exported(folder / "huggingface", cpu), sample
                )
            move_into_place(folder, target)
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


def load_exported(folder: Path, runtime: RuntimeConfig) -> PredictFunction:
    """The outputs of an exported folder, loaded as its users do."""
    predictor = Predictor.load(folder, runtime)

    def answer(pixels: np.ndarray) -> Outputs:
        log_probs = predictor.log_probs(pixels)
        return log_probs.exp().numpy(), log_probs.numpy()

    return answer


def move_into_place(new_folder: Path, target: Path) -> None:
    """Replace the files and folders in `target` by those in `new_folder`, each in one step."""
    if (new_folder / "model.onnx").is_file():
        (target / "model.onnx.data").unlink(missing_ok=True)  # of an earlier, larger model
    for new in sorted(new_folder.iterdir()):
        old = target / new.name
        if old.is_dir():  # a folder cannot be replaced: it is moved away first, and deleted with `new_folder`
            old.replace(new_folder / f".old-{new.name}")
        new.replace(old)


def describe(exported: Exported) -> str:
    """A summary for the terminal."""
    width = max(len(str(path)) for path in exported.differences)
    lines = [f"{path!s:{width}}  {found:.1e}" for path, found in exported.differences.items()]
    head = f"      largest difference of a probability to PyTorch's, on {exported.images} evaluation images:"
    return "\n".join([click.style("export", bold=True) + head, *(f"  {line}" for line in lines)])
