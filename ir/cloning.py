"""Copies of blocks: new ops and values, the same literals.

Nothing is checked of a copy that was checked of the original, so its fields are set as they are there: 2.6 µs an op, and 4.4 by the
methods that programs are built with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from ir.collector import collector_paused
from ir.const import Const
from ir.core import Block, Op, Operand, Value, forget_sources, source_of

Substitute: TypeAlias = "Callable[[Const], Const]"


@collector_paused()
def clone_block(block: Block, mapping: dict[Value, Value], substitute: Substitute | None = None) -> Block:
    """A copy of `block` in which `mapping` stands for what is defined outside; the values defined inside are added to it.

    Ops hold the same literals, or what `substitute` says of each; it is not asked about their names.
    """
    outside: dict[Value, None] = {}
    alike = all(source_of(value) == source_of(stand_in) for value, stand_in in mapping.items())
    outermost = _empty_copy(block, mapping)
    copies = [(block, outermost)]
    changed: list[Op] = []
    for original, copy in copies:  # grows: blocks are filled after those that they are nested in, whose values they may use
        _fill(copy, original, mapping, substitute, outside, copies, changed, alike)
        copy.set_outputs([_stand_in(v, mapping, outside) for v in original.outputs])
    used_too_early = [v for v in outside if v in mapping]
    for op in changed:
        forget_sources(op)
    if used_too_early:
        _redirect_uses(used_too_early, mapping, {copy for _, copy in copies})
    return outermost


def _fill(
    copy: Block,
    original: Block,
    mapping: dict[Value, Value],
    substitute: Substitute | None,
    outside: dict[Value, None],
    copies: list[tuple[Block, Block]],
    changed: list[Op],
    alike: bool,
) -> None:
    """Puts copies of the ops of `original` into `copy`, with empty nested blocks, which are added to `copies`.

    Const ops whose literal is another are added to `changed`. `alike` says whether what comes from outside is of the same sources.
    """
    names, index = copy._names, copy._index
    buckets: dict[str, dict[Op, None]] = {op_type: index.setdefault(op_type, {}) for op_type in original.op_types()}
    previous: Op | None = None
    at = original.first
    while at is not None:
        op: Op = Op.__new__(Op)
        op_type = op._op_type = at._op_type
        op._attributes = at._attributes  # shared: a change makes a new one
        op._sources = at._sources if alike else None
        if substitute is not None and _substitute(op, substitute) and op_type == "const":
            changed.append(op)
        operands = op._operands = at._operands.copy()
        for parameter, held in operands.items():
            if len(held) == 1:
                value = held[0]
                if value.__class__ is Value:
                    stand_in = mapping.get(value)
                    if stand_in is None:
                        stand_in = _stand_in(value, mapping, outside)
                    operands[parameter] = (stand_in,)
                    stand_in._uses[op, parameter, 0] = None
                elif substitute is not None and isinstance(value, Const):
                    operands[parameter] = (substitute(value),)
                    op._sources = None
            elif held:
                operands[parameter] = _copied_operands(op, parameter, held, mapping, substitute, outside)
                if substitute is not None:
                    op._sources = None
        outputs = at._outputs
        if len(outputs) == 1:
            value = outputs[0]
            made = mapping[value] = Value(value._name, value._type, op)
            names[value._name] = made
            op._outputs = (made,)
        else:
            op._outputs = tuple([Value(value._name, value._type, op) for value in outputs])
            mapping.update(zip(outputs, op._outputs, strict=True))
            names.update((value._name, value) for value in op._outputs)
        op._order = at._order
        op.origin = at.origin
        op._block = copy
        op._prev = previous
        op._next = None
        if previous is None:
            copy._first = op
        else:
            previous._next = op
        buckets[op_type][op] = None
        if at._blocks:
            op._blocks = tuple([_empty_copy(inner, mapping) for inner in at._blocks])
            for inner in op._blocks:
                inner._parent = op
            copies.extend(zip(at._blocks, op._blocks, strict=True))
            copy._nesting[op] = None
        else:
            op._blocks = ()
        previous = op
        at = at._next
    copy._last = previous
    copy._count = len(original)


def _substitute(op: Op, substitute: Substitute) -> bool:
    """Lets an op hold other literals as attributes; answers with whether it does."""
    before = op._attributes
    for name, const in before.items():
        if name != "name":
            new = substitute(const)
            if new is not const:
                op._attributes = {**op._attributes, name: new}
    return op._attributes is not before


def _copied_operands(
    op: Op,
    parameter: str,
    held: tuple[Operand, ...],
    mapping: Mapping[Value, Value],
    substitute: Substitute | None,
    outside: dict[Value, None],
) -> tuple[Operand, ...]:
    literal = substitute or _itself
    copied = tuple([_stand_in(v, mapping, outside) if isinstance(v, Value) else literal(v) for v in held])
    for position, operand in enumerate(copied):
        if isinstance(operand, Value):
            operand._uses[op, parameter, position] = None
    return copied


def _itself(literal: Const) -> Const:
    return literal


def _stand_in(value: Value, mapping: Mapping[Value, Value], outside: dict[Value, None]) -> Value:
    """The copy of a value; the value itself where there is none, which is noted in `outside`."""
    copy = mapping.get(value)
    if copy is None:
        outside[value] = None
        return value
    return copy


def _empty_copy(block: Block, mapping: dict[Value, Value]) -> Block:
    copy = Block([(v.name, v.type) for v in block.inputs], block.attributes)
    mapping.update(zip(block.inputs, copy.inputs, strict=True))
    return copy


def _redirect_uses(values: Iterable[Value], mapping: Mapping[Value, Value], blocks: set[Block]) -> None:
    """Lets what stands in `blocks` use the copies of `values`: an op that comes before what it uses was cloned before it."""
    for value in values:
        for user, parameter, _ in value.uses:
            if isinstance(user, Op):
                if user.block in blocks:
                    user.set(parameter, *(mapping[value] if v is value else v for v in user.operands[parameter]))
            elif user in blocks:
                user.set_outputs([mapping[value] if v is value else v for v in user.outputs])
