"""Rules by the type of their root op, with what tells cheaply that a rule cannot match.

Two questions are asked before any matching. Of a function: is there an op of each type that the pattern needs? Of a root: does its most
telling operand come from an op of a type that the pattern wants there? The answer to the second is one look-up for all the rules that
ask it of the same parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from attrs import field, frozen

from ir.core import Block, Op, Value
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
class Candidates:
    """The entries for one root type. `tests` has, for a parameter, the entries by what its operand comes from; `always` the others."""

    tests: tuple[tuple[str, Mapping[str, tuple[Entry, ...]]], ...]
    always: tuple[Entry, ...]

    def of(self, op: Op) -> tuple[Entry, ...]:
        """The entries that are not ruled out for `op`, in the order of their rules."""
        found = list(self.always)
        for parameter, by_kind in self.tests:
            found.extend(by_kind.get(kind_of(op, parameter), ()))
        if len(found) > 1:
            found = sorted(dict.fromkeys(found), key=_position)
        return tuple(found)

    def among(self, ops: Iterable[Op]) -> list[Op]:
        """Those of `ops` for which an entry is not ruled out.

        The loop over all roots of a program, hence written out, and reading slots: 0.1 µs an op and test, against 0.3 through properties.
        """
        if self.always:
            return list(ops)
        left = ops
        found: dict[Op, None] = {}
        if len(self.tests) > 1:
            left = list(ops)
        for parameter, by_kind in self.tests:
            for op in left:
                held = op._operands.get(parameter)
                if held and held[0].__class__ is Value:
                    owner = held[0]._owner
                    if (owner._op_type if owner.__class__ is Op else "") in by_kind:
                        found[op] = None
                elif CONST in by_kind:
                    found[op] = None
        return list(found)


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
                found[op_type] = _arranged(op_type, left)
        return found

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)


def kind_of(op: Op, parameter: str) -> str:
    """The type of the op that the first operand of `parameter` comes from; "" for an input, "const" for a literal or nothing."""
    operand = op.get(parameter)
    if not isinstance(operand, Value):
        return CONST
    return operand.op.op_type if operand.op is not None else ""


def _arranged(op_type: str, entries: Iterable[Entry]) -> Candidates:
    tests: dict[str, dict[str, list[Entry]]] = {}
    always: list[Entry] = []
    for entry in entries:
        test = _most_telling(entry.pattern)
        if test is None:
            always.append(entry)
            continue
        parameter, kinds = test
        for each in ("x", "y") if entry.pattern.swaps and parameter in ("x", "y") else (parameter,):
            for kind in kinds:
                tests.setdefault(each, {}).setdefault(kind, []).append(entry)
    arranged = tuple((name, {kind: tuple(held) for kind, held in by_kind.items()}) for name, by_kind in tests.items())
    return Candidates(arranged, tuple(always))


def _most_telling(pattern: OpPattern) -> tuple[str, Kinds] | None:
    """The parameter that rules out most, and what its operand may come from: an op rather than a constant, few types rather than many."""
    best: tuple[str, Kinds] | None = None
    for name, held in pattern.params:
        kinds = _kinds(held[0] if isinstance(held, tuple) and held else held)
        if kinds is not None and (best is None or (CONST in kinds, len(kinds)) < (CONST in best[1], len(best[1]))):
            best = name, kinds
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
