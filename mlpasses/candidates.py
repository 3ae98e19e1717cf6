"""Which constants are weights, what stands in the way of compressing them, and which others are large. The op tables decide."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Final

from attrs import frozen

from ir.const import Const
from ir.constexprs import chain
from ir.core import Block, Function, Op, Operand, Program, Use, Value, constant_of
from ir.opset import Opset, opset_of_key
from ir.schemes import scheme_of, stored_tensors
from ir.specs import channel_axes, is_constexpr, spec_of
from ir.tensors import Tensor
from ir.types import FP16, FP32, DType, TensorType
from ir.walk import opset_of
from ir.weights import placed_ops
from mlpasses.forms.form import Form
from mlpasses.forms.recognition import form_of

LARGE: Final = 2048
"""Elements from which a constant that is no weight is worth a word in the report."""
SMALL: Final = 64
"""Bytes below which literals are the same where they are equal: shapes, axes. Larger ones are where they are one tensor."""
COMPRESSIBLE = (FP16, FP32)
"""What the constexpr ops can yield."""


@frozen(eq=False)
class Candidate:
    """A constant that some op uses as a weight."""

    op: Op
    """The const op, or the last constexpr op of the chain, that yields it."""
    stored: Tensor | Form
    """Its numbers: as they are, or in compressed form."""
    type: TensorType
    """What it is to its consumers."""
    opset: Opset
    uses: tuple[Use, ...]
    """Where it is used as a weight, in the order in which the uses were made."""
    obstacle: str | None
    """Why no constexpr op may take its place, whatever the scheme; None if one may."""
    where: str = ""
    """The function, with stage, specialization and nested blocks as far as there are several: names are unique in one place only."""
    idle: Bystander | None = None
    """What is said of it where no rule names it: it is a const that nothing uses as a weight. None for weights."""
    held: int | None = None
    """The bytes of all that its chain holds, where it is compressed: more than its form's where a mask is there twice."""

    @property
    def name(self) -> str:
        return self.op.output.name

    @property
    def place(self) -> tuple[str, str]:
        """What tells the weight from all others of the program, whatever form it has."""
        return self.where, self.name

    @property
    def dtype(self) -> DType:
        """The type of its elements, as consumers see them."""
        return self.type.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.static_shape

    @property
    def numel(self) -> int:
        return math.prod(self.type.static_shape)

    @property
    def nbytes(self) -> int:
        """The bytes that it takes now."""
        return self.tensor.nbytes if self.held is None else self.held

    @property
    def form(self) -> Form | None:
        """The compressed form that it is in; None where it is dense."""
        return self.stored if isinstance(self.stored, Form) else None

    @property
    def tensor(self) -> Tensor:
        """Its elements, where it is dense."""
        assert not isinstance(self.stored, Form)  # whoever asks has looked
        return self.stored

    @property
    def scheme(self) -> str:
        """What it is now: `fp16`, or its compressed form in words."""
        return self.dtype.name if self.form is None else scheme_of(self.op)

    @property
    def op_type(self) -> str:
        """The type of the first op that uses the weight."""
        user = self.uses[0].user
        return user.op_type if isinstance(user, Op) else ""


@frozen(eq=False)
class Bystander:
    """A large constant that is no candidate: passes over weights leave it alone, and say why."""

    name: str
    where: str
    op_type: str
    """The type of the op that uses it, the first where there are several."""
    shape: tuple[int, ...]
    scheme: str
    nbytes: int
    reason: str
    storage: object
    """The same object for constants that are stored once: the tensor, or the form, of a compressed one."""


def candidates(program: Program, min_elements: int) -> list[Candidate]:
    """The const ops of floating point that hold a weight of at least `min_elements` elements, in program order.

    Every function of the program and of its stages, every specialization by its own opset, nested blocks too. A specialization for an
    opset that this version does not know has none (`unknown_specializations` names them): nothing is known of its ops.
    """
    found = (each for each in survey(program) if isinstance(each, Candidate) and each.form is None)
    return [each for each in found if each.numel >= min_elements]


def survey(program: Program, named: Collection[str] = ()) -> Iterator[Candidate | Bystander]:
    """Every candidate, and the other constants that are compressed or have at least `LARGE` elements, in program order.

    A const of floating point that ops use, but not as a weight (a mask, a table, an additive constant) is a candidate too if its name is
    one of `named`: passes over weights take such where a rule calls them by name, and only then.
    """
    around: Block | None = None
    opset: Opset | None = None
    forms: dict[Hashable, Form] = {}
    for _, where, op in placed_ops(program):
        block, op_type = op.block, op.op_type
        if block is not around:
            around, opset = block, opset_of(block)
        if opset is None:
            continue
        if op_type == "const":
            found = _of_const(op, opset, where, named)
            if found is not None:
                yield found
        elif is_constexpr(op_type):
            yield from _compressed(op, opset, where, forms)
        else:
            for parameter, held in op.operands.items():
                for operand in held:
                    if operand.__class__ is Const and _is_large(operand):
                        yield _literal(op, where, parameter, operand)


def unknown_specializations(program: Program) -> list[tuple[Function, str]]:
    """The specializations for opsets that this version does not know: function and opset key."""
    return [(f, key) for f in program.all_functions() for key in f.specializations if opset_of_key(key) is None]


def output_axis(candidate: Candidate, axis: int | None = None) -> int | str:
    """The axis of a weight's output channels, or the reason in words why there is none.

    It is `axis`, where that is given, and otherwise the one that all uses of the weight agree on.
    """
    rank = len(candidate.shape)
    if axis is not None:
        return axis % rank if -rank <= axis < rank else f"it has no axis {axis}: it is of rank {rank}"
    return _agreed_axis(candidate, 0)


def input_axis(candidate: Candidate) -> int | str:
    """The axis of a weight's input channels, on which all its uses have to agree, or the reason in words why there is none."""
    return _agreed_axis(candidate, 1)


def _agreed_axis(candidate: Candidate, which: int) -> int | str:
    """The output channels' axis (0) or the input channels' (1)."""
    kind = ("output", "input")[which]
    by_axis: dict[int | None, Use] = {}
    for use in candidate.uses:
        assert isinstance(use.user, Op)
        by_axis.setdefault(channel_axes(use.user, use.parameter, use.position)[which], use)
    unknown = by_axis.get(None)
    if unknown is not None:
        return f"it has no known {kind} channels in {_place(unknown)}"
    if len(by_axis) > 1:
        listed = ", ".join(f"{axis} in {_place(use)}" for axis, use in by_axis.items())
        return f"its consumers disagree about the axis of its {kind} channels ({listed}): give an axis"
    return next(axis for axis in by_axis if axis is not None)


def _of_const(op: Op, opset: Opset, where: str, named: Collection[str]) -> Candidate | Bystander | None:
    """What a const is to passes over weights; None where it is no tensor of floats, or nothing is said of it."""
    held, outputs = op.attributes.get("val"), op.outputs
    kind = None if held is None else held.type
    if held is None or not isinstance(kind, TensorType) or not kind.dtype.is_float or len(outputs) != 1:
        return None
    uses = outputs[0].uses
    weights = tuple([use for use in uses if _is_weight(use, opset)])
    if weights:
        return Candidate(op, held.tensor, kind, opset, weights, _obstacle(op, kind, opset), where)
    called = outputs[0].name in named
    idle = _idle_const(op, held, uses, where) if uses and (called or _is_large(held)) else None
    if idle is None or not called:
        return idle
    others = tuple([use for use in uses if isinstance(use.user, Op)])
    if not others:  # a block returns it, and that is all
        return idle
    return Candidate(op, held.tensor, kind, opset, others, _obstacle(op, kind, opset), where, idle)


def _idle_const(op: Op, held: Const, uses: Sequence[Use], where: str) -> Bystander | None:
    """A const of floating point that is used, but not as a weight; None where it is part of a compressed one."""
    use = uses[0]
    if isinstance(use.user, Op) and is_constexpr(use.user.op_type):
        return None
    place = "a block returns it" if isinstance(use.user, Block) else f"it is {_place(use)}, which is no weight"
    tensor = held.tensor
    kind = use.user.op_type if isinstance(use.user, Op) else ""
    return Bystander(op.output.name, where, kind, tensor.shape, tensor.dtype.name, tensor.nbytes, place, tensor)


def _compressed(op: Op, opset: Opset, where: str, forms: dict[Hashable, Form]) -> Iterator[Candidate | Bystander]:
    """The end of a chain of constexpr ops; `forms` are those of the chains before it, by what they are stored in."""
    for value in op.outputs:
        users = value.users
        if not isinstance(value.type, TensorType) or not value.type.is_static or all(is_constexpr(user.op_type) for user in users):
            continue
        ops = chain(op)
        form = _form(op, ops, forms)
        uses = tuple(use for use in value.uses if _is_weight(use, opset))
        tensors = list(stored_tensors(ops))
        nbytes = sum(tensor.nbytes for tensor in tensors)
        if uses and isinstance(form, Form) and len(op.outputs) == 1:
            yield Candidate(op, form, value.type, opset, uses, _obstacle(op, value.type, opset), where, held=nbytes)
            continue
        reason = compressed_already(op)
        if isinstance(form, str):
            reason += f" ({form})"
        storage = form if isinstance(form, Form) else tensors[0] if tensors else op
        yield Bystander(value.name, where, users[0].op_type, value.type.static_shape, scheme_of(op), nbytes, reason, storage)


def _form(op: Op, ops: list[Op], forms: dict[Hashable, Form]) -> Form | str:
    """The form of the last of a chain of ops, the same object for what functions share; or why it is none."""
    key = _stored_in(ops)
    if key not in forms:
        found = form_of(op)
        if isinstance(found, str):
            return found
        forms[key] = found
    return forms[key]


def _stored_in(ops: list[Op]) -> Hashable:
    """Equal for chains of the same ops over the same tensors."""
    places = {op: place for place, op in enumerate(ops)}

    def origin(operand: Operand) -> Hashable:
        literal = constant_of(operand)
        if literal is not None:
            return id(literal.tensor) if literal.is_tensor and literal.tensor.nbytes >= SMALL else literal
        assert isinstance(operand, Value)
        return operand if operand.op is None else (places.get(operand.op, operand), operand.index)

    return tuple(
        (
            op.op_type,
            tuple((parameter, tuple(map(origin, op.operands[parameter]))) for parameter in sorted(op.operands)),
            tuple((parameter, origin(op.attributes[parameter])) for parameter in sorted(op.attributes) if parameter != "name"),
            tuple(value.type for value in op.outputs),
        )
        for op in ops
    )


def compressed_already(op: Op) -> str:
    """Why a compressed weight is left alone by a scheme that makes nothing of its form."""
    return f"it is compressed already, as {scheme_of(op)}: put DecompressWeights before, to compress it anew"


def _literal(op: Op, where: str, parameter: str, operand: Const) -> Bystander:
    """A large literal that an op holds itself."""
    tensor = operand.tensor
    reason = f"it is a literal operand of {op.op_type} {op.name}, and only const ops are replaced"
    return Bystander(f"{op.name}.{parameter}", where, op.op_type, tensor.shape, tensor.dtype.name, tensor.nbytes, reason, tensor)


def _is_large(literal: Const) -> bool:
    return literal.is_tensor and literal.tensor.dtype.is_float and math.prod(literal.tensor.shape) >= LARGE


def _is_weight(use: Use, opset: Opset) -> bool:
    if isinstance(use.user, Block):
        return False
    spec = spec_of(use.user.op_type, opset)
    parameter = spec.param(use.parameter) if spec else None
    return parameter is not None and parameter.weight is not None


def _obstacle(op: Op, kind: TensorType, opset: Opset) -> str | None:
    if kind.dtype not in COMPRESSIBLE:
        return f"it is {kind.dtype}, and constexpr ops yield fp16 and fp32 only"
    if kind.rank < 2:
        return "it is a vector, and only what has input and output channels is compressed"
    for use in op.output.uses:
        refusal = _refusal(use, opset)
        if refusal is not None:
            return refusal
    return None


def _refusal(use: Use, opset: Opset) -> str | None:
    """Why a use does not take the output of a constexpr op; None if it does."""
    if isinstance(use.user, Block):
        return "a block returns it, and a block may not return the output of a constexpr op"
    spec = spec_of(use.user.op_type, opset)
    parameter = spec.param(use.parameter) if spec else None
    if parameter is None:
        return f"it is used by {_place(use)}, of which nothing is known"
    if parameter.constexpr is None:
        return f"{_place(use)} takes no output of a constexpr op"
    if opset < parameter.constexpr:
        return f"{_place(use)} takes the output of a constexpr op from {parameter.constexpr} on, and this is {opset}"
    return None


def _place(use: Use) -> str:
    op = use.user
    assert isinstance(op, Op)
    return f"{use.parameter} of {op.op_type} {op.name}".rstrip()
