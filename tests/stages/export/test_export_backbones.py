"""Every family of backbones exported: ONNX and torch.export agree with PyTorch for any number of images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.export_packages import needs
from torch import nn
from torchvision.models import MobileNetV3, ResNet, ShuffleNetV2, SwinTransformer, VisionTransformer
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.resnet import BasicBlock

from pipeline.config import ModelConfig
from pipeline.data.sources.digits import write_digits
from pipeline.data.transforms import normalise
from pipeline.models.backbone import build_network
from pipeline.models.policy import final_linear
from pipeline.models.predictor import Predictor
from pipeline.models.serialization import ModelHeader
from stages.export.graph import trace, write_onnx, write_torch
from stages.export.verify_export import Sample, check


def both_agree(network: nn.Module, backbone: str, pixels: np.ndarray, calibrate: bool = True) -> None:
    """ONNX and torch.export of a network whose answers differ from image to image: others would agree with anything."""
    torch.manual_seed(0)
    inputs, head = normalise(torch.from_numpy(pixels)), final_linear(network)
    with torch.no_grad():
        nn.init.normal_(head.weight)
        if calibrate:  # random weights: with a new BatchNorm's statistics nothing comes out of a deep network
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None
            network.train()(inputs)
        logits = network.eval()(inputs)
        head.weight /= logits.std(0)[:, None]
        head.bias -= logits.mean(0) / logits.std(0)
    size = pixels.shape[1]
    predictor = Predictor(network, ModelHeader("policy", backbone, ("a", "b", "c"), size, size))
    sample = Sample(pixels, predictor.log_probs(pixels).exp().numpy())
    assert sample.probabilities.std(0).min() > 0.1
    program = trace(predictor)
    with tempfile.TemporaryDirectory() as folder:  # some are hundreds of megabytes, which pytest would keep
        for what, write in (("model.onnx", write_onnx), ("model.pt2", write_torch)):
            found = check(what, write(predictor, program, Path(folder)), sample)
            print(f"{backbone} {what}: {found:.1e}")


# The blocks of these in a network of few and narrow ones: more of them show no other operation.
SMALL: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v3_small": lambda: MobileNetV3(
        [
            InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1),
            InvertedResidualConfig(16, 5, 64, 24, True, "HS", 2, 1, 1),
            InvertedResidualConfig(24, 5, 96, 24, True, "HS", 1, 1, 1),
        ],
        32,
        num_classes=3,
    ),
    "resnet18": lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3),
    "shufflenet_v2_x0_5": lambda: ShuffleNetV2([2, 2, 2], [24, 48, 96, 192, 64], num_classes=3),
    "swin_t": lambda: SwinTransformer([4, 4], 24, depths=[1, 2], num_heads=[2, 4], window_size=[7, 7], num_classes=3),
    "vit_b_32": lambda: VisionTransformer(64, 32, 2, 4, hidden_dim=64, mlp_dim=128, num_classes=3),
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Some of the digits' image files."""
    return sorted(write_digits(tmp_path_factory.mktemp("data") / "digits").rglob("test/*/*.png"))[::100]


@pytest.mark.long
@pytest.mark.parametrize(
    ("backbone", "size"),
    [("resnet18", 32), ("mobilenet_v3_small", 32), ("shufflenet_v2_x0_5", 48), ("swin_t", 32), ("vit_b_32", 64)],
)
def test_backbones(backbone: str, size: int, digits: list[Path]) -> None:
    """Convolutions, squeeze and excitation, channel shuffles (reshapes), windows, attention: any number of images."""
    needs("onnx")
    header = ModelHeader("policy", backbone, ("a", "b", "c"), size, size)
    prepare = Predictor(nn.Identity(), header).prepare
    pixels = np.stack([prepare(path) for path in digits])
    torch.manual_seed(0)
    both_agree(SMALL[backbone]().to(memory_format=torch.channels_last).eval(), backbone, pixels)


@pytest.mark.long
def test_real_weights_on_real_photographs(shared: Path) -> None:
    """SqueezeNet with ImageNet's weights on ants and bees at 224 pixels."""
    needs("onnx")
    weights = shared / "weights" / "squeezenet1_1_imagenet.safetensors"
    network = build_network(ModelConfig(backbone="squeezenet1_1", weights=str(weights)), 3, seed=0)
    header = ModelHeader("policy", "squeezenet1_1", ("a", "b", "c"), 224, 256)
    prepare = Predictor(nn.Identity(), header).prepare
    photographs = sorted((shared / "data" / "hymenoptera" / "val").rglob("*.jpg"))
    assert len(photographs) > 30
    pixels = np.stack([prepare(path) for path in photographs[::5]])
    both_agree(network, "squeezenet1_1", pixels, calibrate=False)
