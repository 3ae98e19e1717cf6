"""Merging ops that are equal: the later one goes, where the first is visible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Final

from ir.const import Const
from ir.core import Block, Op, Value
from mlpasses.context import Context

NAME: Final = "name"
"""The attribute that names an op, and says nothing of what it does."""


def merge_equal(block: Block, key_of: Callable[[Op], Hashable | None], cx: Context) -> int:
    """Lets one op stand for all ops of equal keys that come after it in its block, or in blocks nested there; answers with how many went.

    `key_of` is asked of each op once, after the ops before it were merged; None keeps an op out. A value that a block returns keeps its
    name: the op that stands for it takes the name over. Where it cannot, because it is returned itself, or stands in another block, the op
    stays; so it does where a nested block that uses it has another value of the name. O(ops + uses).
    """
    merged = 0
    firsts: dict[Hashable, Op] = {}
    pending: list[tuple[Iterator[Op], list[Hashable]]] = [(iter(block), [])]
    while pending:
        ops, own = pending[-1]
        op = next(ops, None)
        if op is None:
            pending.pop()
            for key in own:  # what a block defines is not visible behind it
                del firsts[key]
            continue
        key = key_of(op)
        if key is not None:
            first = firsts.setdefault(key, op)
            if first is op:
                own.append(key)
            elif _can_stand_for(first, op):
                _merge(first, op, cx)
                merged += 1
                continue
        pending.extend((iter(nested), []) for nested in reversed(op.blocks))
    return merged


def _can_stand_for(first: Op, op: Op) -> bool:
    for kept, gone in zip(first.outputs, op.outputs, strict=True):
        if not gone.is_output:
            if not _is_seen(kept, kept.name, gone):
                return False
        elif first.block is not op.block or kept.is_output or not (_is_seen(kept, gone.name, gone) and _is_seen(kept, gone.name, kept)):
            return False
    return True


def _is_seen(value: Value, name: str, used: Value) -> bool:
    """Whether `value`, if it were called `name`, would be meant by that name wherever `used` is used: no block in between may reuse it."""
    home = value.op.block if value.op is not None else None
    for user, _, _ in used.uses:
        at = user.block if isinstance(user, Op) else user
        while at is not None and at is not home:
            if at.value_named(name) is not None:
                return False
            at = at.parent.block if isinstance(at.parent, Op) else None
    return True


def _merge(first: Op, op: Op, cx: Context) -> None:
    taken = [(kept, gone.name) for kept, gone in zip(first.outputs, op.outputs, strict=True) if gone.is_output]
    for kept, gone in zip(first.outputs, op.outputs, strict=True):
        cx.touched.update((user, None) for user in gone.users)
        gone.replace_uses(kept)
    op.erase()
    for kept, name in taken:
        _take_name(kept, name)


def _take_name(value: Value, name: str) -> None:
    """Renames a value, and its op with it where that had the name of the value."""
    op = value.op
    if op is not None and value is op.outputs[0] and NAME in op.attributes and op.name == value.name:
        op.set_attribute(NAME, Const.of(name))
    value.rename(name)
