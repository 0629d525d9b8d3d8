r"""Fitting of a lookup table to pairs of colours by regularised least squares.

The changes :math:`d` of the lattice points minimise

.. math::
    \frac{P}{n} \sum_i \lVert w_i d - (t_i - s_i) \rVert^2
    + \lambda \lVert D_2 d \rVert^2
    + \min(\lambda, 20) \left(R^{-2} \lVert D_1 d \rVert^2 + R^{-4} \lVert d \rVert^2\right)

where :math:`n` is the number of pixels, :math:`s_i` the source colour of pixel :math:`i`, :math:`w_i` the trilinear
weights of this colour, :math:`t_i` the target colour of the pixel, :math:`P` the number of lattice points with a weight
above 0 but at least `MIN_POINTS`, and :math:`D_k` are the differences of order k along each axis. :math:`\lambda` is
the smoothness, :math:`R` `REACH`. If an axis does not have `LATTICE` points, :math:`\lambda`,
:math:`\min(\lambda, 20)`, :math:`R` and `MIN_POINTS` are scaled so that the result hardly depends on the number of
points. The penalty of second differences leaves gradual changes of colour free: it makes the change smoother without
pulling it to 0. Between the source colours the change is interpolated; away from them it decays, to about 1/e over
:math:`R` points of `LATTICE` for :math:`\lambda \le 20`, and over :math:`2R` for the default.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

SMOOTHNESS = 400.0
"""Default weight of second differences, for `LATTICE` points an axis."""

LATTICE = 33
"""Number of lattice points of an axis that smoothness and `REACH` refer to; for other numbers they are scaled."""

MAX_DECAY = 20.0
"""Maximum weight of the other two penalties, which pull the change to 0; up to it, their weight is the smoothness."""

REACH = 8.0
"""Distance from the source colours, in points of `LATTICE`, over which a change decays to about 1/e.

With a smoothness above `MAX_DECAY` the distance is larger."""

MIN_POINTS = 1000
"""Minimum of :math:`P`, for `LATTICE` points an axis.

Most photographs have more. Without it, the penalties would prevent most of the change of an image with few colours."""

PIXELS = 1 << 18
"""Maximum number of pixels that are fitted; if there are more, evenly spaced ones are used."""

TOLERANCE = 1e-5
"""Relative residual at which the solver stops."""

ITERATIONS = 1000
"""Maximum number of iterations of the solver; by default it takes about ten."""

SHARE_OF_DATA = 0.1
"""Fraction of the mean diagonal of the data matrix that replaces this matrix in the preconditioner.

Other fractions need more iterations."""

Colours = NDArray[np.float32]
Array = NDArray[np.float64]


def fitted_values(source: Colours, target: Colours, identity: Colours, smoothness: float) -> Colours:
    """Fit the values of a lookup table.

    Args:
        source: ``(n, 3)`` in [0, 1].
        target: ``(n, 3)`` in [0, 1].
        identity: ``(N, N, N, 3)``, the values that change no colour.
        smoothness: weight of second differences, above 0, for `LATTICE` points an axis.

    Returns:
        ``(N, N, N, 3)`` in [0, 1].
    """
    size, every = len(identity), -(-len(source) // PIXELS)
    colours, changes = source[::every].astype(np.float64), (target - source)[::every].astype(np.float64)
    weights = _trilinear_weights(colours, size)
    points = int(np.count_nonzero(weights.sum(axis=0)))
    share = max(points, MIN_POINTS * _scale(size) ** 3) / len(colours)
    data, right_side = share * (weights.T @ weights), share * (weights.T @ changes)
    vectors, eigenvalues = _penalty(size, smoothness)
    matrix = LinearOperator(data.shape, lambda x: data @ x + _multiply(vectors, eigenvalues, x), dtype=np.float64)
    inverse = 1 / (eigenvalues + SHARE_OF_DATA * data.diagonal().mean())
    preconditioner = LinearOperator(data.shape, lambda x: _multiply(vectors, inverse, x), dtype=np.float64)
    options = {"rtol": TOLERANCE, "M": preconditioner, "maxiter": ITERATIONS}
    solutions = [cg(matrix, right_side[:, channel], **options)[0] for channel in range(3)]
    values: Colours = (identity + np.stack(solutions, axis=-1).reshape(size, size, size, 3)).astype(np.float32)
    return values.clip(0, 1)


def _penalty(size: int, smoothness: float) -> tuple[Array, Array]:
    """Compute the eigenvectors and eigenvalues of the matrix ``(N^3, N^3)`` of the penalties.

    Except for a multiple of the identity, this matrix is a Kronecker sum: one matrix ``(N, N)`` is applied along each
    axis, and the results are added. So its eigenvectors are products of three eigenvectors of the small matrix.

    Returns:
        The eigenvectors of the small matrix, in columns, ``(N, N)``; and the eigenvalue of each product of three of
        them, ``(N, N, N)``.
    """
    scale = _scale(size)
    weight, decay, reach = smoothness * scale**4, min(smoothness, MAX_DECAY) * scale**4, REACH * scale
    axis_eigenvalues, vectors = np.linalg.eigh(weight * _roughness(size, 2) + decay / reach**2 * _roughness(size, 1))
    eigenvalues = axis_eigenvalues[:, None, None] + axis_eigenvalues[:, None] + axis_eigenvalues + decay / reach**4
    return vectors, eigenvalues


def _multiply(vectors: Array, eigenvalues: Array, values: Array) -> Array:
    """Multiply values ``(N^3,)`` by a matrix, given the eigenvectors and eigenvalues that `_penalty` returns for it."""
    rotated = values.reshape(eigenvalues.shape)
    for _ in range(3):  # each product moves the next axis to the front
        rotated = np.tensordot(rotated, vectors, axes=(0, 0))
    rotated = rotated * eigenvalues
    for _ in range(3):
        rotated = np.tensordot(rotated, vectors, axes=(0, 1))
    return rotated.ravel()


def _scale(size: int) -> float:
    """Return the number of intervals of an axis as a fraction of that of `LATTICE`."""
    return (size - 1) / (LATTICE - 1)


def _trilinear_weights(colours: Array, size: int) -> Any:
    """Return the sparse matrix ``(n, N^3)`` of the weights by which colours are interpolated from lattice points."""
    positions = colours * (size - 1)
    lower = np.minimum(positions.astype(np.int64), size - 2)
    fractions = positions - lower
    indices, weights = [], []
    for corner in product((0, 1), repeat=3):
        indices.append(np.ravel_multi_index((lower + corner).T, (size, size, size)))
        weights.append(np.where(corner, fractions, 1 - fractions).prod(axis=1))
    rows = np.tile(np.arange(len(colours)), 8)
    entries = (np.concatenate(weights), (rows, np.concatenate(indices)))
    return sparse.coo_array(entries, shape=(len(colours), size**3)).tocsr()


def _roughness(size: int, order: int) -> Array:
    """Return the matrix ``(N, N)`` of the sum of squared differences of an order along an axis."""
    differences = np.diff(np.eye(size), order, axis=0)
    return differences.T @ differences
