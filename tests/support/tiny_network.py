"""`tiny`: a network of three convolutions among torchvision's, for tests in which any network will do.

A training step takes 3 ms where ResNet18's takes 130, and its file has 50 kB. It has what training must not lose:
BatchNorm's statistics and dropout. `python -m support.tiny_network` is the command line that knows it, too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import list_models
from torchvision.models._api import register_model

BACKBONE = "tiny"


class TinyNetwork(nn.Module):
    """Three blocks, pooling, dropout, and a linear layer of 1,000 outputs in the place of every torchvision network's."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(self._block(3, 16, 1), self._block(16, 32, 2), self._block(32, 32, 2))
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(32, 1000)

    @staticmethod
    def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        # Few steps must do: running statistics follow quickly.
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs, momentum=0.3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Scores [B, 1000] of images [B, 3, H, W]."""
        return self.classifier(self.dropout(torch.flatten(self.features(x).mean((2, 3)), 1)))  # type: ignore[no-any-return]


def tiny(**_: object) -> nn.Module:
    """torchvision's signature: keyword arguments such as `weights`, which there are none of."""
    return TinyNetwork()


tiny.__module__ = "torchvision.models.tiny"  # by it torchvision tells classification networks from others
if BACKBONE not in list_models():
    register_model()(tiny)

if __name__ == "__main__":
    from stages.cli import main

    main()
