"""Which consts are weights, and what stands in the way of compressing them. The op tables decide."""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import frozen

from ir.core import Block, Function, Op, Program, Use
from ir.opset import Opset, opset_of_key
from ir.specs import channel_axes, spec_of
from ir.tensors import Tensor
from ir.types import FP16, FP32, TensorType
from ir.walk import walk

COMPRESSIBLE = (FP16, FP32)
"""What the constexpr ops can yield."""


@frozen(eq=False)
class Candidate:
    """A const op that some op uses as a weight."""

    const: Op
    tensor: Tensor
    opset: Opset
    uses: tuple[Use, ...]
    """Where it is used as a weight, in the order in which the uses were made."""
    obstacle: str | None
    """Why no constexpr op may take its place, whatever the scheme; None if one may."""

    @property
    def name(self) -> str:
        return self.const.output.name

    @property
    def numel(self) -> int:
        return math.prod(self.tensor.shape)

    @property
    def op_type(self) -> str:
        """The type of the first op that uses the weight."""
        user = self.uses[0].user
        return user.op_type if isinstance(user, Op) else ""


def candidates(program: Program, min_elements: int) -> list[Candidate]:
    """The const ops of floating point that hold a weight of at least `min_elements` elements, in program order.

    Every function of the program and of its stages, every specialization by its own opset, nested blocks too. A specialization for an
    opset that this version does not know has none (`unknown_specializations` names them): nothing is known of its ops.
    """
    return [found for function in program.all_functions() for found in _of_function(function, max(min_elements, 1))]


def unknown_specializations(program: Program) -> list[tuple[Function, str]]:
    """The specializations for opsets that this version does not know: function and opset key."""
    return [(f, key) for f in program.all_functions() for key in f.specializations if opset_of_key(key) is None]


def output_axis(candidate: Candidate) -> int | str:
    """The axis of a weight's output channels, on which all its uses have to agree; where they do not, the reason in words."""
    by_axis: dict[int | None, Use] = {}
    for use in candidate.uses:
        assert isinstance(use.user, Op)
        by_axis.setdefault(channel_axes(use.user, use.parameter, use.position)[0], use)
    unknown = by_axis.get(None)
    if unknown is not None:
        return f"it has no known output channels in {_place(unknown)}"
    if len(by_axis) > 1:
        listed = ", ".join(f"{axis} in {_place(use)}" for axis, use in by_axis.items())
        return f"its consumers disagree about the axis of its output channels: {listed}"
    return next(axis for axis in by_axis if axis is not None)


def _of_function(function: Function, min_elements: int) -> Iterator[Candidate]:
    for key, outermost in function.specializations.items():
        opset = opset_of_key(key)
        if opset is None:
            continue
        for op in walk(outermost):
            found = _of_const(op, opset, min_elements) if op.op_type == "const" else None
            if found is not None:
                yield found


def _of_const(op: Op, opset: Opset, min_elements: int) -> Candidate | None:
    held = op.attributes.get("val")
    if held is None or len(op.outputs) != 1 or not isinstance(held.type, TensorType):
        return None
    numel = held.type.numel
    if not held.type.dtype.is_float or numel is None or numel < min_elements:
        return None
    uses = tuple(use for use in op.output.uses if _is_weight(use, opset))
    if not uses:
        return None
    return Candidate(op, held.tensor, opset, uses, _obstacle(op, held.type, opset))


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
        return "it is a vector: a scale for each of its channels would be one for each element"
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
