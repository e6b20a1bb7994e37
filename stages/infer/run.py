"""After alignment: the policy's predictions for any images, streamed to predictions.csv."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from tqdm import tqdm

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.images.decode import BadImage, decode
from pipeline.images.transforms import normalise
from pipeline.models.files import load_model
from pipeline.models.policy import log_policy
from pipeline.run_folder import RunFolder
from pipeline.runtime import start


class Predicted(NamedTuple):
    """Where the predictions went, how many there are, and what was left out: (path, reason)."""

    path: Path
    predictions: int
    skipped: list[tuple[str, str]]


def find_images(pattern: str) -> list[Path]:
    """The files that a file name, a folder (searched below) or a glob stands for, sorted; hidden files are left out.

    Raises:
        UserError: there is nothing of that name.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        found = sorted(
            p for p in path.rglob("*") if p.is_file() and not any(s.startswith(".") for s in p.relative_to(path).parts)
        )
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207
    if not found:
        raise UserError(f"IMAGES={pattern}: no such file, no file in that folder, and no match for it as a glob")
    return found


def run(config: Config, pattern: str, output: Path | None = None) -> Predicted:
    """Classify images with the aligned policy of the run.

    Args:
        pattern: a file, a folder or a glob.
        output: CSV to write; default runs/<name>/infer/predictions.csv.
    """
    folder = RunFolder(config)
    network, header, _ = load_model(folder.require("ppo", "model.safetensors"), "policy")
    runtime = start(config.runtime)
    network.to(runtime.device)
    files = find_images(pattern)
    output = output or folder.path / "infer" / "predictions.csv"
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    skipped: list[tuple[str, str]] = []
    count = 0

    def load(path: Path) -> np.ndarray | str:
        try:
            return header.transform(decode(path.read_bytes(), config.images.max_pixels))
        except BadImage as bad:
            return str(bad)
        except OSError as error:
            return f"unreadable: {error.strerror}"

    with partial.open("w", newline="", encoding="utf-8") as file, ThreadPoolExecutor() as pool:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", *header.classes])
        bar = tqdm(total=len(files), desc="infer", unit="image", leave=False, disable=None)
        for batch in _batches(files, config.infer.batch_size):
            images = list(pool.map(load, batch))
            skipped += [(str(path), image) for path, image in zip(batch, images, strict=True) if isinstance(image, str)]
            good = [(path, image) for path, image in zip(batch, images, strict=True) if not isinstance(image, str)]
            if good:
                probabilities = _predict(network, np.stack([image for _, image in good]), runtime.device)
                for (path, _), row in zip(good, probabilities, strict=True):
                    writer.writerow([path, header.classes[row.argmax()], *(f"{p:.6f}" for p in row)])
            count += len(good)
            bar.update(len(batch))
        bar.close()
        file.flush()
        os.fsync(file.fileno())
    partial.replace(output)
    if not count:
        raise UserError(
            f"IMAGES={pattern}: none of {len(files)} files is a usable image; the first: {skipped[0][0]}: {skipped[0][1]}"
        )
    return Predicted(output, count, skipped)


def _batches(files: Iterable[Path], size: int) -> Iterator[list[Path]]:
    rest = iter(files)
    while batch := list(islice(rest, size)):
        yield batch


@torch.no_grad()
def _predict(network: torch.nn.Module, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    """uint8 [B, H, W, 3] to class probabilities [B, C]."""
    logits = network(normalise(torch.from_numpy(pixels).to(device)))
    probabilities: np.ndarray = log_policy(logits).exp().cpu().numpy()
    return probabilities


def describe(predicted: Predicted) -> str:
    """What was done, for the terminal; every file left out by name."""
    lines = [click.style("infer", bold=True) + f"      {predicted.predictions} predictions in {predicted.path}"]
    lines += [f"  left out: {path}: {reason}" for path, reason in predicted.skipped]
    return "\n".join(lines)
