"""The graph of neighbouring images, and labels that spread along it (Zhou et al. 2004).

Edges join each image with its nearest neighbours in feature space; their weights fall with the distance, relative to the
distances that are usual around both images (Zelnik-Manor and Perona 2004).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

NEIGHBOURS = 5
MAX_STEPS, TOLERANCE = 500, 1e-6


def neighbour_graph(features: np.ndarray, neighbours: int = NEIGHBOURS) -> sparse.csr_array:
    """The normalised weights D^-1/2 W D^-1/2 of features [N, D], [N, N] and sparse; 0 on the diagonal.

    Args:
        neighbours: of each image; an edge joins two images if either is a neighbour of the other.
    """
    from scipy import sparse  # slow to import: only where they are needed
    from sklearn.neighbors import NearestNeighbors

    count = len(features)
    neighbours = min(neighbours, count - 1)
    distance, index = NearestNeighbors(n_neighbors=neighbours).fit(features).kneighbors()  # without the image itself
    usual = np.maximum(distance[:, -1], 1e-12)
    weight = np.exp(-(distance**2) / (usual[:, None] * usual[index]))
    rows = np.repeat(np.arange(count), neighbours)
    one_way = sparse.csr_array((weight.ravel(), (rows, index.ravel())), shape=(count, count))
    both = one_way.maximum(one_way.T)
    scale = sparse.diags_array(1 / np.sqrt(np.maximum(both.sum(1), 1e-300)))
    return sparse.csr_array(scale @ both @ scale)


def spread(graph: sparse.csr_array, evidence: np.ndarray, share: float) -> np.ndarray:
    """Probabilities [N, C] of the classes of all images; uniform where no evidence arrives.

    The fixed point of F = share * graph F + (1 - share) * evidence, each row divided by its sum.

    Args:
        graph: [N, N], of `neighbour_graph`.
        evidence: [N, C] probabilities of the classes of judged images; zeros for all others.
        share: of an image's probabilities that comes from its neighbours, at least 0 and less than 1.
    """
    own = (1 - share) * evidence
    found = evidence.copy()
    for _ in range(MAX_STEPS):
        found, before = share * (graph @ found) + own, found
        if np.abs(found - before).max() < TOLERANCE * (1 - share):
            break
    total = found.sum(1, keepdims=True)
    return np.where(total > 0, found / np.maximum(total, 1e-300), 1 / evidence.shape[1])
