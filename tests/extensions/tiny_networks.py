"""A backbone source in a single file: one network of two layers, with a normalisation of its own."""

from __future__ import annotations

from torch import nn

from pipeline.data.transforms import Normalisation
from pipeline.models.sources import BackboneSource, DataConfiguration, fit_weights


class TinyNetworks(BackboneSource):
    """Networks for images of any size."""

    def names(self) -> tuple[str, ...]:
        return ("conv",)

    def build(self, name: str, classes: int, weights: str, seed: int) -> nn.Module:
        head = nn.Linear(16, classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        convolution = nn.Conv2d(3, 16, kernel_size=3, stride=2)
        network = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.AvgPool2d(2), nn.Flatten(), head)
        return network if weights == "none" else fit_weights(network, weights, name)

    def data_configuration(self, name: str) -> DataConfiguration:
        return DataConfiguration(Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), interpolation="bicubic")


TINY = TinyNetworks()
