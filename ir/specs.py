"""What is known of each op, looked up: the row that holds in an opset, the axes of a weight, what an opset changed.

The rows are data, in `ir.opsets`. An op without a row is legal: nothing is known of it, so nothing is done to it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from ir.core import Op, constant_of
from ir.opset import OPSETS, Opset
from ir.opsets import ios15, ios16, ios17, ios18
from ir.opsets.schema import Channels, Effect, Meaning, OpSpec, Param, PerSpatialDim
from ir.types import TensorType

__all__ = [
    "Change", "Channels", "Effect", "Meaning", "OpSpec", "Param", "PerSpatialDim",
    "changes", "channel_axes", "einsum_channels", "first_opset", "is_constexpr", "op_types", "spec_of", "weight_params",
]  # fmt: skip


ROWS: Final[tuple[OpSpec, ...]] = (*ios15.ROWS, *ios16.ROWS, *ios17.ROWS, *ios18.ROWS)
"""All rows, in the order of their opsets."""


def _tables() -> dict[Opset, dict[str, OpSpec]]:
    tables: dict[Opset, dict[str, OpSpec]] = {}
    for opset in OPSETS:
        tables[opset] = {row.op_type: row for row in ROWS if row.since <= opset}
    return tables


def _histories() -> dict[str, tuple[OpSpec, ...]]:
    histories: dict[str, tuple[OpSpec, ...]] = {}
    for row in ROWS:
        histories[row.op_type] = (*histories.get(row.op_type, ()), row)
    return histories


_SPECS: Final = _tables()
_HISTORY: Final = _histories()


def spec_of(op_type: str, opset: Opset) -> OpSpec | None:
    """The row of an op that holds in an opset; None for an op without one, or one that came later. O(1)."""
    return _SPECS[opset].get(op_type)


def is_constexpr(op_type: str) -> bool:
    """Whether ops of this type are constants in a compressed form, whether or not they have a row."""
    return op_type.startswith("constexpr_")


def first_opset(op_type: str) -> Opset | None:
    """The opset that introduced an op; None for an op without a row."""
    rows = _HISTORY.get(op_type)
    return rows[0].since if rows else None


def op_types(opset: Opset) -> tuple[str, ...]:
    """All op types with a row in an opset."""
    return tuple(_SPECS[opset])


def weight_params(op_type: str, opset: Opset) -> tuple[Param, ...]:
    """The parameters of an op that hold weights."""
    spec = spec_of(op_type, opset)
    return tuple(p for p in spec.params if p.weight is not None) if spec else ()


@frozen
class Change:
    """What `opset` changed in an op: parameters that came, went, or accept something else, and what means something else.

    A parameter that came with a default leaves the meaning of a program without it as it was. `opset` introduced the op itself where
    `introduced`.
    """

    op_type: str
    opset: Opset
    added: tuple[Param, ...] = ()
    removed: tuple[Param, ...] = ()
    revised: tuple[tuple[Param, Param], ...] = ()
    """Parameters of both rows whose facts differ: as they were, and as they are."""
    meaning: Meaning | None = None

    @property
    def carries_over(self) -> bool:
        """Whether an op without the added parameters, written for the older opset, means the same in this one."""
        return not self.removed and self.meaning is None and all(p.optional for p in self.added)


def changes(op_type: str, old: Opset, new: Opset) -> list[Change]:
    """What the opsets after `old`, up to `new`, changed in an op, oldest first. Empty if nothing, or if `old` has no such op."""
    rows = _HISTORY.get(op_type, ())
    return [
        _difference(before, after)
        for before, after in pairwise(rows)
        if old < after.since <= new and rows[0].since <= old
    ]


def _difference(before: OpSpec, after: OpSpec) -> Change:
    return Change(
        after.op_type,
        after.since,
        added=tuple(p for p in after.params if before.param(p.name) is None),
        removed=tuple(p for p in before.params if after.param(p.name) is None),
        revised=tuple((p, q) for p in before.params if (q := after.param(p.name)) is not None and q != p),
        meaning=after.meaning,
    )


def channel_axes(op: Op, param: str, index: int = 0) -> tuple[int | None, int | None]:
    """The output- and the input-channel axis of a weight operand, counted from the front.

    For `y = matmul(x, w, transpose_y=True)` and `w` of rank 2 they are (0, 1). None stands for an axis that the weight does not have:
    the second of a vector, both where the op or the rank is unknown or `param` is no weight. An einsum's follow from its equation (see
    `einsum_channels`).
    """
    spec = spec_of(op.op_type, OPSETS[-1])
    parameter = spec.param(param) if spec else None
    operands = op.operands.get(param, ())
    if parameter is None or parameter.weight is None or index >= len(operands):
        return None, None
    weight_type = operands[index].type
    if not isinstance(weight_type, TensorType) or weight_type.rank < 0:
        return None, None
    channels = parameter.weight
    if channels.by_equation:
        equation = _constant(op, "equation")
        return einsum_channels(equation, index) if isinstance(equation, str) else (None, None)
    out, in_ = channels.out, channels.in_
    if channels.swapped_by is not None and _constant(op, channels.swapped_by):
        out, in_ = in_, out
    return _from_front(out, weight_type.rank), _from_front(in_, weight_type.rank)


def einsum_channels(equation: str, index: int) -> tuple[int | None, int | None]:
    """The output- and the input-channel axis of operand `index` of an einsum of two operands.

    The input channel is the label that both operands have and the result has not; the output channel the one that this operand and the
    result have and the other operand has not. The last where there are several, None where there is none or the equation is no such
    equation: `nchw,nwhu->nchu` gives (1, 3) for operand 0 and (3, 1) for operand 1.
    """
    sources, arrow, result = equation.replace(" ", "").partition("->")
    labels = sources.split(",")
    if not arrow or len(labels) != 2 or not 0 <= index < 2:
        return None, None
    own, other = labels[index], labels[1 - index]
    out = [axis for axis, label in enumerate(own) if label in result and label not in other]
    in_ = [axis for axis, label in enumerate(own) if label in other and label not in result]
    return (out[-1] if out else None), (in_[-1] if in_ else None)


def _constant(op: Op, param: str) -> Any:
    """The value of a scalar parameter, None where it is absent or not known."""
    operand = op.get(param)
    const = constant_of(operand) if operand is not None else None
    if const is None or not isinstance(const.type, TensorType) or const.type.numel != 1:
        return None
    return const.item()


def _from_front(axis: int | None, rank: int) -> int | None:
    if axis is None or not -rank <= axis < rank:
        return None
    return axis % rank
