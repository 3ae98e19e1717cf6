"""Logical weights: constants as a model's author thinks of them, whatever form they are stored in.

A logical weight is the value that consumers see: of a const op, of the last op of a chain of constexpr ops, or a literal that stands in an
operand's place. The indices, scales, look-up tables and masks that it is made of are not weights of their own.

    for weight in program.weights():
        print(weight.where, weight.name, weight.scheme, weight.shape, f"{weight.bits:.2f} bits", weight.statistics().sparsity)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from ir.const import Const
from ir.constexprs import chain, evaluate, expanded_steps, steps
from ir.core import Block, Op, Program, Use, Value
from ir.diagnostics import MutationError
from ir.flows import Flow, of_tensor
from ir.opset import OPSETS
from ir.schemes import groups_of, scheme_of, stored_tensors
from ir.specs import is_constexpr, spec_of
from ir.statistics import Statistics, statistics_of
from ir.substitute import by_consts
from ir.tensors import Array, ArrayTensor, Tensor
from ir.types import STRING, DType, TensorType

MIN_ELEMENTS: Final = 2048
"""The default of `Program.weights`; coremltools' `weight_threshold` has the same."""


class Weight:
    """A logical weight of a program, looked at where it is: what is asked for is computed when it is asked for, from the program as it is.

    `function` is the name of the function that it stands in; `where` tells weights of one name apart: the function, with the opset where it
    has several specializations, the ops whose nested blocks lead there, and the stage of a pipeline of models.
    """

    __slots__ = ("_group", "_source", "_use", "function", "where")

    def __init__(self, function: str, where: str, source: Value | Const, use: Use | None, group: list[Weight]) -> None:
        self.function = function
        self.where = where
        self._source = source
        self._use = use
        self._group = group
        group.append(self)

    @property
    def op(self) -> Op | None:
        """The const op or the last constexpr op; None where the weight is a literal operand."""
        return None if isinstance(self._source, Const) else self._source.op

    @property
    def name(self) -> str:
        """The value's name; a literal operand is called by its op and parameter, `conv_3.weight`."""
        if isinstance(self._source, Value):
            return self._source.name
        assert self._use is not None
        several = len(_held(self._use)) > 1
        return f"{_consumer(self._use).name}.{self._use.parameter}{f'.{self._use.position}' if several else ''}"

    @property
    def consumers(self) -> tuple[Use, ...]:
        """The uses of the weight by ops, in the order in which they were made: each has the op (`user`) and its `parameter`."""
        if isinstance(self._source, Value):
            return tuple(use for use in self._source.uses if isinstance(use.user, Op))
        return () if self._use is None else (self._use,)

    @property
    def shared_with(self) -> tuple[Weight, ...]:
        """The other weights, in functions or blocks of the program, that are stored in the same tensors."""
        return tuple(other for other in self._group if other is not self)

    @property
    def dtype(self) -> DType:
        return self._type.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._type.static_shape

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def scheme(self) -> str:
        """The form that it is stored in: `dense fp16`, `int8 per-channel`, `lut 4-bit, 1 group`, `sparse 75%`, and joint forms."""
        op = self.op
        return f"dense {self.dtype}" if op is None else scheme_of(op)

    @property
    def groups(self) -> tuple[int, ...] | None:
        """How many groups of elements with a scale or a table of their own there are along each axis: `(64, 1)` for the channels of axis 0.

        None where it has neither scale nor table.
        """
        op = self.op
        return None if op is None else groups_of(op)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it is stored in: data, scales, look-up tables, masks. No data are read."""
        op = self.op
        if op is None:
            assert isinstance(self._source, Const)
            return (self._source.tensor,)
        return tuple(stored_tensors(chain(op) if is_constexpr(op.op_type) else [op]))

    @property
    def nbytes(self) -> int:
        """The bytes that it takes in a file, everything counted, headers and padding excepted."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def bits(self) -> float:
        """Bits per element, everything counted."""
        return 8 * self.nbytes / self.numel if self.numel else 0.0

    def tensor(self) -> Tensor:
        """The dense value: as it is stored, or decompressed anew at each call.

        Raises:
            EvaluationError: a constexpr op is malformed.
        """
        op = self.op
        if op is None or not is_constexpr(op.op_type):
            (stored,) = self.tensors
            return stored
        assert isinstance(self._source, Value)
        return evaluate(op)[self._source.index]

    def numpy(self) -> Array:
        """The elements of the dense value, read-only. Raises as `tensor` does."""
        return self.tensor().numpy()

    def flow(self) -> Flow:
        """The elements of the dense value a piece at a time, decompressed as they are asked for. Raises as `tensor` does."""
        op = self.op
        if op is None or not is_constexpr(op.op_type):
            return of_tensor(self.tensor())
        assert isinstance(self._source, Value)
        return expanded_steps(steps(op))[self._source.index].flow

    def statistics(self) -> Statistics:
        """Extremes, mean, sparsity and more of the dense value; reads all of it, piece by piece. Raises as `tensor` does."""
        return statistics_of(self.flow())

    def set(self, value: Array | Tensor) -> None:
        """Gives the weight another value, which is stored as it is, dense, under the same name. An array is copied.

        A compressed weight becomes a const; what only its chain used goes. Weights that were shared with it keep their value.

        Raises:
            MutationError: shape or dtype differ, or the weight is no longer in the program. Nothing was changed.
        """
        tensor = self._checked(value)
        source = self._source
        if isinstance(source, Const):
            self._set_operand(source, tensor)
        else:
            op = source.op
            if op is None or op.block is None:
                raise MutationError(f"weight {source.name} is no longer in the program: ask it for its weights again")
            if is_constexpr(op.op_type):
                self._source = _replaced(op, source, tensor)
            else:
                doc = op.attributes["val"].doc
                op.set_attribute("val", Const(TensorType(tensor.dtype, tensor.shape), tensor, doc))
        self._group.remove(self)
        self._group = [self]

    @property
    def _type(self) -> TensorType:
        kind = self._source.type
        assert isinstance(kind, TensorType)  # nothing else is found to be a weight
        return kind

    def _set_operand(self, old: Const, tensor: Tensor) -> None:
        use = self._use
        assert use is not None
        op, held = _consumer(use), _held(use)
        if op.block is None or use.position >= len(held) or held[use.position] is not old:
            raise MutationError(f"weight {self.name} is no longer in the program: ask it for its weights again")
        new = Const(TensorType(tensor.dtype, tensor.shape), tensor, old.doc)
        op.set(use.parameter, *(new if i == use.position else operand for i, operand in enumerate(held)))
        self._source = new

    def _checked(self, value: Array | Tensor) -> Tensor:
        wanted, shape = self.dtype, self.shape
        if not isinstance(value, Tensor):
            array = np.asarray(value)
            if array.dtype != wanted.numpy:
                fix = f"convert it with .astype({np.dtype(wanted.numpy).name!r})"
                raise MutationError(f"weight {self.name} is {wanted}, and the array is {array.dtype}: {fix}")
            if wanted.is_subbyte and array.size and not wanted.minimum <= int(array.min()) <= int(array.max()) <= wanted.maximum:
                span = f"{wanted.minimum} … {wanted.maximum}"
                raise MutationError(f"weight {self.name} is {wanted}, and the array has elements outside of {span}")
            value = ArrayTensor(array.copy(), wanted)
        if value.dtype is not wanted:
            raise MutationError(f"weight {self.name} is {wanted}, and the tensor is {value.dtype}")
        if value.shape != shape:
            raise MutationError(f"weight {self.name} has the shape {list(shape)}, and its new value {list(value.shape)}")
        return value

    def __repr__(self) -> str:
        return f"<Weight {self.name} in {self.where}: {self.scheme} {list(self.shape)}, {self.nbytes} bytes>"


def logical_weights(program: Program, min_elements: int = MIN_ELEMENTS) -> Iterator[Weight]:
    """The logical weights of a program, its nested blocks and its stages, in program order.

    Listed are all compressed constants; all constants that the op tables call weights where they are used; and of the others, be they
    biases, tables or unused, those of at least `min_elements` elements. Strings are none.

    Raises:
        EvaluationError: a constexpr op depends on itself.
    """
    groups: dict[tuple[int, ...], list[Weight]] = {}
    found: list[Weight] = []
    for function, where, op in placed_ops(program):
        for source, use in _sources(op, min_elements):
            found.append(Weight(function, where, source, use, groups.setdefault(_storage(op, source), [])))
    return iter(found)


def placed_ops(program: Program) -> Iterator[tuple[str, str, Op]]:
    """Every op with the name of its function and the path to its block, each op before those nested in it."""
    for stage, model in _stages(program, ""):
        for function in model.functions.values():
            several = len(function.specializations) > 1
            for opset, block in function.specializations.items():
                outermost = f"{stage}{function.name}{f'<{opset}>' if several else ''}"
                pending = [(iter(block), outermost)]
                while pending:
                    ops, where = pending[-1]
                    for op in ops:
                        yield function.name, where, op
                        if op.blocks:  # they come first; this block goes on behind them
                            inner = [(iter(nested), f"{where}/{op.name}[{index}]") for index, nested in enumerate(op.blocks)]
                            pending += reversed(inner)
                            break
                    else:
                        pending.pop()


def _stages(program: Program, prefix: str) -> Iterator[tuple[str, Program]]:
    yield prefix, program
    for position, stage in program.stages.items():
        yield from _stages(stage, f"{prefix}stage {'.'.join(map(str, position))}: ")


def _sources(op: Op, min_elements: int) -> Iterator[tuple[Value | Const, Use | None]]:
    """The weights that an op yields, or holds as literals."""
    if is_constexpr(op.op_type):
        for value in op.outputs:
            if _is_static(value) and _ends_here(op, value):
                yield value, None
    elif op.op_type == "const":
        literal = op.attributes.get("val")
        if literal is None or len(op.outputs) != 1 or not _is_numeric(literal) or not _is_static(op.output):
            return
        uses = op.output.uses
        if uses and all(_is_part(use) for use in uses):
            return
        if _size(literal) >= min_elements or any(map(_is_weight, uses)):
            yield op.output, None
    else:
        for parameter, held in op.operands.items():
            for position, operand in enumerate(held):
                if isinstance(operand, Const) and _is_numeric(operand):
                    use = Use(op, parameter, position)
                    if _size(operand) >= min_elements or _is_weight(use):
                        yield operand, use


def _ends_here(op: Op, value: Value) -> bool:
    """Whether a chain ends with this output: something else than a constexpr op uses it. The last stands for all where none is used."""
    if any(not _is_part(use) for use in value.uses):
        return True
    return value is op.outputs[-1] and not any(other.is_used for other in op.outputs)


def _is_part(use: Use) -> bool:
    """Whether a use makes the value a part of a compressed one."""
    return isinstance(use.user, Op) and is_constexpr(use.user.op_type)


def _is_weight(use: Use) -> bool:
    if isinstance(use.user, Block):
        return False
    spec = spec_of(use.user.op_type, OPSETS[-1])
    parameter = spec.param(use.parameter) if spec else None
    return parameter is not None and parameter.weight is not None


def _is_numeric(literal: Const) -> bool:
    return literal.is_tensor and literal.tensor.dtype is not STRING


def _is_static(value: Value) -> bool:
    return isinstance(value.type, TensorType) and value.type.is_static


def _size(literal: Const) -> int:
    return math.prod(literal.tensor.shape)


def _storage(op: Op, source: Value | Const) -> tuple[int, ...]:
    """What is equal for weights that lie in the same tensors."""
    if isinstance(source, Const):
        return (id(source.tensor),)
    ops = chain(op) if is_constexpr(op.op_type) else [op]
    return tuple(id(tensor) for tensor in stored_tensors(ops))


def _replaced(op: Op, source: Value, tensor: Tensor) -> Value:
    """Puts consts in the place of a constexpr op: `tensor` for `source`, what it has been for other outputs that are used."""
    others = [value for value in op.outputs if value is not source and value.is_used]
    known = evaluate(op) if others else ()
    made = by_consts(op, {source: tensor, **{value: known[value.index] for value in others}})
    return made[0].output


def _consumer(use: Use) -> Op:
    assert isinstance(use.user, Op)
    return use.user


def _held(use: Use) -> tuple[Value | Const, ...]:
    return _consumer(use).operands.get(use.parameter, ())
