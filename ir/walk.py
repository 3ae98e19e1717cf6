"""Walks, slices and orders over ops: recursive through nested blocks, without recursion in Python.

An op with nested blocks stands for what is in them: it depends on what they capture, and what depends on something inside depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.diagnostics import InvalidProgramError, Problem
from ir.opset import Opset, opset_of_key
from ir.types import StateType

_Follow: TypeAlias = Callable[[Op], Iterator[Op]]


def walk(root: Op | Block | Function | Program) -> Iterator[Op]:
    """Every op in `root`, each before those in its nested blocks, in program order (an op itself comes first).

    Iteration is as safe under mutation as that of each block: the current op may be erased or replaced, its blocks are then not visited.
    """
    if isinstance(root, Op):
        yield root
        pending = [iter(block) for block in reversed(root.blocks)]
    elif isinstance(root, Block):
        pending = [iter(root)]
    else:
        functions = [root] if isinstance(root, Function) else list(root.all_functions())
        pending = [iter(block) for function in reversed(functions) for block in reversed(list(function.specializations.values()))]
    while pending:
        for op in pending[-1]:
            around = op._block
            yield op
            if op._blocks and op._block is around:  # its blocks come first; this one goes on behind them
                pending.extend(iter(block) for block in reversed(op._blocks))
                break
        else:
            pending.pop()


def literals(op: Op) -> Iterator[Const]:
    """The literals that an op itself holds as operands and as attributes, other than its name."""
    for name, const in op._attributes.items():
        if name != "name":
            yield const
    for held in op._operands.values():
        for operand in held:
            if operand.__class__ is Const:
                yield operand


def used_values(op: Op) -> Iterator[Value]:
    """The values that the op uses, in order and as often as it uses them; then those that its nested blocks capture, each once."""
    for held in op.operands.values():
        for operand in held:
            if isinstance(operand, Value):
                yield operand
    if op.blocks:
        yield from captured(op)


def captured(op: Op) -> list[Value]:
    """The values defined outside of `op` that its nested blocks use, at any depth, in the order of their first use."""
    inside: set[Value] = set()
    used: dict[Value, None] = {}
    pending = list(reversed(op.blocks))
    while pending:
        block = pending.pop()
        inside.update(block.inputs)
        for nested in block:
            inside.update(nested.outputs)
            for held in nested.operands.values():
                used.update((operand, None) for operand in held if isinstance(operand, Value))
            pending.extend(reversed(nested.blocks))
        used.update((value, None) for value in block.outputs)
    return [value for value in used if value not in inside]


def backward_slice(*seeds: Op | Value) -> list[Op]:
    """The ops that the seeds depend on, theirs included, in program order.

    A value that comes into a nested block depends on the op that holds the block. Ops in the blocks of an op of the slice are not listed,
    unless a seed leads there.
    """
    return _closure(seeds, _sources)


def forward_slice(*seeds: Op | Value) -> list[Op]:
    """The ops that depend on the seeds, seeds that are ops included, in program order.

    What depends on a seed inside a nested block makes the op that holds the block depend on it. Ops in the blocks of an op of the slice
    are listed where they depend on a seed, or on a value that the op brings into its blocks.
    """
    return _closure([user for seed in seeds for user in ([seed] if isinstance(seed, Op) else _dependants(seed))], _consumers)


def is_sorted(block: Block) -> bool:
    """Whether each op of a block comes after all that it uses there. Costs a tenth of making an order. O(ops + operands)."""
    at = block.first
    while at is not None:
        for held in at._operands.values():
            for operand in held:
                if operand.__class__ is Value and _comes_late(operand, at, block):
                    return False
        if at._blocks and any(_comes_late(value, at, block) for value in captured(at)):
            return False
        at = at._next
    return True


def _comes_late(value: Value, op: Op, block: Block) -> bool:
    """Whether a value is that of an op of the block which does not come before `op`."""
    source = value._owner
    return source.__class__ is Op and source._block is block and source._order >= op._order


def sort_topologically(block: Block) -> int:
    """Puts the ops of a block into an order in which each comes after all that it uses; answers with how many were moved.

    Stable: an order that is legal stays, and otherwise an op moves only to before the first op that needs it. Ops that use one state keep
    their order among themselves. O(ops + operands). Only the block's own ops move; sort nested blocks one by one.

    Raises:
        InvalidProgramError: some ops depend on one another in a cycle, which it names. Nothing was moved.
    """
    order = topological_order(block)
    at = block.first
    moved = 0
    for op in order:
        if op is at:
            at = at.next
        elif at is not None:
            op.move_before(at)
            moved += 1
    return moved


def topological_order(block: Block) -> list[Op]:
    """The order that `sort_topologically` makes, without moving anything. Raises as that does."""
    order: list[Op] = []
    previous_on_state = _state_chains(block)
    done: set[Op] = set()
    for root in block:
        if root in done:
            continue
        open_ops = {root: _local_sources(root, block, previous_on_state)}
        while open_ops:
            op, sources = next(reversed(open_ops.items()))
            source = next((s for s in sources if s not in done), None)
            if source is None:
                del open_ops[op]
                done.add(op)
                order.append(op)
            elif source in open_ops:
                path = list(open_ops)
                raise _cycle(path[path.index(source) :])
            else:
                open_ops[source] = _local_sources(source, block, previous_on_state)
    return order


def opset_of(block: Block | None) -> Opset | None:
    """The opset of the specialization that a block is, or is nested in; None for a detached block, and for an unknown key."""
    at = block
    while at is not None:
        parent = at.parent
        if isinstance(parent, Function):
            return next((opset_of_key(key) for key, body in parent.specializations.items() if body is at), None)
        at = None if parent is None else parent.block
    return None


def _local_sources(op: Op, block: Block, previous_on_state: dict[Op, list[Op]]) -> Iterator[Op]:
    defined = (value.op for value in used_values(op))
    return chain((source for source in defined if source is not None and source.block is block), previous_on_state.get(op, ()))


def _state_chains(block: Block) -> dict[Op, list[Op]]:
    """For each op that uses a state, itself or in a nested block, the op before it that uses the same state."""
    last: dict[Value, Op] = {}
    before: dict[Op, list[Op]] = {}
    for op in block:
        for value in used_values(op):
            if isinstance(value.type, StateType):
                previous = last.get(value)
                if previous is not None and previous is not op:
                    before.setdefault(op, []).append(previous)
                last[value] = op
    return before


def _cycle(ops: list[Op]) -> InvalidProgramError:
    shown = [f"{op.op_type} {op.name}" for op in ops]
    listed = " → ".join([*shown[:20], *([f"… {len(shown) - 20} more"] if len(shown) > 20 else []), shown[0]])
    message = f"ops depend on one another in a cycle, each on the one after it: {listed}"
    return InvalidProgramError([Problem(message, ops[0])])


def _closure(seeds: Iterable[Op | Value], follow: _Follow) -> list[Op]:
    found: dict[Op, None] = {}
    pending: list[Op] = []
    for seed in seeds:
        pending.extend([seed] if isinstance(seed, Op) else _definition(seed))
    while pending:
        op = pending.pop()
        if op not in found:
            found[op] = None
            pending.extend(follow(op))
    return sorted(found, key=_position)


def _definition(value: Value) -> list[Op]:
    """The op that yields a value or, for an input of a nested block, the op that holds the block."""
    owner = value.owner
    if isinstance(owner, Block):
        return [owner.parent] if isinstance(owner.parent, Op) else []
    return [owner] if isinstance(owner, Op) else []


def _dependants(value: Value) -> Iterator[Op]:
    for user, _, _ in value.uses:
        if isinstance(user, Op):
            yield user
        elif isinstance(user.parent, Op):
            yield user.parent


def _sources(op: Op) -> Iterator[Op]:
    for value in used_values(op):
        yield from _definition(value)


def _consumers(op: Op) -> Iterator[Op]:
    for value in chain(op.outputs, *(block.inputs for block in op.blocks)):
        yield from _dependants(value)
    if op.block is not None and isinstance(op.block.parent, Op):
        yield op.block.parent


def _position(op: Op) -> tuple[int, ...]:
    """Where the op stands, comparable within a function: block numbers and order labels, from the outermost in."""
    path: list[int] = []
    at: Op | None = op
    while at is not None:
        path.append(at._order)
        block = at.block
        holder = None if block is None else block.parent
        if isinstance(holder, Op):
            path.append(next(i for i, nested in enumerate(holder.blocks) if nested is block))
            at = holder
        else:
            if holder is not None:
                path.append(next(i for i, body in enumerate(holder.specializations.values()) if body is block))
            at = None
    return tuple(reversed(path))
