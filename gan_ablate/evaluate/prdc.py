"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) from stored features.

All four ask which points lie in the balls around each real or generated point that reach to its k-th nearest neighbour
of its own kind. Distances come block by block from matrix products, |x|^2 + |y|^2 - 2 x.y, of features centred on the
real mean. In float64: in float32 the cancellation decides ties, and ties are what a generator that repeats itself or
its training images makes. Balls are closed, and a ball's radius is 1e-12 wider than computed so that rounding
does not decide either.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

MANIFOLD_K = 3  # precision and recall: Kynkaanniemi et al. 2019
DENSITY_K = 5  # density and coverage: Naeem et al. 2020
ELEMENTS = 1 << 20  # distances in one block: 8 MiB
SLACK = 1e-12  # relative; the rounding of a float64 distance is some 1e-15 of the norms


@torch.no_grad()
def squared_radii(features: Tensor) -> Tensor:
    """Squared distances (N, 2) float64 of each row of features (N, d), N >= 2, to its 3rd and its 5th nearest other
    row; to its farthest where there are fewer."""
    x = features.double()
    x = x - x.mean(0)
    return _radii(x, (MANIFOLD_K, DENSITY_K))


@torch.no_grad()
def precision_recall_density_coverage(fake: Tensor, real: Tensor, real_radii: Tensor) -> dict[str, float]:
    """The four figures of generated features (N, d) against real ones (M, d) with their `squared_radii` (M, 2).

    precision: share of generated points in the ball (k = 3) of at least one real point, 0 to 1: fidelity.
    recall: share of real points in the ball (k = 3) of at least one generated point, 0 to 1: diversity.
    density: real balls (k = 5) that a generated point lies in, over 5, the mean: about 1 for equal distributions, and
    more where generated points crowd in the dense parts; unlike precision it is not fooled by one real outlier.
    coverage: share of real balls (k = 5) with at least one generated point in them, 0 to 1.

    All depend on N and M: compare figures of equal counts only.
    """
    y = real.double()
    centre = y.mean(0)
    x, y = fake.double() - centre, y - centre
    fake_reach = _reach(x, _radii(x, (MANIFOLD_K,)))[:, 0]
    real_reach = _reach(y, real_radii)
    manifold, ball = real_reach[:, :1], real_reach[:, 1:]
    precise = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    recalled, covered, inside = (torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(3))
    for rows, distances in _blocks(y, x):
        precise |= (distances <= manifold[rows]).any(0)
        covered += (distances.amin(1) <= ball[rows, 0]).sum()
        inside += torch.count_nonzero(distances <= ball[rows])
        recalled += (distances.sub_(fake_reach).amin(1) <= 0).sum()
    neighbours = min(DENSITY_K, len(y) - 1)
    return {
        "precision": int(precise.sum()) / len(x),
        "recall": int(recalled) / len(y),
        "density": int(inside) / (neighbours * len(x)),
        "coverage": int(covered) / len(y),
    }


def _radii(x: Tensor, ks: tuple[int, ...]) -> Tensor:
    """Squared distances (N, len(ks)) of each row of x to its k-th nearest other row."""
    ks = tuple(min(k, len(x) - 1) for k in ks)
    found = []
    for rows, distances in _blocks(x, x):
        distances[:, rows].fill_diagonal_(torch.inf)  # a row is not its own neighbour
        nearest = distances.topk(max(ks), largest=False).values
        found.append(nearest[:, [k - 1 for k in ks]])
    return torch.cat(found).clamp_(min=0)


def _reach(x: Tensor, radii: Tensor) -> Tensor:
    """Squared radii (N, k) with room for the rounding of the distances that are held against them."""
    return radii + SLACK * (radii + x.square().sum(1, keepdim=True))


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances (rows, M) of some rows of x (N, d) to all of y (M, d), until all rows have had their turn."""
    x_norms, y_norms = x.square().sum(1, keepdim=True), y.square().sum(1)
    step = max(1, ELEMENTS // len(y))
    for start in range(0, len(x), step):
        rows = slice(start, min(start + step, len(x)))
        yield rows, torch.addmm(y_norms, x[rows], y.T, alpha=-2).add_(x_norms[rows])
