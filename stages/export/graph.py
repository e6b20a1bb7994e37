"""The policy as a graph for other programs: uint8 pixels in, probabilities out, any number of images at once.

Normalisation is part of the graph, since a caller who forgets it gets wrong predictions without an error.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pipeline.data.transforms import IMAGENET, Normalisation, normalise
from pipeline.errors import UserError
from pipeline.models.policy import log_policy
from pipeline.models.predictor import Predictor
from pipeline.models.serialization import ModelHeader

INPUT, OUTPUTS = "pixels", ("probabilities", "logits")
EXTRA = "image_rlhf.json"  # file in a .pt2 with the metadata
Outputs = tuple[np.ndarray, np.ndarray]
PredictFunction = Callable[[np.ndarray], Outputs]  # uint8 [B, size, size, 3] to probabilities [B, C] and logits [B, C]


class PixelsToClasses(nn.Module):
    """uint8 [B, size, size, 3] to probabilities [B, C] and logits [B, C]."""

    def __init__(self, network: nn.Module, normalisation: Normalisation = IMAGENET) -> None:
        super().__init__()
        self.network, self.normalisation = network, normalisation

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(normalise(pixels, self.normalisation))
        return log_policy(logits).exp(), logits


def metadata(header: ModelHeader, weights: str) -> dict[str, str]:
    """What is needed to use the graph, as strings.

    Args:
        weights: hash of the weights the graph was made from.
    """
    return {
        "classes": json.dumps(list(header.classes), ensure_ascii=False),
        "size": str(header.size),
        "resize": str(header.resize),
        "input": f"uint8 RGB [batch, {header.size}, {header.size}, 3]: the shorter side resized to {header.resize} pixels "
        f"({header.interpolation}, antialiased), then the centre square of {header.size}; not normalised",
        "backbone": header.network,
        "weights_sha256": weights,
        "producer": "image-rlhf",
    }


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporters' logs and warnings; their output is compared with PyTorch afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def trace(predictor: Predictor) -> ExportedProgram:
    """The policy's graph, for any number of images.

    Raises:
        UserError: this torch cannot trace this network.
    """
    size = predictor.header.size
    # Two images: torch specialises a dimension of size one.
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8, device=predictor.device)
    try:
        with _quietly(), torch.no_grad():
            return torch.export.export(
                PixelsToClasses(predictor.network, predictor.header.normalisation).eval(),
                (example,),
                dynamic_shapes={INPUT: {0: Dim("batch", min=1)}},
            )
    except Exception as error:  # what the tracer raises is not documented
        raise _export_error(predictor, "torch.export", error) from error


def _export_error(predictor: Predictor, what: str, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(
        f"{what} of torch {torch.__version__} cannot export {predictor.header.network} ({reason}); FORMAT=huggingface "
        "needs no graph"
    )


def write_torch(predictor: Predictor, program: ExportedProgram, folder: Path) -> PredictFunction:
    """Write model.pt2 for `torch.export.load`; returns a function that runs the file."""
    path = folder / "model.pt2"
    facts = json.dumps(metadata(predictor.header, predictor.weights), ensure_ascii=False)
    with _quietly():
        torch.export.save(program, path, extra_files={EXTRA: facts})
        module = torch.export.load(path).module()

    @torch.no_grad()
    def answer(pixels: np.ndarray) -> Outputs:
        probabilities, logits = module(torch.from_numpy(pixels))
        return probabilities.numpy(), logits.numpy()

    return answer


def write_onnx(predictor: Predictor, program: ExportedProgram, folder: Path) -> PredictFunction:
    """Write model.onnx (and model.onnx.data, above 2 GB); returns a function that runs it with onnxruntime."""
    import onnxruntime

    path = folder / "model.onnx"
    try:
        with _quietly():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes={INPUT: {0: "batch"}},
            )
            assert exported is not None
            exported.model.metadata_props.update(metadata(predictor.header, predictor.weights))
            exported.save(path)
    except Exception as error:  # what the converter raises is not documented either
        raise _export_error(predictor, "torch.onnx", error) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def answer(pixels: np.ndarray) -> Outputs:
        probabilities, logits = session.run(list(OUTPUTS), {INPUT: pixels})
        return probabilities, logits

    return answer
