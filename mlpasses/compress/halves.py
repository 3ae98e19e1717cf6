"""fp32 weights that are stored in fp16: rounded first, piece by piece, and compressed then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ir.flows import Computed, Flow, Room, of_tensor, parts
from ir.tensors import Tensor
from ir.types import DType
from mlpasses.compress.losses import loss_between
from mlpasses.forms.decoding import dense_flow
from mlpasses.forms.form import Form
from mlpasses.numerics.affine import Array, Loss, NotFiniteError
from mlpasses.numerics.bits import is_finite
from mlpasses.numerics.loss import Between


class NoRoomError(NotFiniteError):
    """A weight holds NaN or infinite values, or such as a float type has no room for."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        ValueError.__init__(self, f"it holds NaN or infinite values, or such as {dtype.name} has no room for")


def rounded(weight: Tensor, dtype: npt.DTypeLike) -> Flow:
    """A weight in a float type: as it is stored where it has that type, and otherwise rounded as it is read.

    Who reads it gets a `NotFiniteError` where a value is beyond the type's range, or was not finite before.
    """
    source, target = of_tensor(weight), np.dtype(dtype)
    if source.dtype == target:
        return source

    def pieces(room: Room) -> Iterator[Array]:
        for part in parts(source):
            out = room(part.size)
            with np.errstate(over="ignore"):
                out[:] = part
            if not is_finite(out):
                raise NoRoomError(target)
            yield out

    return Computed(source.shape, target, pieces, 1 + source.stages)


def too_small(weight: Tensor, dtype: DType) -> str | None:
    """Why a weight is not to be rounded to a float type: all of its numbers are subnormal there, with fewer digits the smaller they are.

    None where some are not, or all are 0, and where it has that type.
    """
    if weight.dtype is dtype:
        return None
    most = max((float(np.abs(part).max(initial=0)) for part in parts(of_tensor(weight))), default=0.0)
    least = float(np.finfo(dtype.numpy).smallest_normal)
    if not 0 < most < least:
        return None
    return f"its numbers, {most:.2g} at most, are too small for {dtype}, which has fewer digits below {least:.2g}: leave precision as it is"


def loss_of(weight: Tensor, form: Form, measured: Loss, measure: Between) -> Loss:
    """What a weight lost on its way to a form: what was `measured`, where that was against the weight itself and not against it `rounded`.

    What rounding to fp16 costs does not simply add up with the rest: the greatest errors may meet in one element or cancel out, and a
    weight of values that are too small for fp16 has nothing left to measure against.
    """
    return measured if form.dtype is weight.dtype else loss_between(of_tensor(weight), dense_flow(form), measure)
