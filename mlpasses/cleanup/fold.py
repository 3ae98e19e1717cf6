"""`FoldConstants`: what is computed from constants alone is computed once, here.

    %s: int32[3] = shape(x=%x)                          %x is fp16[1, 128, 64]
    %n: int32[1] = slice_by_index(x=%s, begin=[1], end=[2])
    %m: int32[1] = mul(x=%n, y=[2])
    →  %m: int32[1] = const([256])

Values are those of `mlpasses.runtime`: integers exact, floats computed in float32 and rounded once. Each block is gone through once, in
order, so a chain folds in one sweep, and what only folded ops used goes with them. O(ops + operands + elements computed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from attrs import field, frozen

from ir.const import Const
from ir.core import Block, Function, Op, Value, constant_of
from ir.diagnostics import EvaluationError
from ir.infer import Args, InferError
from ir.opset import Opset, opset_of_key
from ir.packing import packed_size
from ir.specs import OpSpec, is_constexpr, spec_of
from ir.substitute import by_consts
from ir.tensors import Array, ArrayTensor, Tensor
from ir.types import STRING, TensorType, Type
from ir.walk import walk
from mlpasses.config.checks import at_least
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.passes import FunctionPass
from mlpasses.runtime.arrays import Arrays
from mlpasses.runtime.table import SHAPE_ONLY, evaluate_op, evaluator_of

KEPT: Final = frozenset({"const", "dequantize"})
"""Ops that are left as they are: `dequantize` of a constant is how iOS17 holds a compressed weight."""
KEEPS_NOTHING: Final = 64 << 10
"""Bytes up to which a result is copied out of what it is a view of."""


@frozen
class FoldConstants(FunctionPass):
    """Ops whose operands are constants → const, by the same name.

    Folded are ops that are functions of their operands and that `mlpasses.runtime` can evaluate; `shape`, and what else looks at nothing
    but a shape, where that is known. Left alone are: constants in a compressed form and what is computed from them; random numbers, states
    and lists; what would change the type of a block's output; and, with a note for each op type, ops without an evaluator, ops that
    make a NaN of numbers (a fault that is easier to find where it happens), ops whose operands do not fit, and what would grow the program
    by more than `max_bytes` an op.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    max_bytes: int = field(default=64 << 10, validator=at_least(0))
    """How many bytes larger a result may be than the constants that go with the op, as they lie in the file."""

    def run(self, fn: Function, cx: Context) -> int:
        return sum(_Sweep(self.max_bytes, opset_of_key(key), cx).run(block) for key, block in fn.specializations.items())


class _Sweep:
    """One pass over one specialization; `left` counts what was left alone, by op type and reason."""

    def __init__(self, max_bytes: int, opset: Opset | None, cx: Context) -> None:
        self._max_bytes = max_bytes
        self._opset = opset
        self._cx = cx
        self._left: dict[tuple[str, str], list[str]] = {}
        self._uses: dict[Value, int] = {}
        """How many uses of a const there are, so that one that a thousand folded ops use is counted once."""

    def run(self, block: Block) -> int:
        if self._opset is None:
            self._cx.note("a specialization", "nothing is folded in it: its opset is not known")
            return 0
        folded = 0
        specs: dict[str, OpSpec | None] = {}
        for op in walk(block):
            op_type = op.op_type
            spec = specs[op_type] if op_type in specs else specs.setdefault(op_type, _spec_if_foldable(op_type, self._opset))
            if spec is not None and _is_constant(op) and not op.blocks and op.is_used:
                folded += self._fold(op, spec, self._opset)
        for (op_type, reason), names in self._left.items():
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            self._cx.note(f"{op_type} {names[0]}{more}", f"it is computed from constants, but {reason}")
        return folded

    def _fold(self, op: Op, spec: OpSpec, opset: Opset) -> int:
        if evaluator_of(op.op_type, opset) is None:
            return self._leave(op, "nothing is known of how to evaluate it")
        types = _result_types(op, spec)
        if types is None:
            return self._leave(op, "the shape of its result is not known beforehand")
        if any(value.type is not kind and value.is_output for value, kind in zip(op.outputs, types, strict=True)):
            return self._leave(op, "it is returned, and would be declared as another type than now")
        if sum(map(_nbytes, types)) - self._freed(op) > self._max_bytes:
            return self._leave(op, f"its result is more than {self._max_bytes} bytes larger than the constants that go with it")
        operands = _operands(op)
        try:
            results = evaluate_op(op, operands, opset=opset)
        except EvaluationError as error:
            return self._leave(op, f"cannot be evaluated: {str(error).removeprefix(f'{op.op_type} {op.name}: ')}")
        if _makes_nan(operands, results):
            return self._leave(op, "its result is not a number")
        if any(result.shape != kind.static_shape for result, kind in zip(results, types, strict=True)):
            return self._leave(op, "its result has another shape than its operands promise")
        tensors: dict[Value, Tensor] = {}
        for value, kind, result in zip(op.outputs, types, results, strict=True):
            if value.is_used:
                value.type = kind
                tensors[value] = ArrayTensor(_owned(result), kind.dtype)
        for value, count in _own_uses(op).items():
            if value in self._uses:
                self._uses[value] -= count
        self._cx.made(*by_consts(op, tensors), sources=(op,))
        return 1

    def _freed(self, op: Op) -> int:
        """The bytes of the constants that go with an op: its literals, and the consts that nobody else uses."""
        freed = 0
        for value, count in _own_uses(op).items():
            if value not in self._uses:
                self._uses[value] = len(value.uses)
            if self._uses[value] == count and constant_of(value) is not None:  # of what is no constant only the shape is read
                freed += _nbytes(value.type)
        return freed + sum(_nbytes(operand.type) for held in op.operands.values() for operand in held if isinstance(operand, Const))

    def _leave(self, op: Op, reason: str) -> int:
        self._left.setdefault((op.op_type, reason), []).append(op.name)
        return 0


def _spec_if_foldable(op_type: str, opset: Opset) -> OpSpec | None:
    """What the tables have of an op that is a function of its operands; None of any other, and of one that is left as it is."""
    spec = None if op_type in KEPT or is_constexpr(op_type) else spec_of(op_type, opset)
    return spec if spec is not None and spec.deterministic else None


def _is_constant(op: Op) -> bool:
    """Whether the results depend on nothing but constants, and on shapes that are known."""
    shape_only = SHAPE_ONLY.get(op.op_type, ())
    for parameter, held in op.operands.items():
        for operand in held:
            if parameter in shape_only:
                if not isinstance(operand.type, TensorType) or not operand.type.is_static:
                    return False
            else:
                literal = constant_of(operand)
                if literal is None or not literal.is_tensor:
                    return False
    return True


def _result_types(op: Op, spec: OpSpec) -> tuple[TensorType, ...] | None:
    """The declared types; where one is open, what follows from the operands. None where a shape is still not known."""
    found: list[TensorType] = []
    inferred: tuple[Type, ...] | None = None
    for index, value in enumerate(op.outputs):
        kind: Type = value.type
        if not (isinstance(kind, TensorType) and kind.is_static):
            if inferred is None:
                inferred = _inferred(op, spec)
            if len(inferred) != len(op.outputs):
                return None
            kind = inferred[index]
        if not isinstance(kind, TensorType) or not kind.is_static or kind.dtype.is_subbyte or kind.dtype is STRING:
            return None
        found.append(kind)
    return tuple(found)


def _inferred(op: Op, spec: OpSpec) -> tuple[Type, ...]:
    if spec.infer is None:
        return ()
    try:
        return spec.infer(Args(spec, op.operands, op.attributes))
    except InferError:
        return ()


def _nbytes(kind: Type) -> int:
    return packed_size(kind.numel or 0, kind.dtype.bits) if isinstance(kind, TensorType) else 0


def _own_uses(op: Op) -> Counter[Value]:
    return Counter(operand for held in op.operands.values() for operand in held if isinstance(operand, Value))


def _operands(op: Op) -> Mapping[str, Arrays]:
    """The operands as arrays; where an op reads a shape only, one element stands for all."""
    shape_only = SHAPE_ONLY.get(op.op_type, frozenset())
    found: dict[str, Arrays] = {}
    for parameter, held in op.operands.items():
        arrays: list[Array] = []
        for operand in held:
            if parameter in shape_only:
                kind = operand.type
                assert isinstance(kind, TensorType)  # `_is_constant` has looked
                arrays.append(np.broadcast_to(np.zeros((), kind.dtype.numpy), kind.static_shape))
            else:
                literal = constant_of(operand)
                assert literal is not None
                arrays.append(literal.numpy())
        found[parameter] = tuple(arrays)
    return found


def _makes_nan(operands: Mapping[str, Arrays], results: Arrays) -> bool:
    def has_nan(array: Array) -> bool:
        return array.dtype.kind == "f" and bool(np.isnan(array).any())

    return any(map(has_nan, results)) and not any(has_nan(array) for held in operands.values() for array in held)


def _owned(result: Array) -> Array:
    """A small result by itself, so that it does not keep what it is a part of; a large one may be a view of a file or of one element."""
    return result.copy() if result.nbytes <= KEEPS_NOTHING else result
