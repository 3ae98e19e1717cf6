"""What a weight lost: the reference against the definition, and the compiled function against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpasses.numerics import loss, loss_kernels
from mlpasses.numerics.affine import Array

dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32])


def arrays(dtype: Any, size: int = 200_003) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    before: Array = random.standard_normal(size).astype(dtype)
    return before, (before.astype(np.float64) + 0.01 * random.standard_normal(size)).astype(dtype)


@dtypes
def test_loss_is_that_of_the_definition(dtype: Any) -> None:
    before, after = (array.astype(np.float64) for array in arrays(dtype))
    found = loss.between(*arrays(dtype))
    assert found.signal == pytest.approx(np.square(before).sum(), rel=1e-12)
    assert found.noise == pytest.approx(np.square(before - after).sum(), rel=1e-12)
    assert found.worst == np.abs(before - after).max()


@dtypes
def test_compiled_loss_is_the_reference(dtype: Any) -> None:
    reference, compiled = loss.between(*arrays(dtype)), loss_kernels.between(*arrays(dtype))
    assert compiled.signal == pytest.approx(reference.signal, rel=1e-6)
    assert compiled.noise == pytest.approx(reference.noise, rel=1e-5)
    assert compiled.worst == pytest.approx(reference.worst, rel=1e-6)


def test_equal_arrays_lose_nothing() -> None:
    before = np.array([65504, -65504, 6e-8, 0], np.float16)
    for found in (loss.between(before, before), loss_kernels.between(before, before)):
        assert (found.noise, found.worst) == (0.0, 0.0)


def test_nothing_loses_nothing() -> None:
    empty = np.empty(0, np.float16)
    assert loss.between(empty, empty) == loss_kernels.between(empty, empty)
