"""Rules by the type of their root op, with what tells cheaply that a rule cannot match.

Two questions are asked before any matching. Of a function: is there an op of each type that the pattern needs? Of a root: does its most
telling operand come from an op of a type that the pattern wants there or, if a constant is wanted, may it have the value? The answer to
the second is one look-up for all the rules that ask it of the same parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from ir.const import UNREAD
from ir.core import FEW, Block, Op, Operand, Sources, constant_of, source_of
from mlpasses.rewrite.patterns import ConstPattern, OneOf, OpPattern, Pattern, PatternError, subpatterns
from mlpasses.rewrite.rules import Rule

CONST: Final = "const"
"""What an operand comes from that is a literal, or absent and so perhaps a default."""

Kinds: TypeAlias = frozenset[str]


@frozen(eq=False)
class Entry:
    """One alternative for the root of one rule. `position` is that of the rule, which decides who goes first."""

    position: int
    rule: Rule
    pattern: OpPattern
    needs: tuple[Kinds, ...] = field(init=False)
    """For each op that the pattern cannot do without, the types that it may be of."""

    @needs.default
    def _needs(self) -> tuple[Kinds, ...]:
        return tuple(dict.fromkeys(_needed(self.pattern)))

    def possible(self, present: Mapping[str, object]) -> bool:
        """Whether ops of all needed types are among those `present`."""
        return all(any(kind in present for kind in kinds) for kinds in self.needs)


@frozen(eq=False)
class Valued:
    """An entry that wants a constant of one element to be in a range: its value, give or take what rounding to a narrow type does to it."""

    low: Any
    high: Any
    entry: Entry


@frozen(eq=False)
class Test:
    """What an operand tells: the entries that are left by what it comes from and, if that is a constant, those that want a value."""

    parameter: str
    by_kind: Mapping[str, tuple[Entry, ...]]
    valued: tuple[Valued, ...]
    texts: frozenset[str] = field(init=False)
    ranges: tuple[tuple[float, float], ...] = field(init=False)
    """What the entries in `valued` want, overlapping ranges merged."""

    @texts.default
    def _texts(self) -> frozenset[str]:
        return frozenset(each.low for each in self.valued if isinstance(each.low, str))

    @ranges.default
    def _ranges(self) -> tuple[tuple[float, float], ...]:
        merged: list[tuple[float, float]] = []
        for low, high in sorted((each.low, each.high) for each in self.valued if not isinstance(each.low, str)):
            if merged and low <= merged[-1][1]:
                low, high = merged[-1][0], max(high, merged[-1][1])
                merged.pop()
            merged.append((low, high))
        return tuple(merged)

    def left(self, op: Op) -> list[Entry]:
        """The entries that are not ruled out for `op`."""
        operand = op.get(self.parameter)
        kind = CONST if operand is None else source_of(operand)[0]
        found = [*self.by_kind.get(kind, ())]
        if kind == CONST and self.valued:
            if operand is None:  # there may be a default
                found.extend(each.entry for each in self.valued)
            else:
                value = _scalar(operand)
                found.extend(each.entry for each in self.valued if _is_between(each, value))
        return found

    def leaves(self, kind: str | None, value: Any) -> bool:
        """Whether an entry is not ruled out where the operand comes from `kind` (None: there is none) and, if a constant, is `value`."""
        if kind is None:  # there may be a default
            return bool(self.valued) or CONST in self.by_kind
        return kind in self.by_kind or (kind == CONST and self.may_be(value))

    def may_be(self, value: Any) -> bool:
        """Whether a constant whose only element is `value` (None for one that has several) leaves an entry that wants a value."""
        if isinstance(value, str):
            return value in self.texts
        return value is not None and value is not UNREAD and any(low <= value <= high for low, high in self.ranges)


@frozen(eq=False)
class Candidates:
    """The entries for one root type: those that a test may leave, and `always` the others."""

    tests: tuple[Test, ...]
    always: tuple[Entry, ...]

    def of(self, op: Op) -> list[Entry]:
        """The entries that are not ruled out for `op`, in the order of their rules."""
        found = [*self.always, *(entry for test in self.tests for entry in test.left(op))]
        return found if len(found) < 2 else sorted(dict.fromkeys(found), key=_position)

    def leave(self, sources: Sources) -> bool:
        """Whether any is not ruled out for ops that have these sources."""
        held = {parameter: (kind, value) for parameter, kind, value in zip(sources[::3], sources[1::3], sources[2::3], strict=True)}
        return bool(self.always) or any(test.leaves(*held.get(test.parameter, (None, None))) for test in self.tests)


def seeds(block: Block, candidates: Mapping[str, Candidates]) -> list[Op]:
    """The ops of a block for which an entry is not ruled out, in order.

    What feeds a root is judged once for all that have the same sources, values of constants included. The loop over all roots of a program,
    hence reading slots: most of its time is memory that is not in the cache, and operands are not looked at. In the order of the program,
    since ops that are neighbours there are neighbours in memory: type by type it takes four times as long.
    """
    judged: dict[str, dict[Sources, bool]] = {op_type: {} for op_type in candidates}
    found: list[Op] = []
    for op in _roots(block, judged):
        verdicts = judged[op._op_type]
        verdict = verdicts.get(op._sources or op.sources)
        if verdict is None:
            verdict = _judge(op, candidates[op._op_type], verdicts)
        if verdict:
            found.append(op)
    return found


def _judge(op: Op, candidates: Candidates, verdicts: dict[Sources, bool]) -> bool:
    """Whether an entry is left for a root, and so for all with its sources. Constants whose values decide are read, where nobody has."""
    for test in candidates.tests:
        operand = op.get(test.parameter) if test.valued else None
        literal = None if operand is None else constant_of(operand)
        if literal is not None:
            literal.scalar()
    op._sources = None  # what was read is among them from now on
    sources = op.sources
    if sources not in verdicts:
        verdicts[sources] = candidates.leave(sources)
    return verdicts[sources]


def _roots(block: Block, op_types: Mapping[str, object]) -> Iterator[Op]:
    """The ops of these types, in order, out of the index where they are few. Where not, each is looked at when its turn comes, while it is
    in the cache: a list of them takes a tenth more of `seeds`' time."""
    if FEW * sum([len(block._index.get(op_type, ())) for op_type in op_types]) < len(block):
        yield from block.ops(*op_types)
        return
    at = block.first
    while at is not None:
        if at._op_type in op_types:
            yield at
        at = at._next


class RuleSet:
    """Rules in their order, which is their priority, compiled once for any number of runs.

    Raises:
        PatternError: two rules have one name.
    """

    __slots__ = ("_by_root", "depth", "inner", "rules", "shared", "size")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        names: set[str] = set()
        for rule in self.rules:
            if rule.name in names:
                raise PatternError(f"two rules are called {rule.name!r}: give one of them another name=")
            names.add(rule.name)
        entries = [Entry(i, rule, root) for i, rule in enumerate(self.rules) for root in rule.roots]
        self._by_root: dict[str, list[Entry]] = {}
        for entry in entries:
            for op_type in entry.pattern.op_types:
                self._by_root.setdefault(op_type, []).append(entry)
        inside = [
            each
            for entry in entries
            for each in subpatterns(entry.pattern)
            if isinstance(each, OpPattern) and each is not entry.pattern
        ]
        self.inner: frozenset[str] = frozenset(op_type for each in inside for op_type in each.op_types)
        """The op types that patterns want below their root."""
        self.shared: frozenset[str] = frozenset(op_type for each in inside if each.is_shared for op_type in each.op_types)
        """Those of them that may have other uses."""
        self.depth = max((_depth(entry.pattern) for entry in entries), default=0)
        """The ops on the longest way from a root down."""
        self.size = max((entry.rule.info.nodes for entry in entries), default=0)
        """The parts of the largest pattern."""

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(self._by_root)

    def candidates(self, present: Mapping[str, object] | None = None) -> dict[str, Candidates]:
        """The entries by root type; where `present` is given, without those that need an op of a type that it lacks."""
        found: dict[str, Candidates] = {}
        for op_type, entries in self._by_root.items():
            left = entries if present is None else [entry for entry in entries if entry.possible(present)]
            if left:
                found[op_type] = _arranged(left)
        return found

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)


def _scalar(operand: Operand) -> Any:
    """The value of a constant of one element; None where it has more, or is no tensor."""
    const = constant_of(operand)
    return None if const is None else const.scalar()


def _is_between(wanted: Valued, value: Any) -> bool:
    if isinstance(wanted.low, str) is not isinstance(value, str):
        return False
    return value is not None and bool(wanted.low <= value <= wanted.high)


def _arranged(entries: Iterable[Entry]) -> Candidates:
    kinds_of: dict[str, dict[str, list[Entry]]] = {}
    valued: dict[str, list[Valued]] = {}
    always: list[Entry] = []
    for entry in entries:
        told = _most_telling(entry.pattern)
        if told is None:
            always.append(entry)
            continue
        parameter, kinds, held = told
        value = _wanted(held, entry)
        for each in ("x", "y") if entry.pattern.swaps and parameter in ("x", "y") else (parameter,):
            by_kind = kinds_of.setdefault(each, {})
            if value is not None:
                valued.setdefault(each, []).append(value)
                continue
            for kind in kinds:
                by_kind.setdefault(kind, []).append(entry)
    tests = tuple(
        Test(name, {kind: tuple(held) for kind, held in by_kind.items()}, tuple(valued.get(name, ()))) for name, by_kind in kinds_of.items()
    )
    return Candidates(tests, tuple(always))


def _wanted(held: Pattern, entry: Entry) -> Valued | None:
    """The range of a value that a pattern wants of a constant of one element, wider than any rounding needs: an fp8 has 3 or 2 bits."""
    if not isinstance(held, ConstPattern) or held.equals is None or isinstance(held.equals, tuple):
        return None
    wanted = held.equals
    if isinstance(wanted, str):
        return Valued(wanted, wanted, entry)
    if not math.isfinite(wanted):
        return None
    slack = max(held.rtol, 0.13) * abs(wanted) + 0.01
    return Valued(wanted - slack, wanted + slack, entry)


def _most_telling(pattern: OpPattern) -> tuple[str, Kinds, Pattern] | None:
    """The parameter that rules out most, and what its operand may come from: an op, or else a constant, best of one value."""
    best: tuple[str, Kinds, Pattern] | None = None
    least: tuple[bool, bool, int] | None = None
    for name, held in pattern.params:
        first = held[0] if isinstance(held, tuple) else held
        kinds = _kinds(first)
        if kinds is not None:
            telling = (CONST in kinds, not isinstance(first, ConstPattern) or first.equals is None, len(kinds))
            if least is None or telling < least:
                best, least = (name, kinds, first), telling
    return best


def _kinds(pattern: Pattern | tuple[Pattern, ...]) -> Kinds | None:
    """What an operand that matches may come from; None where that may be anything."""
    if isinstance(pattern, OpPattern):
        return frozenset(pattern.op_types)
    if isinstance(pattern, ConstPattern):
        return frozenset((CONST,))
    if isinstance(pattern, OneOf):
        kinds = [_kinds(each) for each in pattern.alternatives]
        known = [each for each in kinds if each is not None]
        return frozenset().union(*known) if len(known) == len(kinds) else None
    return None


def _needed(pattern: Pattern | tuple[Pattern, ...]) -> Iterator[Kinds]:
    if isinstance(pattern, tuple):
        for each in pattern:
            yield from _needed(each)
    elif isinstance(pattern, OpPattern):
        yield frozenset(pattern.op_types)
        for _, held in pattern.params:
            yield from _needed(held)
    elif isinstance(pattern, OneOf):
        kinds = [frozenset(each.op_types) for each in pattern.alternatives if isinstance(each, OpPattern)]
        if len(kinds) == len(pattern.alternatives):
            yield frozenset().union(*kinds)


def _depth(pattern: Pattern | tuple[Pattern, ...]) -> int:
    if isinstance(pattern, OpPattern):
        return 1 + max((_depth(held) for _, held in pattern.params), default=0)
    if isinstance(pattern, OneOf):
        return max(map(_depth, pattern.alternatives))
    if isinstance(pattern, tuple):
        return max(map(_depth, pattern), default=0)
    return _depth(pattern.inner) if hasattr(pattern, "inner") else 0


def ops_by_type(blocks: Iterable[Block]) -> dict[str, int]:
    """How many ops of each type stand in these blocks."""
    present: dict[str, int] = {}
    for block in blocks:
        for op_type, count in block.op_types().items():
            present[op_type] = present.get(op_type, 0) + count
    return present


def _position(entry: Entry) -> int:
    return entry.position
