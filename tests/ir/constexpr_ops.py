"""Detached constexpr ops, and what tests of them share."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ir.const import Const
from ir.core import Op, Value
from ir.tensors import Array, ArrayTensor
from ir.types import DType, TensorType

NAMES = "xyzuvw"


def literal(array: Any, dtype: DType | None = None) -> Const:
    return Const.of(ArrayTensor(np.asarray(array), dtype))


def op_of(op_type: str, *results: tuple[DType, tuple[int, ...]], **operands: Any) -> Op:
    """A detached op whose operands are inputs of it."""
    held = {k: v if isinstance(v, Const | Value) else literal(v) for k, v in operands.items()}
    return Op(op_type, held, [(f"{op_type}_{NAMES[i]}", TensorType(*result)) for i, result in enumerate(results)])


def attributed(op_type: str, dtype: DType, result: tuple[int, ...], /, **attributes: Const) -> Op:
    """A detached op whose operands are attributes of it: the form of iOS16."""
    return Op(op_type, {}, [("w", TensorType(dtype, result))], {"name": Const.of("w"), **attributes})


def same_bits(ours: Array, theirs: Array) -> bool:
    return ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


@st.composite
def shapes(draw: st.DrawFn, max_rank: int = 4) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape, and the numbers of blocks that its axes are divided into."""
    blocks = draw(st.lists(st.integers(1, 4), min_size=1, max_size=max_rank))
    sizes = [draw(st.integers(1, 4)) for _ in blocks]
    return tuple(b * s for b, s in zip(blocks, sizes, strict=True)), tuple(blocks)


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
