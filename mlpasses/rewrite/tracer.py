"""Why did this rule not fire here? The best partial match, and what it broke off at; or the reason that the rule's check gave.

Nothing is changed: where the rule would fire, its rewrite is made and forgotten.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ir.core import Block, Function, Op, Operand, Program
from mlpasses.rewrite.index import RuleSet
from mlpasses.rewrite.match import Constant, Failure, Matcher, describe
from mlpasses.rewrite.rewriter import Rewriter
from mlpasses.rewrite.rules import Replacement, Rule


@frozen
class Explanation:
    """What became of a rule at an op. `str` says it in sentences."""

    rule: Rule
    op: Op
    fires: bool
    reason: str
    """Why it does not fire; empty where it does."""
    matched: int
    """Parts of the pattern that matched."""
    ops: tuple[Op, ...]
    """The ops among them, the root first."""

    @property
    def parts(self) -> int:
        """The parts of the whole pattern."""
        return self.rule.info.nodes

    def __str__(self) -> str:
        if self.fires:
            return f"{self.rule.name} fires at {describe(self.op)}"
        how = "matches, and fails" if self.matched >= self.parts else f"matches {self.matched} of {self.parts} parts"
        lines = [f"{self.rule.name} does not fire at {describe(self.op)}: it {how}", f"  {self.reason}"]
        lines += [f"    {_line(op)}" for op in self.ops or (self.op,)]
        return "\n".join([*lines, f"  the pattern is {self.rule.pattern}"])


def explain(rule: Rule, op: Op, options: Any = None) -> Explanation:
    """What becomes of `rule` with `op` as its root, and why. `options` is what the rule sees as `m.options`.

    The program stays as it is.

    Raises:
        Exception: whatever the rule raises.
    """
    trace = _Trace()
    matcher = Matcher(trace)
    for pattern in rule.roots:
        for match in matcher.matches(pattern, op, rule.info, options):
            failure = _rehearse(rule, match, op)
            if failure is None:
                return Explanation(rule, op, True, "", rule.info.nodes, match.matched)
            trace.miss(rule.info.nodes, match.matched, "{}", failure)
    return Explanation(rule, op, False, trace.reason, trace.matched, trace.ops)


def near_misses(
    rule: Rule, root: Program | Function | Block, most: int | None = 5, options: Any = None
) -> list[Explanation]:
    """Where in a program, function or block a rule comes closest to firing, and does not: the nearest first. Nested blocks are included.

    Only ops of the types that the rule has at its root are looked at; `most` is the number of answers, None for all.
    """
    misses: list[Explanation] = []
    for op in _roots(rule, root):
        found = explain(rule, op, options)
        if not found.fires:
            misses.append(found)
    misses.sort(key=lambda miss: -miss.matched)
    return misses[:most]


def _roots(rule: Rule, root: Program | Function | Block) -> list[Op]:
    op_types = RuleSet((rule,)).roots
    if not isinstance(root, Block):
        return list(root.ops(*op_types))
    found: list[Op] = []
    pending = [root]
    while pending:
        block = pending.pop()
        found.extend(block.ops(*op_types))
        pending.extend(nested for op in reversed(block.nesting_ops()) for nested in reversed(op.blocks))
    return found


class _Trace:
    """Keeps the miss that came after the most parts had matched, the first of equal ones."""

    def __init__(self) -> None:
        self.matched = -1
        self.ops: tuple[Op, ...] = ()
        self._reason = Failure("nothing in it matches")

    def miss(self, matched: int, ops: tuple[Op, ...], template: str, *args: object) -> None:
        if matched > self.matched:
            self.matched = matched
            self.ops = ops
            self._reason = Failure(template, args)

    @property
    def reason(self) -> str:
        return str(self._reason)


class _WouldChangeError(Exception):
    """A rule in rehearsal got to where it changes the program."""


class _Rehearsal(Rewriter):
    """A rewriter that makes ops, and stops before it changes anything that was there."""

    __slots__ = ()

    def commit(self, op: Op, results: tuple[Operand | None, ...]) -> None:
        raise _WouldChangeError

    def replace(self, op: Op, by: Replacement) -> None:
        raise _WouldChangeError

    def erase(self, op: Op) -> None:
        raise _WouldChangeError

    def set(self, op: Op, parameter: str, *operands: Operand | Constant) -> None:
        raise _WouldChangeError

    def rename(self, value: Any, name: str) -> None:
        raise _WouldChangeError


def _rehearse(rule: Rule, match: Any, op: Op) -> Failure | None:
    from mlpasses.rewrite.driver import apply

    rw = _Rehearsal().at(op)
    try:
        return apply(rule, match, rw)
    except _WouldChangeError:
        return None
    finally:
        rw.discard()


def _line(op: Op) -> str:
    return repr(op).split("\n", 1)[0]
