"""The work of `QuantizeWeights` on one weight: a slice of a file and settings go in, the channels' parameters and the loss come out."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from attrs import frozen

from ir.tensors import Tensor
from mlpasses.numerics.affine import NUMPY, Affine, Array, Engine, Grid, Loss, NotFiniteError, View, quantize_view
from mlpasses.scratch import Store

EngineName: TypeAlias = Literal["numpy", "numba"]


@frozen(eq=False)
class QuantizeTask:
    """What has to be known to quantize one weight. Pickles small where the weight is a slice of a file."""

    name: str
    """What the weight is called, for progress."""
    weight: Tensor
    view: View
    """The weight's shape as `[outer, channels, inner]`."""
    levels: Grid
    engine: EngineName
    slot: int
    """Where in the store the integers go, one byte each."""


@frozen(eq=False)
class Quantized:
    """What is known of a weight whose integers are in the store."""

    affine: Affine
    loss: Loss


def quantize_weight(task: QuantizeTask, store: Store) -> Quantized | NotFiniteError:
    """Quantizes a weight. That it holds NaN or infinite values is an answer, not a failure: the other weights go on."""

    def emit(position: int, integers: Array) -> None:
        store.write(task.slot, position, integers.view(np.uint8).data)

    try:
        affine, loss = quantize_view(task.weight.numpy().reshape(task.view), task.levels, _engine(task.engine), emit)
    except NotFiniteError as error:
        return error
    return Quantized(affine, loss)


def _engine(name: EngineName) -> Engine:
    if name == "numpy":
        return NUMPY
    from mlpasses.numerics.affine_kernels import NUMBA  # Numba takes longer to import than a small model to quantize

    return NUMBA
