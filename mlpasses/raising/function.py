"""What a rewrite is given: the function that is being raised, and how to put ops, literals and problems into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from ir.builder import Builder, BuilderError, Names
from ir.const import Const, Python
from ir.core import Function, Op, Operand, Value, constant_of
from ir.infer import InferError
from ir.opset import Opset
from ir.tensors import Array
from ir.types import TensorType
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.raising.nonnegative import NonNegative
from mlpasses.raising.tensors import Reheaded


class InexpressibleError(ConfigError):
    """An op that the new opset cannot express. The text is the reason; the op is added where it is caught."""


@define(eq=False)
class Raising:
    """One function on its way from the opset `old` to `new`, whose key the function has already.

    `reheaded` is shared by the functions of a program, as weights are. `changed` has the ops that were changed, or put in another's place.
    """

    function: Function
    old: Opset
    new: Opset
    cx: Context
    reheaded: Reheaded
    nonnegative: NonNegative = field(factory=NonNegative)
    guards: dict[tuple[object, ...], Value] = field(factory=dict)
    """The indices that were made non-negative already: see `mlpasses.raising.indices`."""
    problems: list[str] = field(factory=list)
    changed: dict[Op, None] = field(factory=dict)
    names: Names = field(init=False)

    @names.default
    def _names_of_function(self) -> Names:
        return Names(self.function.body)

    @contextmanager
    def problems_of(self, op: Op) -> Iterator[None]:
        """Collects what `op` cannot be in the new opset, so that all problems of a program come together."""
        what = f"{op.op_type} {op.name} in function {self.function.name}"
        try:
            yield
        except (InexpressibleError, InferError, BuilderError) as reason:
            self.problems.append(f"{what}: {reason}")

    def const(self, before: Op, value: Const | Python, name: str) -> Value:
        """A literal for an operand, as a `const` op in front of `before`, as every writer of ML Programs puts them."""
        builder = Builder.before(before, names=self.names)
        made = builder.const(value, name=builder.fresh(name))
        self.made(before, made.op)
        return made

    def emit(self, before: Op, op_type: str, name: str, *, attributes: Mapping[str, Const] | None = None, **operands: Any) -> Op:
        """An op in front of `before`, with inferred results and all defaults; `operands` and `name` are as in `Builder.op`."""
        assert before.block is not None
        last = before.previous
        builder = Builder.before(before, names=self.names)
        free = builder.fresh(name) if self.names.is_taken(name) else name
        op = builder.op(op_type, name=free, attributes=attributes, **operands)
        first = before.block.first if last is None else last.next
        while first is not before:
            self.made(before, first)
            first = None if first is None else first.next
        return op

    def made(self, source: Op, op: Op | None) -> None:
        """Tells that `op` was made for `source`; they are one where it was changed."""
        if op is not None:
            self.cx.made(op, rule=f"{source.op_type} at {self.new}", sources=(source,))

    def changes(self, op: Op) -> Op:
        """Notes that `op` was changed, or took another's place; answers with it."""
        self.changed[op] = None
        self.made(op, op)
        return op

    def succeed(self, op: Op, old: Value, op_type: str, **operands: Any) -> Op:
        """An op in front of `op` whose result stands for `old` wherever that is used, by its name too: it may be that of an output."""
        name = old.name
        old.rename(self.names.fresh(f"{name}_before"))
        made = self.emit(op, op_type, name, attributes=_name_attribute(op) if old is op.outputs[0] else None, **operands)
        old.replace_uses(made.output)
        return made

    def inherit(self, old: Value, new: Value) -> None:
        """Lets `new`, of an op that is there already, stand for `old`, by its name too."""
        name = old.name
        old.rename(self.names.fresh(f"{name}_before"))
        new.rename(name)
        old.replace_uses(new)

    def replace_operand(self, op: Op, parameter: str, operand: Operand) -> None:
        """Lets `parameter` hold another operand, and erases the `const` op that it held if nothing else uses it."""
        dropped = op.operands.get(parameter, ())
        op.set(parameter, operand)
        erase_unused_consts(dropped)


def _name_attribute(op: Op) -> dict[str, Const]:
    return {name: value for name, value in op.attributes.items() if name == "name"}


def other_attributes(op: Op) -> dict[str, Const]:
    """The attributes of an op but for its name."""
    return {name: value for name, value in op.attributes.items() if name != "name"}


def erase_unused_consts(operands: Sequence[Operand]) -> None:
    """Erases the `const` ops among what `operands` come from that nothing uses any more."""
    for operand in operands:
        if isinstance(operand, Value) and not operand.is_used and operand.op is not None and operand.op.op_type == "const":
            operand.op.erase()


def parameter(op: Op, name: str) -> Const | None:
    """The tensor literal that a parameter has, as an operand or as an attribute; None where it is absent or computed.

    Raises:
        InexpressibleError: it is a literal, and no tensor.
    """
    operand = op.get(name)
    literal = op.attributes.get(name) if operand is None else constant_of(operand)
    if literal is not None and not literal.is_tensor:
        raise InexpressibleError(f"its {name} is no tensor but a {literal.type!r}")
    return literal


def numbers(literal: Const, name: str) -> Array:
    """The elements of a literal that has to be of numbers.

    Raises:
        InexpressibleError: it is of strings or truth values.
    """
    if literal.tensor.dtype.kind in ("string", "bool"):
        raise InexpressibleError(f"its {name} is of {literal.tensor.dtype}")
    return literal.numpy()


def tensor_type(operand: Operand, name: str) -> TensorType:
    """The tensor type of an operand.

    Raises:
        InexpressibleError: it is no tensor.
    """
    if not isinstance(operand.type, TensorType):
        raise InexpressibleError(f"its {name} is no tensor but a {operand.type!r}")
    return operand.type


def required(op: Op, name: str) -> Operand:
    """The operand of a parameter that has to be there.

    Raises:
        InexpressibleError: it is not.
    """
    operand = op.get(name)
    if operand is None:
        raise InexpressibleError(f"it has no {name}")
    return operand


def integer(op: Op, name: str, default: int) -> int:
    """The value of an integer parameter.

    Raises:
        InexpressibleError: it is not known, or no integer.
    """
    if name not in op:
        return default
    const = parameter(op, name)
    value = const.item() if const is not None and isinstance(const.type, TensorType) and const.type.numel == 1 else None
    if not isinstance(value, int):
        raise InexpressibleError(f"its {name} is not one integer that is known at compile time")
    return value
