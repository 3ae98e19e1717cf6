"""Rules and programs that the tests of the rewriter share, and a listener."""

from __future__ import annotations

from ir.core import Op, Operand, Program, Value
from ir.types import FP16
from mlpasses.rewrite import (
    Listener,
    Match,
    Replacement,
    Rewriter,
    const,
    p,
    rule,
)


@rule(p.identity(x="x"))
def drop_identity(m: Match, rw: Rewriter) -> Replacement:
    """identity(x) → x"""
    return m.x  # type: ignore[no-any-return]


@rule(p.relu(x=p.relu(x="x").named("inner")))
def merge_relus(m: Match, rw: Rewriter) -> Replacement:
    """relu(relu(x)) → relu(x)"""
    return rw.op("relu", x=m.x)


@rule(p.real_div(x="x", y=const("c", scalar=True, dtype=FP16)))
def divide_by_multiplying(m: Match, rw: Rewriter) -> Replacement:
    """real_div(x, c) → mul(x, 1 / c)"""
    return rw.op("mul", x=m.x, y=rw.const(1 / m.c.numpy(), hint=f"{m.root.name}_factor"))


@rule(p.add(x="x", y=const("c", filled=0)))
def add_nothing(m: Match, rw: Rewriter) -> Replacement:
    """add(x, 0) → x"""
    return m.x  # type: ignore[no-any-return]


def the(program: Program, op_type: str, index: int | None = None) -> Op:
    """The only op of a type, or that at a position among several."""
    found = list(program.ops(op_type))
    if index is None:
        (only,) = found
        return only
    return found[index]


RELU = """
inputs %x: fp16[4]
%y: fp16[4] = relu(x=%x)
"""

TWO = """
inputs %x: fp16[4]
%a: fp16[4] = relu(x=%x)
%y: fp16[4] = exp(x=%a)
%z: fp16[4] = abs(x=%y)
"""


class Heard(Listener):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def inserted(self, op: Op) -> None:
        self.events.append(f"inserted {op.op_type}")

    def changed(self, op: Op) -> None:
        self.events.append(f"changed {op.op_type}")

    def replaced(self, op: Op, by: tuple[Operand | None, ...]) -> None:
        assert op.output.is_used
        self.events.append(f"replaced {op.op_type} by {', '.join(v.op.op_type for v in by if isinstance(v, Value) and v.op is not None)}")

    def erased(self, op: Op) -> None:
        assert op.operands or op.op_type == "const"
        self.events.append(f"erased {op.op_type}")
