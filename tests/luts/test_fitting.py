from itertools import product

import numpy as np
import pytest

from vitsplice.luts import Lut
from vitsplice.luts.fitting import LATTICE, MAX_DECAY, REACH, fitted_values


def least_squares(colours, targets, size, smoothness):
    """Minimise the objective of `vitsplice.luts.fitting` with dense matrices; return the changes of lattice points."""
    positions, points = colours * (size - 1), list(product(range(size), repeat=3))
    interpolation = np.prod(np.maximum(0, 1 - abs(positions[:, None] - np.array(points))), axis=-1)
    scale, identity = (size - 1) / (LATTICE - 1), np.eye(size)
    weight, decay, reach = smoothness * scale**4, min(smoothness, MAX_DECAY) * scale**4, REACH * scale

    def differences(order):
        difference = np.diff(identity, order, axis=0)
        factors = ([difference if axis == differed else identity for axis in range(3)] for differed in range(3))
        return np.concatenate([np.kron(np.kron(a, b), c) for a, b, c in factors])

    number = max(np.count_nonzero(interpolation.sum(0)), 1000 * ((size - 1) / 32) ** 3)
    share = number / len(colours)
    rows = [
        share**0.5 * interpolation,
        weight**0.5 * differences(2),
        decay**0.5 / reach * differences(1),
        decay**0.5 / reach**2 * np.eye(size**3),
    ]
    right = np.zeros((sum(map(len, rows)), 3))
    right[: len(colours)] = share**0.5 * (targets - colours)
    return np.linalg.lstsq(np.concatenate(rows), right)[0].reshape(size, size, size, 3)


@pytest.mark.parametrize("smoothness", [1e6, 400.0, 20.0])
def test_fit_minimises_the_objective(smoothness):
    colours = 0.3 + 0.4 * np.random.default_rng(0).random((300, 3)).astype(np.float32)
    targets = colours**1.3
    fitted = fitted_values(colours, targets, Lut.identity(7).values.numpy(), smoothness)
    expected = Lut.identity(7).values.numpy() + least_squares(colours, targets, 7, smoothness)
    np.testing.assert_allclose(fitted, expected.clip(0, 1), atol=1e-3)
