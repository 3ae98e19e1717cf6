"""Which values are provably not negative.

An analysis of one bit, from definitions to uses: what an op yields is not negative by its nature (`shape`), or because what it is made of
is not (`add`). Arithmetic that leaves its type is not considered: MIL gives it no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.core import Op, Operand, Value, constant_of
from ir.types import BOOL, STRING, TensorType

MAX_READ: Final = 1 << 20
"""Constants of more elements are taken to be weights, and not read: their signs are nobody's proof."""

NEVER_NEGATIVE: Final = frozenset(
    {
        "abs", "argsort", "exp", "exp2", "list_length", "non_zero", "random_bernoulli", "random_categorical",
        "reduce_argmax", "reduce_argmin", "reduce_l1_norm", "reduce_l2_norm", "reduce_sum_square", "relu", "relu6",
        "rsqrt", "shape", "sigmoid", "sigmoid_hard", "softmax", "softplus", "sqrt", "square",
    }
)
"""Ops whose results are not negative, whatever they are made of."""

NEVER_NEGATIVE_OUTPUTS: Final = frozenset({("topk", 1)})
"""Single outputs that are not negative."""

_OF_X: Final = (
    "avg_pool", "band_part", "cast", "ceil", "crop", "cumsum", "depth_to_space", "expand_dims", "flatten2d", "floor",
    "gather", "gather_along_axis", "gather_nd", "identity", "max_pool", "pixel_shuffle", "pixel_unshuffle", "pow",
    "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "reshape", "reshape_like", "reverse",
    "reverse_sequence", "round", "sign", "slice_by_index", "slice_by_size", "sliding_windows", "space_to_depth",
    "split", "squeeze", "tile", "topk", "transpose",
)

IF_ALL: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(_OF_X, ("x",)),
    **dict.fromkeys(("add", "floor_div", "minimum", "mod", "mul", "real_div"), ("x", "y")),
    "clip": ("alpha",),
    "concat": ("values",),
    "fill": ("value",),
    "fill_like": ("value",),
    "one_hot": ("on_value", "off_value"),
    "pad": ("x", "constant_val"),
    "range_1d": ("start", "step"),
    "select": ("a", "b"),
    "stack": ("values",),
}
"""Ops whose results are not negative if none of these operands is; an operand that is absent has a default that is not."""

IF_ANY: Final[Mapping[str, tuple[str, ...]]] = {"maximum": ("x", "y"), "threshold": ("x", "alpha")}
"""Ops whose results are not negative if one of these operands is not."""


@frozen
class _Depends:
    """A value is not negative if all of these are not, or any."""

    operands: tuple[Operand, ...]
    any: bool = False


_Answer: TypeAlias = "bool | _Depends"


class NonNegative:
    """Asks whether an operand is provably not negative, and remembers the answers. O(ops) for all questions together."""

    def __init__(self) -> None:
        self._known: dict[Operand, bool] = {}

    def __call__(self, operand: Operand) -> bool:
        pending = [operand]
        opened: set[Operand] = set()
        while pending:
            at = pending[-1]
            if at not in self._known:
                answer = _answer(at)
                decided = self._decide(answer) if isinstance(answer, _Depends) else answer
                if decided is None and at not in opened:
                    opened.add(at)
                    pending.extend(o for o in answer.operands if o not in self._known)  # type: ignore[union-attr]  # what is open depends
                    continue
                self._known[at] = bool(decided)  # what is still open depends on itself, as no valid program does
            pending.pop()
        return self._known[operand]

    def _decide(self, on: _Depends) -> bool | None:
        """What a dependency comes to; None while that is open."""
        found = [self._known.get(operand) for operand in on.operands]
        if on.any in found:
            return on.any
        return None if None in found else not on.any


def _answer(operand: Operand) -> _Answer:
    kind = operand.type
    if isinstance(kind, TensorType) and (kind.dtype is BOOL or kind.dtype.kind == "uint"):
        return True
    const = constant_of(operand)
    if const is not None:
        return _is_literal_nonnegative(const)
    if not isinstance(operand, Value) or operand.op is None:
        return False
    return _answer_of_op(operand.op, operand)


def _answer_of_op(op: Op, value: Value) -> _Answer:
    op_type = op.op_type
    if op_type in NEVER_NEGATIVE or (op_type, value.index) in NEVER_NEGATIVE_OUTPUTS:
        return True
    if op_type in IF_ALL:
        return _Depends(tuple(_given(op, IF_ALL[op_type])))
    if op_type in IF_ANY:
        return _Depends(tuple(_given(op, IF_ANY[op_type])), any=True)
    if op_type == "cond":
        return _Depends(tuple(block.outputs[value.index] for block in op.blocks))
    return False


def _given(op: Op, parameters: Iterable[str]) -> Iterable[Operand]:
    for parameter in parameters:
        yield from op.operands.get(parameter, ())


def _is_literal_nonnegative(const: Const) -> bool:
    kind = const.type
    if not isinstance(kind, TensorType) or kind.dtype is STRING or (kind.numel or 0) > MAX_READ:
        return False
    return bool(np.all(const.numpy() >= 0))
