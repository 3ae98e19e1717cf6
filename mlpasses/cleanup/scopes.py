"""Merging ops that are equal: the later one goes, where the first is visible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Final, TypeAlias

from ir.const import Const
from ir.core import Block, Op, Value
from mlpasses.context import Context
from mlpasses.rewrite.visibility import is_hidden_from_users

NAME: Final = "name"
"""The attribute that names an op, and says nothing of what it does."""


Key: TypeAlias = "Callable[[Op], Hashable | None]"


def merge_equal(block: Block, takes: Callable[[str], bool], group_of: Key, key_of: Key, cx: Context) -> int:
    """Lets one op stand for all ops of equal keys that come after it in its block, or in blocks nested there; answers with how many went.

    Only ops of types that `takes` accepts are merged. Ops of equal keys are of one group, which costs less to ask for than a key: keys are
    asked of ops only that are not alone in theirs. A group of None keeps an op out, and so does a key of None. Both are asked for after the
    ops before were merged, so values that are in them stay what they are. A value that a block returns keeps its name: the op that stands
    for it takes the name over. Where it cannot, because it is returned itself, or stands in another block, the op stays; so it does where
    a nested block that uses it has another value of the name. O(ops + uses).
    """
    merged = 0
    visible = _Visible(key_of)
    pending: list[tuple[Iterator[Op], set[Op]]] = [_ops(block, takes)]
    visible.enter()
    while pending:
        ops, nesting = pending[-1]
        for op in ops:
            if op in nesting:  # its blocks come first; this one goes on behind them
                for nested in reversed(op.blocks):
                    pending.append(_ops(nested, takes))
                    visible.enter()
                break
            group = group_of(op)
            if group is None:
                continue
            first = visible.first(group, op)
            if first is not op:
                merged += _merge(first, op, cx)
        else:
            pending.pop()
            if pending:
                visible.leave()
    return merged


def _ops(block: Block, takes: Callable[[str], bool]) -> tuple[Iterator[Op], set[Op]]:
    """The ops of a block that are of accepted types or hold nested blocks, in order, and those that hold nested blocks."""
    nesting = set(block.nesting_ops())
    accepted = [op_type for op_type in block.op_types() if takes(op_type)]
    others = {op.op_type for op in nesting}.difference(accepted)
    ops = block.ops(*accepted, *others) if accepted or others else iter(())
    return (op for op in ops if op.op_type not in others or op in nesting) if others else ops, nesting


class _Visible:
    """The ops that were seen and are visible: first those of a group, then, once it has two, those of a key."""

    __slots__ = ("_by_group", "_by_key", "_frames", "_key_of")

    def __init__(self, key_of: Key) -> None:
        self._key_of = key_of
        self._by_group: dict[Hashable, tuple[Op, _Frame] | None] = {}
        """The only op of a group so far, with the frame of its block; None once there were two."""
        self._by_key: dict[Hashable, Op] = {}
        self._frames: list[_Frame] = []

    def enter(self) -> None:
        self._frames.append(_Frame())

    def leave(self) -> None:
        """What a block defines is not visible behind it."""
        frame = self._frames.pop()
        for group in frame.groups:
            del self._by_group[group]
        for key in frame.keys:
            del self._by_key[key]

    def first(self, group: Hashable, op: Op) -> Op:
        """The first visible op that is equal to `op`, or `op` itself."""
        frame = self._frames[-1]
        if group not in self._by_group:
            self._by_group[group] = op, frame
            frame.groups.append(group)
            return op
        alone = self._by_group[group]
        if alone is not None:
            self._by_group[group] = None
            self._add(*alone)
        return self._add(op, frame)

    def _add(self, op: Op, frame: _Frame) -> Op:
        key = self._key_of(op)
        if key is None:
            return op
        first = self._by_key.setdefault(key, op)
        if first is op:
            frame.keys.append(key)
        return first


class _Frame:
    """What a block added to what is visible."""

    __slots__ = ("groups", "keys")

    def __init__(self) -> None:
        self.groups: list[Hashable] = []
        self.keys: list[Hashable] = []


def _merge(first: Op, op: Op, cx: Context) -> bool:
    """Lets `first` stand for `op`, which goes; answers with whether it can."""
    pairs = list(zip(first.outputs, op.outputs, strict=True))
    taken: list[tuple[Value, str]] = []
    for kept, gone in pairs:
        if gone.is_output:
            taken.append((kept, gone.name))
            if first.block is not op.block or kept.is_output or any(is_hidden_from_users(kept, gone.name, used) for used in (gone, kept)):
                return False
        elif is_hidden_from_users(kept, kept.name, gone):
            return False
    for kept, gone in pairs:
        for user in gone.users:
            cx.touched[user] = None
        gone.replace_uses(kept)
    op.erase()
    for kept, name in taken:
        _take_name(kept, name)
    return True


def _take_name(value: Value, name: str) -> None:
    """Renames a value, and its op with it where that had the name of the value."""
    op = value.op
    if op is not None and value is op.outputs[0] and NAME in op.attributes and op.name == value.name:
        op.set_attribute(NAME, Const.of(name))
    value.rename(name)
