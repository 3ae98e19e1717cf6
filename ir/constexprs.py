"""The constexpr ops, evaluated: one table by op type, and chains of them.

Both forms are understood: that of iOS16, where operands are attributes, and indices and masks are packed bytes; and that of iOS18, where
operands are inputs. What the ops compute is in `ir.expansion`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from ir import expansion
from ir.const import Const
from ir.core import Op, Operand
from ir.diagnostics import EvaluationError
from ir.flows import SLAB, Flow, gathered, of_array, of_tensor, payload
from ir.infer.args import Args, InferError
from ir.opset import IOS16, OPSETS
from ir.opsets.schema import OpSpec
from ir.slabs import MAX_RANK, show_shape
from ir.specs import is_constexpr, spec_of
from ir.tensors import Array, ArrayTensor, Tensor
from ir.types import FP32, UINT1, DType, TensorType, Type

MAX_STAGES: Final = 8
"""Flows that may be computed for one, counted as `Computed.stages` does; what takes more is gathered, in memory. Weights take up to six: a
sparse look-up of vectors, scaled, made dense and cast. Without a limit a chain of thousands would be a recursion as deep."""


class Elements:
    """A value of a constexpr op or of an operand: the elements, computed as they are asked for where they are not stored."""

    __slots__ = ("_tensor", "dtype", "flow")

    def __init__(self, flow: Flow, dtype: DType, tensor: Tensor | None = None) -> None:
        self.flow = flow
        self.dtype = dtype
        self._tensor = tensor

    @staticmethod
    def of(tensor: Tensor) -> Elements:
        return Elements(of_tensor(tensor), tensor.dtype, tensor)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.flow.shape

    def tensor(self) -> Tensor:
        """All elements at once: as they are stored, or gathered, which is done once."""
        if self._tensor is None:
            array = gathered(self.flow)
            self._tensor, self.flow = ArrayTensor(array, self.dtype), of_array(array)
        return self._tensor

    def payload(self, slab: int = SLAB) -> Iterator[memoryview]:
        """The bytes as a weight file holds them, piece by piece; each is valid until the next."""
        return payload(self.flow, self.dtype, slab)


@frozen(eq=False)
class Given:
    """The operands of one op, by parameter."""

    operands: Mapping[str, Tensor | Elements]
    slab: int

    def __contains__(self, name: str) -> bool:
        return name in self.operands

    def elements(self, name: str) -> Elements:
        operand = self.operands[name]
        return operand if isinstance(operand, Elements) else Elements.of(operand)

    def flow(self, name: str) -> Flow:
        """An operand that is as large as the result."""
        return self.elements(name).flow

    def array(self, name: str) -> Array:
        """An operand that is small beside the result."""
        operand = self.operands[name]
        return (operand.tensor() if isinstance(operand, Elements) else operand).numpy()

    def dtype(self, name: str) -> DType:
        return self.operands[name].dtype

    def optional(self, name: str) -> Array | None:
        return self.array(name) if name in self else None

    def integer(self, name: str) -> int:
        array = self.array(name)
        if array.size != 1:
            raise EvaluationError(f"{name} has to be one integer, and is {show_shape(array.shape)}")
        return int(array.item())

    def shape(self) -> tuple[int, ...]:
        array = self.array("shape")
        if array.ndim != 1 or array.size > MAX_RANK:
            raise EvaluationError(f"shape has to be a vector of at most {MAX_RANK} elements, and is {show_shape(array.shape)}")
        if not array.all():
            raise EvaluationError("shape has a dimension of 0, and a compressed weight has elements")
        return tuple(int(dim) for dim in array)

    def vector_axis(self) -> int | None:
        return self.integer("vector_axis") if "vector_axis" in self else None

    def check_offset(self, data: str) -> None:
        if "offset" not in self:
            return
        offset, wanted = self.dtype("offset"), self.dtype(data)
        if not offset.is_float and offset is not wanted:
            raise EvaluationError(f"offset has to be a float or of the type of {data}, {wanted}, and is {offset}")
        if self.operands["offset"].shape != self.operands["scale"].shape:
            found = (show_shape(self.operands[name].shape) for name in ("offset", "scale"))
            raise EvaluationError("offset has to have the shape of scale, and they are {} and {}".format(*found))

    def check_entries(self, indices: str) -> None:
        lut, dtype = self.operands["lut"].shape, self.dtype(indices)
        if len(lut) < 2 or lut[-2] != 1 << dtype.bits:
            raise EvaluationError(f"a LUT for indices of {dtype} has to have {1 << dtype.bits} entries, and lut is {show_shape(lut)}")


Evaluator: TypeAlias = Callable[[Given], tuple[Elements, ...]]


def _affine_dequantize(given: Given) -> tuple[Elements, ...]:
    scale, zero_point, axis = given.array("scale"), given.array("zero_point"), given.integer("axis")
    dense = expansion.affine_dequantized(given.flow("quantized_data"), scale, zero_point, axis, given.slab)
    return (Elements(dense, given.dtype("scale")),)


def _blockwise_shift_scale(given: Given) -> tuple[Elements, ...]:
    given.check_offset("data")
    scale, offset = given.array("scale"), given.optional("offset")
    return (Elements(expansion.shift_scaled(given.flow("data"), scale, offset, given.slab), given.dtype("scale")),)


def _cast(given: Given) -> tuple[Elements, ...]:
    wanted = given.array("output_dtype")
    if wanted.size != 1 or wanted.item() != "fp32":
        raise EvaluationError(f"output_dtype has to be fp32, and is {', '.join(map(str, wanted.reshape(-1)[:4]))}")
    return (Elements(expansion.cast(given.flow("source_val"), np.float32, given.slab), FP32),)


def _lut_to_dense(given: Given) -> tuple[Elements, ...]:
    lut = given.array("lut")
    if "shape" in given:
        dense = expansion.packed_looked_up(given.flow("indices"), lut, given.shape(), given.slab)
    else:
        given.check_entries("indices")
        dense = expansion.looked_up(given.flow("indices"), lut, given.vector_axis(), given.slab)
    return (Elements(dense, given.dtype("lut")),)


def _sparse_to_dense(given: Given) -> tuple[Elements, ...]:
    nonzero, mask = given.flow("nonzero_data"), given.flow("mask")
    if "shape" in given:
        dense = expansion.packed_spread(nonzero, mask, given.shape(), given.slab)
    else:
        dense = expansion.spread(nonzero, mask, given.slab)
    return (Elements(dense, given.dtype("nonzero_data")),)


def _lut_to_sparse(given: Given) -> tuple[Elements, ...]:
    given.check_entries("indices_nonzero_data")
    lut, before = given.array("lut"), given.elements("indices_mask")
    mask, kept = expansion.kept_looked_up(before.flow, given.flow("indices_nonzero_data"), lut, given.vector_axis(), given.slab)
    return before if mask is before.flow else Elements(mask, UINT1), Elements(kept, given.dtype("lut"))


def _sparse_blockwise_shift_scale(given: Given) -> tuple[Elements, ...]:
    given.check_offset("nonzero_data")
    scale, offset = given.array("scale"), given.optional("offset")
    mask = given.elements("data_mask")
    kept = expansion.kept_shift_scaled(mask.flow, given.flow("nonzero_data"), scale, offset, given.slab)
    return mask, Elements(kept, given.dtype("scale"))


EVALUATORS: Final[Mapping[str, Evaluator]] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_cast": _cast,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_lut_to_sparse": _lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": _sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": _sparse_to_dense,
}


@frozen(eq=False)
class Step:
    """One op of a chain as plain data, which pickles: what its operands are, or which result of which earlier step."""

    op_type: str
    name: str
    operands: Mapping[str, Tensor | Result]
    outputs: tuple[tuple[str, Type], ...]
    """Name and declared type of each result."""


@frozen
class Result:
    """An output of a step, by the step's position."""

    step: int
    output: int


def evaluate(op: Op) -> tuple[Tensor, ...]:
    """The values of the outputs of a constexpr op, those that it takes from other constexpr ops evaluated with it.

    Raises:
        EvaluationError: an operand does not fit, is missing, computed at run time, or depends on the op itself; the result is not what the
            op declares; or an op of the chain is of an unknown type.
    """
    return evaluate_steps(steps(op))


def evaluate_steps(chained: Sequence[Step], slab: int = SLAB) -> tuple[Tensor, ...]:
    """The values of the outputs of the last of some steps. Raises as `evaluate`."""
    return tuple(result.tensor() for result in expanded_steps(chained, slab))


def expanded_steps(chained: Sequence[Step], slab: int = SLAB) -> tuple[Elements, ...]:
    """What `evaluate_steps` answers with, not yet computed: `slab` elements at a time are, as they are asked for.

    Tables, scales and offsets that other ops compute are, and every check is made, before this returns. Raises as `evaluate`.
    """
    last_use = {operand.step: at for at, step in enumerate(chained) for operand in step.operands.values() if isinstance(operand, Result)}
    known: dict[int, tuple[Elements, ...]] = {}
    for at, step in enumerate(chained):
        known[at] = _expanded(step, known, slab)
        for source in [source for source in known if last_use.get(source) == at]:
            del known[source]
    return known[len(chained) - 1]


def steps(op: Op) -> list[Step]:
    """What a constexpr op is computed from, as plain data; itself is the last step. No weight is read.

    Raises:
        EvaluationError: an operand is missing, computed at run time, or depends on the op itself; or an op is of an unknown type.
    """
    ops = chain(op)
    places = {each: at for at, each in enumerate(ops)}
    return [_step(each, places) for each in ops]


def check(op: Op) -> None:
    """Checks what a constexpr op declares against what follows from the types of its operands, without reading a weight.

    Raises:
        EvaluationError: they do not fit, or the op is of an unknown type.
    """
    row = row_of(op)
    try:
        if row is None or row.infer is None:
            raise EvaluationError(_no_such_op())
        types = row.infer(Args(row, op.operands, op.attributes))
        _check_types([(value.name, value.type) for value in op.outputs], [kind for kind in types if isinstance(kind, TensorType)])
    except InferError as error:
        raise EvaluationError(f"{op.op_type} {op.name}: {str(error).removeprefix(f'{op.op_type}: ')}") from None
    except EvaluationError as error:
        raise EvaluationError(f"{op.op_type} {op.name}: {error}") from None


def chain(op: Op) -> list[Op]:
    """The constexpr ops that a constexpr op is computed from, each behind those that it needs; itself is the last.

    Raises:
        EvaluationError: the op depends on itself.
    """
    order: dict[Op, None] = {}
    entered: dict[Op, None] = {}
    pending = [op]
    while pending:
        at = pending[-1]
        if at in order:
            pending.pop()
        elif at in entered:
            order[at] = None
            pending.pop()
        else:
            entered[at] = None
            for source in sources(at):
                if source in entered and source not in order:
                    raise EvaluationError(f"{source.op_type} {source.name}: it depends on itself, by way of {at.op_type} {at.name}")
                pending.append(source)
    return list(order)


def sources(op: Op) -> list[Op]:
    """The constexpr ops that an op takes operands from, each once, in the order of its parameters' names (a file has none)."""
    found: dict[Op, None] = {}
    for parameter in sorted(op.operands):
        for operand in op.operands[parameter]:
            source = None if isinstance(operand, Const) else operand.op
            if source is not None and is_constexpr(source.op_type):
                found[source] = None
    return list(found)


def operand_of(op: Op, parameter: str) -> Operand | None:
    """What a constexpr op has for a parameter, be it an input of it (from iOS18 on) or an attribute (before)."""
    found = op.get(parameter)
    return op.attributes.get(parameter) if found is None else found


def row_of(op: Op) -> OpSpec | None:
    """The row of the op tables for the form that a constexpr op is in: that of iOS16 where it has attributes for operands, or its shape."""
    old = spec_of(op.op_type, IOS16)
    if old is not None and ("shape" in op.operands or any(name in op.attributes for name in old.attributes)):
        return old
    return spec_of(op.op_type, OPSETS[-1])


def _step(op: Op, places: Mapping[Op, int]) -> Step:
    try:
        row = row_of(op)
        if row is None or op.op_type not in EVALUATORS:
            raise EvaluationError(_no_such_op())
        operands: dict[str, Tensor | Result] = {}
        for param in row.params:
            operand = operand_of(op, param.name)
            if operand is not None:
                operands[param.name] = _source_of(operand, param.name, places)
            elif not param.optional:
                raise EvaluationError(f"its parameter {param.name} is missing")
            if operand is not None and isinstance(operand.type, TensorType) and operand.type.dtype not in param.dtypes:
                wanted = " or ".join(map(repr, param.dtypes))
                raise EvaluationError(f"its {param.name} is of {operand.type.dtype}, and has to be of {wanted}")
    except EvaluationError as error:
        raise EvaluationError(f"{op.op_type} {op.name}: {error}") from None
    return Step(op.op_type, op.name, operands, tuple((value.name, value.type) for value in op.outputs))


def _source_of(operand: Operand, parameter: str, places: Mapping[Op, int]) -> Tensor | Result:
    literal: Const | None
    if isinstance(operand, Const):
        literal = operand
    else:
        source = operand.op
        if source is not None and source in places:
            return Result(places[source], operand.index)
        if source is None or source.op_type != "const":
            computed = f"the input {operand.name}" if source is None else f"computed by {source.op_type} {operand.name}"
            raise EvaluationError(f"its {parameter} has to be known at compile time, and is {computed}")
        literal = source.attributes.get("val")
    if literal is None or not literal.is_tensor:
        raise EvaluationError(f"its {parameter} has to be a tensor, and is {'without a value' if literal is None else repr(literal.type)}")
    return literal.tensor


def _expanded(step: Step, known: Mapping[int, tuple[Elements, ...]], slab: int) -> tuple[Elements, ...]:
    try:
        given = Given({name: _operand(operand, name, known) for name, operand in step.operands.items()}, slab)
        results = EVALUATORS[step.op_type](given)
        _check_types(step.outputs, [TensorType(result.dtype, result.shape) for result in results])
    except EvaluationError as error:
        raise EvaluationError(f"{step.op_type} {step.name}: {error}") from None
    for result in results:
        if result.flow.stages > MAX_STAGES:
            result.tensor()
    return results


def _operand(operand: Tensor | Result, parameter: str, known: Mapping[int, tuple[Elements, ...]]) -> Tensor | Elements:
    if not isinstance(operand, Result):
        return operand
    results = known[operand.step]
    if operand.output >= len(results):
        raise EvaluationError(f"its {parameter} is the output {operand.output} of an op that has {len(results)}")
    return results[operand.output]


def _check_types(outputs: Sequence[tuple[str, Type]], types: Sequence[TensorType]) -> None:
    if len(types) != len(outputs):
        raise EvaluationError(f"it yields {len(types)} results, and has {len(outputs)} outputs")
    for (name, declared), found in zip(outputs, types, strict=True):
        if not isinstance(declared, TensorType) or declared.dtype is not found.dtype or declared.shape != found.shape:
            raise EvaluationError(f"{name} is {found!r}, and is declared as {declared!r}")


def _no_such_op() -> str:
    return f"there is no such constexpr op; there are {', '.join(EVALUATORS)}"
