"""bfloat16: chosen as told, measured once, close to float32; and BatchNorm folded into convolutions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.config import ModelConfig, RuntimeConfig
from pipeline.errors import UserError
from pipeline.models import precision
from pipeline.models.backbone import build_network
from pipeline.models.fold_batchnorm import fold_batchnorm
from pipeline.models.precision import VARIABLE, autocast, choose_bf16

CPU = torch.device("cpu")


def network(name: str = "tiny") -> nn.Module:
    made = build_network(ModelConfig(backbone=name, weights="none"), 3, seed=0)
    random = torch.Generator().manual_seed(0)
    for module in made.modules():  # statistics and weights of a trained one
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=random))  # type: ignore[union-attr]
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=random))  # type: ignore[union-attr]
            nn.init.normal_(module.weight, 1, 0.1, generator=random)
    return made


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        "resnet18",
        "mobilenet_v3_small",
        "shufflenet_v2_x0_5",
        "densenet121",
        pytest.param("vit_b_32", marks=pytest.mark.long),
    ],
)
def test_folding_changes_no_output(name: str) -> None:
    """densenet121's BatchNorm comes before its convolutions, and is kept; vit_b_32 has none."""
    own, size = network(name), 64
    with torch.no_grad():
        images = torch.randn(2, 3, size, size) if name != "vit_b_32" else torch.randn(2, 3, 224, 224)
        folded = fold_batchnorm(own)
        expected = own(images)
        assert folded(images).numpy() == pytest.approx(
            expected.numpy(), rel=1e-3, abs=1e-4 * float(expected.abs().max() + 1)
        )
    count = sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert count == 0 or name == "densenet121"
    assert any(isinstance(module, nn.BatchNorm2d) for module in own.modules()) or name == "vit_b_32", (
        "the original is whole"
    )


def test_a_network_that_cannot_be_traced_stays() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    own = Branching()
    assert fold_batchnorm(own) is own


def test_a_network_without_batchnorm_stays() -> None:
    own = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    assert fold_batchnorm(own) is own


def test_a_convolution_used_twice_is_not_folded() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.convolution(self.convolution(x)))

    own = Twice().eval()
    own.norm.running_mean.fill_(0.3)  # type: ignore[union-attr]
    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        assert fold_batchnorm(own)(x).numpy() == pytest.approx(own(x).numpy(), abs=1e-6)


def test_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting, then the variable, then a measurement."""
    monkeypatch.setenv(VARIABLE, "fp32")
    told = {"size": 16, "name": "tiny", "device": CPU}
    assert choose_bf16(RuntimeConfig(precision="bf16"), network, **told)
    assert not choose_bf16(RuntimeConfig(precision="fp32"), network, **told)
    assert not choose_bf16(RuntimeConfig(), network, **told)
    monkeypatch.setenv(VARIABLE, "bf16")
    assert choose_bf16(RuntimeConfig(), network, **told)
    monkeypatch.setenv(VARIABLE, "fp16")
    with pytest.raises(UserError, match="IMAGE_RLHF_PRECISION=fp16: it is not one of auto, fp32, bf16"):
        choose_bf16(RuntimeConfig(), network, **told)


def test_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A gain is kept in the user's cache folder; a damaged file is measured again, a file in its place does no harm."""
    monkeypatch.setenv(VARIABLE, "auto")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    gains = [1.6, 1.4, 1.5]
    monkeypatch.setattr(precision, "measure_gain", lambda *_: gains.pop(0))
    told = {"size": 16, "name": "tiny", "device": CPU}
    assert choose_bf16(RuntimeConfig(), network, **told)
    assert choose_bf16(RuntimeConfig(), network, **told)
    assert len(gains) == 2
    (file,) = (tmp_path / "image-rlhf" / "precision").glob("*.json")
    file.write_text("{")
    assert not choose_bf16(RuntimeConfig(), network, **told)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose_bf16(RuntimeConfig(), network, **told)
    assert not gains


def test_a_real_measurement() -> None:
    assert 0.01 < precision.measure_gain(network(), 16, CPU) < 100


def test_autocast_is_close_and_float32_outside() -> None:
    own, images = network("resnet18"), torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        with autocast(CPU, True):
            low = own(images)
        with autocast(CPU, False):
            high = own(images)
    assert (low.dtype, high.dtype) == (torch.bfloat16, torch.float32)
    assert (low.softmax(-1) - high.softmax(-1)).abs().max() < 0.05
