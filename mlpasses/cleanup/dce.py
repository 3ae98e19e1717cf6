"""`DeadCode`: what nobody uses goes.

    inputs %x: fp16[4]                          inputs %x: fp16[4]
    %a: fp16[4] = exp(x=%x)
    %b: fp16[4] = add(x=%a, y=%x)         →
    %y: fp16[4] = relu(x=%x)                    %y: fp16[4] = relu(x=%x)
    return %y                                   return %y

Each block is gone through once, backwards: what uses an op comes after it, so when an op's turn comes, all of its users that go are gone,
those in nested blocks too. O(ops + operands).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from attrs import frozen

from ir.core import Block, Function, Op
from ir.opset import OPSETS
from ir.specs import spec_of
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.passes import FunctionPass


@frozen
class DeadCode(FunctionPass):
    """Erases ops whose outputs nobody uses, unless they have an effect.

    An op has an effect if it writes a state, or holds one that does in a nested block. An op of a type that the op tables do not have is
    kept, since nothing is known of its effects, and so is one that holds it; a note says so. The inputs and outputs of functions and
    blocks stay as they are.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    def run(self, fn: Function, cx: Context) -> int:
        return sum(_sweep(block, _keepers(block), cx) for block in fn.specializations.values())


def _keepers(top: Block) -> dict[Op, Op]:
    """The ops that have to stay although nobody may use them, each with the op that is the reason: itself, or one that it holds."""
    found: dict[Op, Op] = {}
    pending = [top]
    while pending:
        block = pending.pop()
        kept = [op_type for op_type in block.op_types() if not _is_pure(op_type)]
        for op in block.ops(*kept) if kept else ():
            at: Op | None = op
            while at is not None and at not in found:
                found[at] = op
                around = at.block.parent if at.block is not None else None
                at = around if isinstance(around, Op) else None
        pending.extend(nested for op in reversed(block.nesting_ops()) for nested in reversed(op.blocks))
    return found


def _is_pure(op_type: str) -> bool:
    spec = spec_of(op_type, OPSETS[-1])
    return spec is not None and spec.pure


def _sweep(block: Block, keepers: dict[Op, Op], cx: Context) -> int:
    erased = 0
    pending: list[Iterator[Op]] = [reversed(block)]
    while pending:
        for op in pending[-1]:
            if not op.is_used:
                if op not in keepers:
                    op.erase()
                    erased += 1
                    continue
                _note(op, keepers[op], cx)
            if op.blocks:  # they come first; this block goes on behind them
                pending.extend(reversed(nested) for nested in op.blocks)
                break
        else:
            pending.pop()
    return erased


def _note(op: Op, reason: Op, cx: Context) -> None:
    """Says why an unused op is kept, where that is for want of knowledge."""
    if spec_of(reason.op_type, OPSETS[-1]) is not None:
        return
    unknown = "its op type" if reason is op else f"{_name(reason)}, which it holds"
    cx.note(_name(op), f"nobody uses it, but it is kept, since nothing is known of the effects of {unknown}")


def _name(op: Op) -> str:
    return f"{op.op_type} {op.name}".rstrip()
