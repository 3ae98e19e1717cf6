"""A constexpr op gives its place to consts: the names and uses of its outputs are theirs, and what only it needed goes."""

from __future__ import annotations

from collections.abc import Mapping

from ir.const import Const
from ir.constexprs import is_constexpr
from ir.core import Block, Op, Value
from ir.diagnostics import MutationError
from ir.tensors import Tensor
from ir.types import TensorType


def by_consts(op: Op, tensors: Mapping[Value, Tensor]) -> list[Op]:
    """Puts a const op in the place of each of these outputs of a constexpr op, by its name, and erases the op. O(uses).

    The const and constexpr ops that it alone used go with it, those that these alone used too.

    Raises:
        MutationError: the op stands in no block, or another output is used.
    """
    block = op.block
    if block is None:
        raise MutationError(f"{op.op_type} {op.name} stands in no block")
    for value in op.outputs:
        if value not in tensors and value.is_used:
            raise MutationError(f"{value.name} of {op.op_type} {op.name} is used, and there is no value to take its place")
    sources = constant_sources(op)
    names = {value: value.name for value in op.outputs}
    label = op.attributes.get("name")
    for value in op.outputs:
        value.rename(_free_name(block, value.name))
    made = []
    for value, tensor in tensors.items():
        attributes = {"val": Const(TensorType(tensor.dtype, tensor.shape), tensor)}
        if label is not None:
            attributes["name"] = label if len(op.outputs) == 1 else Const.of(names[value])
        const = Op("const", {}, [(names[value], value.type)], attributes)
        block.insert_before(op, const)
        value.replace_uses(const.output)
        made.append(const)
    op.erase()
    for value, name in names.items():
        value.rename(name)
    erase_unused(sources)
    return made


def erase_unused(ops: list[Op]) -> int:
    """Erases those of some const and constexpr ops that nobody uses, and what they alone used; answers with how many."""
    erased = 0
    pending = list(ops)
    while pending:
        op = pending.pop()
        if op.block is None or any(value.is_used for value in op.outputs):
            continue
        pending += constant_sources(op)
        op.erase()
        erased += 1
    return erased


def constant_sources(op: Op) -> list[Op]:
    """The const and constexpr ops that an op takes operands from."""
    found: dict[Op, None] = {}
    for held in op.operands.values():
        for operand in held:
            source = operand.op if isinstance(operand, Value) else None
            if source is not None and (source.op_type == "const" or is_constexpr(source.op_type)):
                found[source] = None
    return list(found)


def _free_name(block: Block, name: str) -> str:
    number = 0
    while block.value_named(f"{name}_{number}") is not None:
        number += 1
    return f"{name}_{number}"
