"""Constants in the place of others: a constexpr op's, whose outputs' names and uses are theirs, and the literals that an op holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import is_not

from ir.const import Const
from ir.core import Block, Op, Operand, Value
from ir.diagnostics import MutationError
from ir.specs import is_constexpr
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


def substitute_literals(op: Op, substitute: Callable[[Const], Const]) -> int:
    """Lets the literals that an op itself holds, as attributes and operands, be what `substitute` says; answers with how many changed.

    Where it answers with the literal itself, that stays. The op's name is not asked about.
    """
    changed = 0
    for name, const in op._attributes.items():  # a change makes new attributes
        if name != "name":
            new = substitute(const)
            if new is not const:
                op.set_attribute(name, new)
                changed += 1
    found: list[tuple[str, list[Operand]]] = []
    for parameter, held in op._operands.items():
        for operand in held:
            if operand.__class__ is Const:  # few parameters hold one, and fewer one that changes
                news: list[Operand] = [substitute(each) if isinstance(each, Const) else each for each in held]
                if any(map(is_not, news, held)):
                    found.append((parameter, news))
                break
    for parameter, news in found:
        changed += sum(map(is_not, news, op._operands[parameter]))
        op.set(parameter, *news)
    return changed


def erase_unused(ops: list[Op]) -> int:
    """Erases those of some const and constexpr ops that nobody uses, and what they alone used; answers with how many."""
    erased = 0
    pending = list(ops)
    while pending:
        op = pending.pop()
        if op.block is None or op.is_used:
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
