"""What is wrong with rules, in words: rules that match nothing, that come too late, that contradict one another.

    no weight matches name("re:.*atn.*")
      --> encoder-w4.yaml:8:16  passes[2].palettize-weights.rules[1].name
      312 weights searched; did you mean "re:.*attn.*" (48 matches)?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import frozen

from ir.core import Program
from ir.specs import ROWS
from ir.walk import walk
from mlpasses.errors import ConfigError
from mlpasses.patterns import source_text
from mlpasses.rules import Rules, Skip, source
from mlpasses.select import And, Filter, Leaf, Named, Or, Words, everything
from mlpasses.subjects import Table

if TYPE_CHECKING:
    from mlpasses.nearest import Vocabulary

FindingKind: TypeAlias = Literal["unmatched", "shadowed", "duplicate", "conflict"]

EXPLAINED: Final = 20
"""Rules that match nothing are explained up to this many: each search for near names costs some 50 ms over 20,000 names."""
LISTED: Final = 6
"""Things that a text lists before it counts the rest."""


@frozen
class Finding:
    """One thing that is wrong with rules."""

    kind: FindingKind
    message: str
    rule: int
    """The rule that it is said of."""
    place: str
    """Where that stands: in a recipe, or in the list."""
    hint: str
    """The nearest fix, a line or several."""

    def __str__(self) -> str:
        lines = [self.message, f"  --> {self.place}", *(f"  {line}" for line in self.hint.splitlines())]
        return "\n".join(lines)


def raise_findings(findings: Sequence[Finding]) -> None:
    """Raises all findings as one.

    Raises:
        ConfigError: there are findings.
    """
    if findings:
        optional = [_OPTIONAL] if any(finding.kind == "unmatched" for finding in findings) else []
        raise ConfigError("\n".join([*map(str, findings), *optional]))


def place(rules: Rules, index: int, part: Filter | None = None) -> str:
    """Where a rule, or a part of its filter, stands."""
    rule = rules[index]
    if rule.where is None:
        return f"rules[{index}]: ({rule.filter!r}, {source(rule.config)})"
    return str(rule.where if part is None else rule.where.of(part))


def check_rules(rules: Rules) -> list[Finding]:
    """What is wrong whatever the program: filters that stand twice, and rules behind one that takes everything."""
    found: list[Finding] = []
    first: dict[Filter, int] = {}
    catch_all: int | None = None
    for index, rule in enumerate(rules):
        earlier = first.setdefault(rule.filter, index)
        if earlier != index:
            found.append(_duplicate(rules, earlier, index))
        elif catch_all is not None:
            message = f"{rule.filter!r} decides nothing: rules[{catch_all}] stands before it and takes everything"
            found.append(Finding("shadowed", message, index, place(rules, index), f"put it before rules[{catch_all}], or remove it"))
        if rule.filter == everything and catch_all is None:
            catch_all = index
    return found


def shadowed(rules: Rules, index: int, takers: Sequence[int], count: int, noun: str) -> Finding:
    """A rule all of whose matches were taken by the rules `takers` before it; `count` subjects."""
    by = [f"rules[{taker}] {rules[taker].filter!r}" for taker in sorted(set(takers))]
    what = f"the only {noun} that it matches is" if count == 1 else f"all {count} {noun}s that it matches are"
    message = f"{rules[index].filter!r} decides nothing: {what} taken by {listed(by)}"
    return Finding("shadowed", message, index, place(rules, index), "put it before what takes them, or remove it")


class Explainer:
    """Says of rules that match nothing what was searched, and what may have been meant. Looks names up once, when first asked."""

    def __init__(self, rules: Rules, table: Table, program: Program | None) -> None:
        """`program` is searched for what else has a name that no subject has."""
        self.rules = rules
        self.table = table
        self.program = program
        self.left = EXPLAINED
        self._vocabulary: Vocabulary | None = None
        self._elsewhere: dict[str, str] | None = None

    def unmatched(self, index: int) -> Finding:
        """A rule that matches nothing."""
        rule = self.rules[index]
        blamed = [leaf for leaf in affirmed(rule.filter) if not leaf.mask(self.table).any()]
        message = f"no {self.table.noun} matches {rule.filter!r}"
        where = place(self.rules, index, blamed[0] if blamed else None)
        return Finding("unmatched", message, index, where, self._hint(self._reasons, rule.filter, blamed))

    def dead_names(self, index: int) -> Iterator[Finding]:
        """The names that match nothing, in a rule that matches something: misspelt, and the more harmful below a `~`."""
        rule = self.rules[index]
        for leaf in rule.filter.leaves():
            if not isinstance(leaf, Named) or leaf.word != "name":
                continue
            for each in leaf.each():
                if not any(each.find(self.table.index("name"))):
                    message = f"no {self.table.noun} matches {each!r}, a part of {rule.filter!r}"
                    yield Finding("unmatched", message, index, place(self.rules, index, each), self._hint(self._of_names, each))

    def _hint(self, reasons: Callable[..., list[str]], *about: Any) -> str:
        searched = f"{plural(len(self.table.subjects), self.table.noun)} searched"
        if not self.table.subjects or not self.left:
            return searched
        self.left -= 1
        lines = reasons(*about)
        return "\n".join([f"{searched}; {lines[0]}", *lines[1:]]) if lines else searched

    def _reasons(self, part: Filter, blamed: Sequence[Leaf]) -> list[str]:
        if isinstance(part, Leaf):
            return ["; ".join(about)] if (about := self._about(part)) else []
        lines = ["; ".join([f"{leaf!r} by itself matches none", *self._about(leaf)]) for leaf in blamed[:3]]
        if not blamed and isinstance(part, And):
            counted = [f"{each!r} {self.table.count(each.mask(self.table))}" for each in part.filters]
            lines.append(f"each part matches some, but none matches all of them: {', '.join(counted)}")
        return lines

    def _about(self, leaf: Leaf) -> list[str]:
        """Why a filter matches nothing, in half sentences."""
        if isinstance(leaf, Named) and leaf.word == "name":
            return self._of_names(leaf)
        owners = self.table.owners
        present = {value: len({int(owners[at]) for at in places}) for value, places in self.table.index(leaf.aspect).items()}
        if isinstance(leaf, Words | Named):
            return [*_near_words(leaf, list(present)), _present(leaf.aspect, present)]
        if len(present) > LISTED:
            return [f"here {leaf.aspect} is between {min(present)} and {max(present)}"]
        return [_present(leaf.aspect, present)]

    def _of_names(self, leaf: Named) -> list[str]:
        said: list[str] = []
        for each in leaf.each()[:3]:
            elsewhere = [what for name, what in self._names_elsewhere().items() if each.accepts(name)]
            if elsewhere:
                said.append(f"it is the name of {listed(elsewhere)}, which is no {self.table.noun} that was searched, and uses none")
            guesses = [f"{source_text(text)} ({plural(found, 'match')})" for text, found in self._guesses(each.patterns[0])]
            if guesses:
                said.append(f"did you mean {either(guesses)}?")
        return said

    def _guesses(self, pattern: str) -> list[tuple[str, int]]:
        """The likeliest patterns that match something, and how much."""
        from mlpasses.nearest import Vocabulary, variants  # only errors need it

        index = self.table.index("name")
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(index.keys())
        counted = ((text, self._count(text)) for text in variants(pattern, self._vocabulary))
        return list(islice(((text, found) for text, found in counted if found), 3))

    def _count(self, pattern: str) -> int:
        try:
            leaf = Named("name", (pattern,))
        except ConfigError:
            return 0  # a guess that is no pattern
        return self.table.count(leaf.mask(self.table))

    def _names_elsewhere(self) -> dict[str, str]:
        """What else in the program has a name, by name."""
        if self._elsewhere is None:
            ops = walk(self.program) if self.program is not None else iter(())
            self._elsewhere = {name: f"{op.op_type} {name}" for op in ops for name in (op.name, *(value.name for value in op.outputs))}
        return self._elsewhere


_OPTIONAL: Final = "a rule that may match nothing is marked as optional"


def _duplicate(rules: Rules, earlier: int, index: int) -> Finding:
    first, second = rules[earlier], rules[index]
    if first.config == second.config:
        message = f"{second.filter!r} stands twice, here and as rules[{earlier}]"
    else:
        configs = f"{_outcome(first.config)} in rules[{earlier}], which wins, and {_outcome(second.config)} here"
        message = f"{second.filter!r} stands twice with different configs: {configs}"
    return Finding("duplicate", message, index, place(rules, index), "remove one of them")


def _outcome(config: Any) -> str:
    return "skip" if config in (None, Skip()) else source(config)


def affirmed(part: Filter) -> Iterator[Leaf]:
    """The leaves that have to be true, or one of which has to: those that are not below a `~`."""
    if isinstance(part, Leaf):
        yield part
    elif isinstance(part, And | Or):
        for inner in part.filters:
            yield from affirmed(inner)


def _near_words(leaf: Words | Named, present: list[str]) -> list[str]:
    from mlpasses.nearest import closest  # only errors need it

    wanted = leaf.values if isinstance(leaf, Words) else leaf.patterns
    known = dict.fromkeys(present)
    if leaf.aspect in ("op_type", "consumer"):
        known.update(dict.fromkeys(row.op_type for row in ROWS))
    near = [each for word in wanted if word not in known for each in closest(word, known, 2, least=0.7)]
    return [f"did you mean {either([source_text(each) for each in dict.fromkeys(near)])}?"] if near else []


def _present(aspect: str, present: dict[Any, int]) -> str:
    if not present:
        return f"nothing here has a known {aspect}"
    return f"here {aspect} is {listed([f'{value} ({count})' for value, count in Counter(present).most_common()])}"


def plural(count: int, noun: str) -> str:
    """`1 weight`, `312 weights`, `3 matches`"""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {'ops and weights' if noun == 'op or weight' else f'{noun}es' if noun.endswith('ch') else f'{noun}s'}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """`a, b and c`; the first few, and how many more."""
    if len(items) > LISTED:
        return f"{', '.join(items[:LISTED])} {last} {len(items) - LISTED} more"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"


def either(items: Sequence[str]) -> str:
    """`a, b or c`"""
    return listed(items, "or")
