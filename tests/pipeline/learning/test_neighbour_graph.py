"""The graph of neighbours and what spreads along it, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from pipeline.learning.neighbour_graph import neighbour_graph, spread


def test_three_images_on_a_line() -> None:
    """At 0, 1 and 3 with one neighbour each: 0 and 1 are each other's at distance 1, 3 has 1 at distance 2.

    Weights: e^{-1/(1 * 1)} and, as 2 is usual around 3 and 1 around 1, e^{-4/(2 * 1)}.
    """
    graph = neighbour_graph(np.array([[0.0], [1.0], [3.0]]), neighbours=1).toarray()
    first, second = math.exp(-1), math.exp(-2)
    degrees = first, first + second, second
    expected = np.zeros((3, 3))
    expected[0, 1] = expected[1, 0] = first / math.sqrt(degrees[0] * degrees[1])
    expected[1, 2] = expected[2, 1] = second / math.sqrt(degrees[1] * degrees[2])
    assert graph == pytest.approx(expected)


def test_the_fixed_point_of_a_chain() -> None:
    """Four images in a row; the first is class 0, the last class 1.

    With edges of 1/2 and share 1/2, F = graph F / 2 + evidence / 2: for class 0 from the first image on,
    f1 = f2/4 + 1/2, f2 = (f1 + f3)/4, f3 = (f2 + f4)/4, f4 = f3/4, which (56, 15, 4, 1) times a constant solve.
    """
    chain = sparse.diags_array([[0.5] * 3, [0.5] * 3], offsets=[-1, 1])
    evidence = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    found = spread(sparse.csr_array(chain), evidence, 0.5)
    far = np.array([56.0, 15.0, 4.0, 1.0])
    expected = np.stack([far, far[::-1]], 1)
    assert found == pytest.approx(expected / expected.sum(1, keepdims=True), abs=1e-5)


def test_images_that_nothing_reaches_are_uniform() -> None:
    graph = sparse.csr_array(np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    found = spread(graph, np.array([[0.9, 0.1], [0.0, 0.0], [0.0, 0.0]]), 0.9)
    assert found[1] == pytest.approx([0.9, 0.1])
    assert found[2] == pytest.approx([0.5, 0.5])


def test_copies_of_one_image() -> None:
    graph = neighbour_graph(np.zeros((4, 2)), neighbours=2)
    assert np.isfinite(graph.toarray()).all()
