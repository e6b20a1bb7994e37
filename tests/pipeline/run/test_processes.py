"""Several processes compute shares of a minibatch: outputs, gradients, BatchNorm and dropout are those of one process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.process_group import in_processes
from support.process_jobs import Arrays, steps

from pipeline.run.runtime import Runtime

ONE = Runtime(torch.device("cpu"))


def assert_same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_shares_by_hand() -> None:
    """Five rows in three processes: 2, 2 and 1; two rows: the third has none, and a placeholder that does not count."""
    for size, parts, empty in (
        (5, [[0, 1], [2, 3], [4]], [False] * 3),
        (2, [[0], [1], [0]], [False, False, True]),
    ):
        shares = [Runtime(ONE.device, rank, 3).share(size) for rank in range(3)]
        assert [share.positions.tolist() for share in shares] == parts
        assert [share.empty for share in shares] == empty
        assert [share.size for share in shares] == [size] * 3


def test_one_process_shares_nothing() -> None:
    share, rows = ONE.share(3), torch.tensor([1.0, 2.0, 3.0])
    assert share.positions.tolist() == [0, 1, 2]
    assert ONE.gather(rows, share) is rows
    assert ONE.divided(3, lambda own: rows[own]).tolist() == [1.0, 2.0, 3.0]
    module = torch.nn.Linear(1, 1)
    assert ONE.prepare(module) is module


def test_outputs_are_gathered_in_order() -> None:
    """Three processes, five rows and then two; each has the gradient of its own rows, times three, which is averaged."""
    found = in_processes(3, "gathered", size=5)
    assert [one["doubled"] for one in found] == [[0.0, 2.0, 4.0, 6.0, 8.0]] * 3
    assert [one["gradient"] for one in found] == [[3.0, 6.0], [9.0, 12.0], [15.0]]
    assert [one["of_main"] for one in found] == ["rank 0"] * 3
    found = in_processes(3, "gathered", size=2)
    assert [one["doubled"] for one in found] == [[0.0, 2.0]] * 3
    assert [one["gradient"] for one in found] == [[3.0], [6.0], [0.0]]


@pytest.mark.parametrize(("world", "size"), [(2, 5), (4, 3)])
def test_batchnorm_is_that_of_one_process(world: int, size: int) -> None:
    """Uneven shares, and an empty one: losses, gradients, weights after two steps and running statistics."""
    expected = steps(ONE, "batchnorm", size)
    for found in in_processes(world, "steps", kind="batchnorm", size=size):
        assert_same(found, expected)


@pytest.mark.parametrize(("world", "size"), [(2, 5), (4, 3)])
def test_dropout_is_that_of_one_process(world: int, size: int) -> None:
    """Dropout of values and of channels, and stochastic depth; the random stream ends at the same place in all processes."""
    expected = steps(ONE, "dropout", size)
    for found in in_processes(world, "steps", kind="dropout", size=size):
        assert_same(found, expected)
    assert len(np.unique(expected["logits0"], axis=0)) > 1


@pytest.mark.parametrize(("world", "size"), [(2, 3), (3, 2)])
def test_batchnorm_gradient_is_that_of_finite_differences(world: int, size: int) -> None:
    assert max(max(worst) for worst in in_processes(world, "batchnorm_gradient", size=size)) < 1e-6
