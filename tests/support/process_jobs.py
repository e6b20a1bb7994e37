"""What tests run in several processes (`process_group.in_processes`): each returns what it found, as plain arrays."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from pipeline.config import RuntimeConfig
from pipeline.run.runtime import Runtime, start

Arrays = dict[str, np.ndarray]


def network(kind: str) -> nn.Module:
    """A small network of images [B, 3, 6, 6], always with the same weights."""
    torch.manual_seed(0)
    normalise: list[nn.Module] = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()]
    if kind == "dropout":
        normalise = [nn.Conv2d(3, 4, 3), nn.Dropout2d(0.1), StochasticDepth(0.2, "row"), nn.Flatten(), nn.Dropout(0.5)]
    return nn.Sequential(*normalise, nn.Linear(64, 5), *[nn.BatchNorm1d(5, affine=False)] * (kind != "dropout"))


def steps(runtime: Runtime, kind: str, size: int) -> Arrays:
    """Loss, gradients and buffers of two steps on minibatches of `size` images, in train mode."""
    module = network(kind).double()
    prepared = runtime.prepare(module)
    data = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    found: Arrays = {}
    for step in range(2):
        images = 3 + torch.randn(size, 3, 6, 6, generator=data, dtype=torch.double)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.randint(5, (size,), generator=data)
        share = runtime.share(size)
        with runtime.minibatch(share):
            outputs = prepared(images[share.positions])
        logits = runtime.gather(outputs, share)
        loss = functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found |= {f"loss{step}": loss.detach().numpy(), f"logits{step}": logits.detach().numpy()}
    found |= {f"grad {name}": _array(p.grad) for name, p in module.named_parameters()}
    found |= {f"state {name}": _array(value) for name, value in module.state_dict().items()}
    return found | {"stream": torch.get_rng_state().numpy()}


def _array(value: Tensor | None) -> np.ndarray:
    assert value is not None
    return value.detach().numpy().copy()


def batchnorm_gradient(runtime: Runtime, size: int) -> list[float]:
    """Largest differences of the analytic gradient from central differences, of x, weight and bias."""
    from pipeline.models.shared_batchnorm import batch_norm

    random = torch.Generator().manual_seed(3)
    x, target = (torch.randn(size, 3, 2, generator=random, dtype=torch.double) for _ in range(2))
    weight, bias = torch.randn(2, 3, generator=random, dtype=torch.double)
    share = runtime.share(size)

    def loss(*of: Tensor) -> Tensor:
        own = batch_norm(of[0][share.positions], of[1], of[2], None, momentum=0.1, eps=0.1, counted=not share.empty)
        return (runtime.gather(own, share) * target).square().sum()

    variables = [value.clone().requires_grad_() for value in (x, weight, bias)]
    loss(*variables).backward()
    worst = []
    for number, variable in enumerate(variables):
        assert variable.grad is not None
        analytic = runtime.total(variable.grad.clone()) / runtime.world
        numeric = torch.zeros_like(variable)
        for at in np.ndindex(*variable.shape):
            moved = []
            for step in (1e-5, -1e-5):
                shifted = [value.detach().clone() for value in variables]
                shifted[number][at] += step
                moved.append(float(loss(*shifted)))
            numeric[at] = (moved[0] - moved[1]) / 2e-5
        worst.append(float((analytic - numeric).abs().max()))
    return worst


def gathered(runtime: Runtime, size: int) -> dict[str, Any]:
    """Shares of `size` rows, what `divided` and `of_main` make of them, and the gradient of a gathered output."""
    share = runtime.share(size)
    doubled = runtime.divided(size, lambda own: 2 * own[:, None].float())
    own = share.positions.float().requires_grad_()
    (runtime.gather(own, share) * torch.arange(1.0, size + 1)).sum().backward()
    assert own.grad is not None
    return {
        "positions": share.positions.tolist(),
        "empty": share.empty,
        "doubled": doubled[:, 0].tolist(),
        "gradient": own.grad.tolist(),
        "of_main": runtime.of_main(lambda: f"rank {runtime.rank}"),
    }


if __name__ == "__main__":
    job, arguments, folder = sys.argv[1:]
    torch.set_num_threads(1)
    runtime = start(RuntimeConfig(device="cpu", process_timeout=60))
    returned = {"steps": steps, "batchnorm_gradient": batchnorm_gradient, "gathered": gathered}[job](
        runtime, **json.loads(arguments)
    )
    (Path(folder) / str(runtime.rank)).write_bytes(pickle.dumps(returned))
