"""What form a constant is in, in words, how it is divided, and the bytes that it takes: from types alone, no weight is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final

from attrs import frozen

from ir.const import Const
from ir.constexprs import operand_of
from ir.core import Op, Operand, constant_of
from ir.specs import is_constexpr
from ir.tensors import Tensor
from ir.types import STRING, TensorType

SETTINGS: Final = frozenset({"axis", "shape", "vector_axis", "output_dtype", "name"})
"""Operands of constexpr ops that say how the others are meant, and hold nothing of the weight."""


def scheme_of(op: Op) -> str:
    """The form of the constant that a const op or the last constexpr op of a chain yields.

    `dense fp16`, `int8 per-channel`, `int4 per-block 32`, `lut 4-bit, 1 group`, `sparse 75%`, and what they are together:
    `sparse 75%, int8 per-channel`, `lut 4-bit, 8 groups, int8 entries`, `lut 6-bit, 1 group, scaled per-channel`.
    """
    parts = list(_parts(op))
    return ", ".join([*(word for part in parts for word in part.before), *(word for part in reversed(parts) for word in part.after)])


def groups_of(op: Op) -> tuple[int, ...] | None:
    """How many groups with a scale or a table of their own there are along each axis of such a constant; None where it has neither.

    Where a table is scaled besides, the groups are those of the table.
    """
    found = [part.groups for part in _parts(op) if part.groups is not None]
    return found[-1] if found else None


def _parts(op: Op) -> Iterator[_Part]:
    """What the ops of a chain say of the constant, from the last to the first."""
    met: dict[Op, None] = {}
    at: Op | None = op
    while at is not None and at not in met:
        met[at] = None
        if not is_constexpr(at.op_type):
            yield _Part(before=(_dense(at.output.type) if len(at.outputs) == 1 else at.op_type,))
            return
        part = _PARTS.get(at.op_type, _unknown)(at)
        yield part
        inner = None if part.inner is None else operand_of(at, part.inner)
        if isinstance(inner, Const):
            yield _Part(before=(_dense(inner.type),))
        at = None if inner is None or isinstance(inner, Const) else inner.op


def stored_tensors(ops: Sequence[Op]) -> list[Tensor]:
    """The tensors that hold the constants which these const and constexpr ops yield, each once: data, scales, look-up tables, masks.

    In the order of the ops, and of their parameters' names.
    """
    found: dict[int, Tensor] = {}
    for op in ops:
        held = [(name, operand) for name, operands in op.operands.items() for operand in operands]
        for name, operand in sorted([*held, *op.attributes.items()], key=itemgetter(0)):
            literal = None if name in SETTINGS else constant_of(operand)
            if literal is not None and literal.is_tensor and literal.tensor.dtype is not STRING:
                found[id(literal.tensor)] = literal.tensor
    return list(found.values())


@frozen
class _Part:
    """What an op adds to the description: before and after what it says of the operand `inner`, where there is more to say."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    inner: str | None = None
    groups: tuple[int, ...] | None = None
    """How many scales or tables there are along each axis."""


def _shape(op: Op, parameter: str) -> tuple[int, ...]:
    operand = operand_of(op, parameter)
    kind = None if operand is None else operand.type
    return kind.static_shape if isinstance(kind, TensorType) and kind.is_static else ()


def _dtype(op: Op, parameter: str) -> str:
    operand = operand_of(op, parameter)
    return "?" if operand is None or not isinstance(operand.type, TensorType) else operand.type.dtype.name


def _dense(kind: object) -> str:
    return f"dense {kind.dtype}" if isinstance(kind, TensorType) else f"dense {kind!r}"


def _is_computed(operand: Operand | None) -> bool:
    source = None if operand is None or isinstance(operand, Const) else operand.op
    return source is not None and is_constexpr(source.op_type)


def _granularity(shape: Sequence[int], scale: Sequence[int]) -> str:
    """How many elements share a scale: all of them, those of a channel, or those of a block."""
    if len(scale) != len(shape) or 0 in scale:
        return "per-tensor" if math.prod(scale) == 1 else "per-channel"
    divided = [(dim, count) for dim, count in zip(shape, scale, strict=True) if count > 1]
    if not divided:
        return "per-tensor"
    blocks = [dim // count for dim, count in divided if count < dim]
    if not blocks:
        return "per-channel" if len(divided) == 1 else "per-element" if tuple(scale) == tuple(shape) else "per-channels"
    return f"per-block {'x'.join(map(str, blocks))}"


def _scaled(op: Op, data: str, dense: str) -> _Part:
    granularity = _granularity(_shape(op, dense), _shape(op, "scale"))
    if _is_computed(operand_of(op, data)):
        return _Part(after=(f"scaled {granularity}",), inner=data, groups=_shape(op, "scale"))
    return _Part(before=(f"{_dtype(op, data)} {granularity}",), groups=_shape(op, "scale"))


def _affine(op: Op) -> _Part:
    scales = max(_shape(op, "scale"), _shape(op, "zero_point"), key=len)
    groups = [1] * len(_shape(op, "quantized_data"))
    axis = _integer(op, "axis")
    if scales and axis is not None and -len(groups) <= axis < len(groups):
        groups[axis] = math.prod(scales)
    return _Part(before=(f"{_dtype(op, 'quantized_data')} {'per-channel' if scales else 'per-tensor'}",), groups=tuple(groups))


def _integer(op: Op, parameter: str) -> int | None:
    operand = operand_of(op, parameter)
    literal = None if operand is None else constant_of(operand)
    return int(literal.numpy().item()) if literal is not None and literal.is_tensor and math.prod(literal.tensor.shape) == 1 else None


def _blockwise(op: Op) -> _Part:
    return _scaled(op, "data", "data")


def _sparse_blockwise(op: Op) -> _Part:
    return _scaled(op, "nonzero_data", "data_mask")


def _cast(op: Op) -> _Part:
    return _Part(after=("cast to fp32",), inner="source_val")


def _lut(op: Op) -> _Part:
    lut = _shape(op, "lut")
    entries, vector, divided = (lut[-2], lut[-1], lut[:-2]) if len(lut) > 1 else (math.prod(lut), 1, _undivided(op))
    groups = math.prod(divided)
    parts = [f"lut {max(entries - 1, 0).bit_length()}-bit", "1 group" if groups == 1 else f"{groups} groups"]
    if vector > 1:
        parts.append(f"vectors of {vector}")
    operand = operand_of(op, "lut")
    source = None if operand is None or isinstance(operand, Const) else operand.op
    if source is not None and "data" in source:
        parts.append(f"{_dtype(source, 'data')} entries")
    elif _dtype(op, "lut") in ("int8", "uint8"):
        parts.append(f"{_dtype(op, 'lut')} entries")
    return _Part(before=(", ".join(parts),), groups=divided)


def _undivided(op: Op) -> tuple[int, ...]:
    kind = op.outputs[-1].type if op.outputs else None
    return (1,) * len(kind.shape) if isinstance(kind, TensorType) and kind.is_static else ()


def _sparse(op: Op) -> _Part:
    operand = operand_of(op, "shape")
    stated = constant_of(operand) if operand is not None else None
    size = math.prod(int(dim) for dim in stated.numpy().reshape(-1)) if stated is not None and stated.is_tensor else None
    total = math.prod(_shape(op, "mask")) if size is None else size
    zeros = 1 - math.prod(_shape(op, "nonzero_data")) / total if total else 0.0
    inner = "nonzero_data" if _is_computed(operand_of(op, "nonzero_data")) else None
    return _Part(before=(f"sparse {f'{100 * zeros:.1f}'.removesuffix('.0')}%",), inner=inner)


def _unknown(op: Op) -> _Part:
    return _Part(before=(op.op_type,))


_PARTS: Final[Mapping[str, Callable[[Op], _Part]]] = {
    "constexpr_affine_dequantize": _affine,
    "constexpr_blockwise_shift_scale": _blockwise,
    "constexpr_cast": _cast,
    "constexpr_lut_to_dense": _lut,
    "constexpr_lut_to_sparse": _lut,
    "constexpr_sparse_blockwise_shift_scale": _sparse_blockwise,
    "constexpr_sparse_to_dense": _sparse,
}
