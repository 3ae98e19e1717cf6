"""The greedy driver: applies rules until none applies, revisiting what a rewrite changed and nothing else.

Seeded in program order with the roots that the rules' index does not rule out; what changes put on top of the worklist, so that one place
is brought to its end before the next. Each op takes the first rule, in their order, that applies. Deterministic.

After a change an op is tried again if the pattern of a rule with that op as its root could reach what changed, or if the op is what
something that changed is computed from. A check that looks farther than that sees what was there when the op was tried.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from attrs import define, field, frozen

from ir.core import Block, Function, Op, Operand, Program, Value
from ir.diagnostics import MLPassesError
from ir.infer import InferError
from ir.walk import walk
from mlpasses.context import Context
from mlpasses.rewrite.index import Entry, RuleSet, ops_by_type, seeds
from mlpasses.rewrite.match import Failure, Match, Matcher, describe, users_of
from mlpasses.rewrite.rewriter import Listener, RewriteError, Rewriter
from mlpasses.rewrite.rules import Replacement, Rule

UNEXPLAINED: Final = "it gave no reason"
WINDOW: Final = 100
"""The last rewrites that the report of a loop counts."""


@frozen
class Limits:
    """When rewriting is taken to go round in circles.

    `in_a_row` bounds the rewrites that lead one to the next, each on what another made, without the program getting smaller; those that
    make it smaller come to an end by themselves. `in_all` bounds the rewrites of one specialization of a function; None for ten an op, and
    at least 10,000.
    """

    in_a_row: int = 1000
    in_all: int | None = None


@define
class RuleCount:
    """How often a rule fired, and how often it matched and failed, by reason."""

    fired: int = 0
    failed: Counter[str] = field(factory=Counter)


@define
class Outcome:
    """What rewriting did. True where it changed anything."""

    rules: dict[str, RuleCount]
    last: tuple[str, str] | None = None
    """The rule that fired last, and where; None where none did."""

    @property
    def rewrites(self) -> int:
        return sum(count.fired for count in self.rules.values())

    def __bool__(self) -> bool:
        return self.rewrites > 0

    def __str__(self) -> str:
        lines = [f"{self.rewrites} rewrite{'' if self.rewrites == 1 else 's'}"]
        for name, count in self.rules.items():
            if count.fired:
                lines.append(f"  {name} fired {count.fired}×")
            lines.extend(f"  {name} failed {times}×: {reason}" for reason, times in count.failed.items())
        return "\n".join(lines)


def rewrite(
    root: Program | Function | Block,
    rules: RuleSet | Iterable[Rule],
    cx: Context | None = None,
    *,
    options: Any = None,
    limits: Limits = Limits(),
    listeners: Iterable[Listener] = (),
    stop_after: int | None = None,
) -> Outcome:
    """Applies rules in place, in every specialization and nested block of `root`, until none of them applies any more.

    `options` is what the rules see as `m.options`. After `stop_after` rewrites it stops, as if no rule applied any more; they are the first
    that it would make without that bound. O(roots + rewrites · what each of them touches).

    Raises:
        RewriteError: a rule failed with an exception or broke its contract, or the rules do not come to an end: it says which.
        PatternError: two rules have one name.
    """
    rule_set = rules if isinstance(rules, RuleSet) else RuleSet(rules)
    outcome = Outcome({rule.name: RuleCount() for rule in rule_set})
    context = cx if cx is not None else Context()
    for block in _outermost(root):
        left = None if stop_after is None else stop_after - outcome.rewrites
        _Driver(block, rule_set, context, options, limits, tuple(listeners), outcome, left).run()
    return outcome


def _outermost(root: Program | Function | Block) -> Iterator[Block]:
    if isinstance(root, Block):
        yield root
    else:
        for function in (root,) if isinstance(root, Function) else tuple(root.all_functions()):
            yield from tuple(function.specializations.values())


class _Driver(Listener):
    """One run over one specialization of a function."""

    def __init__(
        self,
        top: Block,
        rules: RuleSet,
        cx: Context,
        options: Any,
        limits: Limits,
        listeners: tuple[Listener, ...],
        outcome: Outcome,
        stop_after: int | None,
    ) -> None:
        self.top = top
        self.rules = rules
        self.options = options
        self.limits = limits
        self.outcome = outcome
        self.stop_after = stop_after
        self.candidates = rules.candidates()
        self.matcher = Matcher()
        self.rewriter = Rewriter(cx, (self, *listeners))
        self.worklist: list[Op] = []
        self.queued: set[Op] = set()
        self.generation: dict[Op, int] = {}
        """For an op that a rewrite made or changed, how many rewrites in a row led to it."""
        self.made: list[Op] = []
        self.grown = 0
        """Ops inserted by the current rewrite, less those that it erased."""
        self.history: deque[tuple[str, str]] = deque(maxlen=WINDOW)
        self.fired = 0
        self.most = 0

    def run(self) -> None:
        blocks = list(_blocks(self.top))
        present = ops_by_type(blocks)
        candidates = self.rules.candidates(present)
        if not candidates:
            return
        found = [op for block in blocks for op in seeds(block, candidates)]
        in_all = self.limits.in_all
        self.most = max(10_000, 10 * sum(present.values())) if in_all is None else in_all
        self.worklist = found[::-1]
        self.queued = set(found)
        while self.worklist and self.fired != self.stop_after:
            op = self.worklist.pop()
            self.queued.discard(op)
            if self._stands(op):
                self._visit(op)

    def _visit(self, op: Op) -> None:
        found = self.candidates.get(op.op_type)
        for entry in found.of(op) if found is not None else ():
            for match in self.matcher.matches(entry.pattern, op, entry.rule.info, self.options):
                if self._fires(entry, match):
                    return

    def _fires(self, entry: Entry, match: Match) -> bool:
        rule, root = entry.rule, match.root
        where = describe(root)
        led_here = max(self.generation.get(op, 0) for op in match.matched)
        self.made.clear()
        self.grown = 0
        rw = self.rewriter.at(root, rule=rule.name, sources=match.matched)
        try:
            failure = apply(rule, match, rw)
        except RewriteError as error:
            raise RewriteError(f"rule {rule.name} at {where}: {error}") from error
        except Exception as error:
            rw.discard()
            kind = "" if isinstance(error, MLPassesError) else f"{type(error).__name__}: "
            raise RewriteError(f"rule {rule.name} failed at {where}: {kind}{error}") from error
        count = self.outcome.rules[rule.name]
        if failure is not None:
            count.failed[failure.template] += 1
            return False
        count.fired += 1
        self.fired += 1
        self.outcome.last = (rule.name, where)
        self.history.append(self.outcome.last)
        self._check_bounds(led_here + (self.grown >= 0), root)
        return True

    def _check_bounds(self, in_a_row: int, root: Op) -> None:
        if in_a_row:
            for op in self.made if root.block is None else (*self.made, root):
                self.generation[op] = in_a_row
        if in_a_row > self.limits.in_a_row:
            raise RewriteError(self._loop(f"{in_a_row} rewrites in a row, each on what another made, did not make the program smaller"))
        if self.fired > self.most:
            raise RewriteError(self._loop(f"there were more than {self.most} rewrites"))

    def _loop(self, found: str) -> str:
        times = Counter(name for name, _ in self.history)
        last = ", ".join(f"{name} ({count}×)" for name, count in times.most_common())
        places = "; ".join(f"{name} at {where}" for name, where in list(self.history)[-6:])
        return (
            f"the rules do not come to an end: {found}. "
            f"The last {len(self.history)} were of {last}; the very last: {places}. "
            "One undoes what another does: make one of them fail on what the other makes"
        )

    def _stands(self, op: Op) -> bool:
        """Whether an op is still part of what is rewritten: neither it nor an op around it was erased."""
        block = op.block
        while block is not None and block is not self.top:
            holder = block.parent
            block = holder.block if isinstance(holder, Op) else None
        return block is not None

    # what is to be tried again

    def inserted(self, op: Op) -> None:
        self.grown += 1
        self.made.append(op)
        self._push(op)
        for block in op.blocks:
            for nested in walk(block):
                self._push(nested)

    def changed(self, op: Op) -> None:
        self._push(op)
        self._push_above(op, self.rules.depth - 1)

    def replaced(self, op: Op, by: tuple[Operand | None, ...]) -> None:
        for value in by:
            if isinstance(value, Value) and value.op is not None:
                self._push(value.op)

    def erased(self, op: Op) -> None:
        self.grown -= 1
        self.generation.pop(op, None)
        for held in op.operands.values():
            for value in held:
                source = value.op if isinstance(value, Value) else None
                if source is not None and source.op_type != "const":
                    self._push(source)
                    self._push_above(source, self.rules.depth - 1)

    def _push(self, op: Op) -> None:
        if op.op_type in self.candidates and op not in self.queued:
            self.queued.add(op)
            self.worklist.append(op)

    def _push_above(self, op: Op, levels: int) -> None:
        """Pushes the roots of patterns that could reach down to `op`: its users, as far as patterns have ops of its type below the root."""
        if levels <= 0 or op.op_type not in self.rules.inner:
            return
        most = None if op.op_type in self.rules.shared else self.rules.size
        for value in op.outputs:
            for user in _users(value, most):
                self._push(user)
                self._push_above(user, levels - 1)


def apply(rule: Rule, match: Match, rw: Rewriter) -> Failure | None:
    """Lets a rule rewrite what it matched; why it did not where it fails, and then nothing is changed.

    It fails as well where the operands of an op that it makes do not fit together: its check did not think of this program.

    Raises:
        RewriteError: the rule broke its contract.
    """
    result: Replacement | Failure | None
    try:
        result = rule.run(match, rw)
    except InferError as error:
        if rw.changes:
            raise
        result = Failure("what it makes does not fit together: {}", (str(error),))
    if result is None or isinstance(result, Failure):
        if rw.changes and result is not None:
            raise RewriteError(f"it changed the program, and then failed ({result}): checks come first")
        rw.discard()
        return None if rw.changes else result or Failure(UNEXPLAINED)
    results = rw.resolved(match.root, result)
    refused = rw.refusal(match.root, results)
    if refused is not None:
        rw.discard()
        return refused
    rw.commit(match.root, results)
    return None


def _blocks(top: Block) -> Iterator[Block]:
    pending = [top]
    while pending:
        block = pending.pop()
        yield block
        pending.extend(nested for op in reversed(block.nesting_ops()) for nested in reversed(op.blocks))


def _users(value: Value, most: int | None) -> list[Op]:
    """The ops that use a value; none where there are more than `most`, too many to be all of one match."""
    users: dict[Op, None] = {}
    for user in users_of(value):
        if isinstance(user, Op):
            users[user] = None
            if most is not None and len(users) > most:
                return []
    return list(users)
