"""Rules: what a pass does to which op or weight.

    Rules(
        (name("*lm_head*"), Skip("feeds the logits")),
        (op_type("linear", "conv"), Palettize(nbits=4, group_size=16)),
        default=Palettize(nbits=8),
    )

An ordered list; the first rule that matches decides; its config is taken whole. `None`, or a `Skip` with its reason, leaves alone, as does
the absence of a rule that matches. `mlpasses.resolution` applies rules to a program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args, overload, runtime_checkable

import attrs
from attrs import field, frozen

from mlpasses.errors import ConfigError
from mlpasses.patterns import is_glob, source_text
from mlpasses.select import Filter, Measure, everything
from mlpasses.select import name as named
from mlpasses.select import op_type as typed

Policy: TypeAlias = Literal["error", "skip", "first", "strictest"]
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)


@runtime_checkable
class Strictness(Protocol):
    """A config that can say how much of a weight it keeps. The policy `strictest` takes, of several, the one that keeps the most."""

    @property
    def strictness(self) -> float:
        """More is stricter: the bits per element of a scheme that stores fewer, the density of one that prunes."""
        ...


@frozen(repr=False)
class Skip:
    """Leaves alone what a rule matches, and says why."""

    reason: str = ""

    def __repr__(self) -> str:
        return f"Skip({source_text(self.reason)})" if self.reason else "None"


@frozen
class Where:
    """Where a rule stands in a recipe: `mark` is its file, line and column, `path` leads to it. For error texts."""

    mark: str
    path: str
    inside: tuple[tuple[Filter, Where], ...] = ()
    """Where the parts of its filter stand, where that is known."""

    def of(self, part: Filter) -> Where:
        """Where a part of the filter stands, as closely as is known."""
        return next((where for known, where in self.inside if known == part), self)

    def __str__(self) -> str:
        return f"{self.mark}  {self.path}"


def _checked_filter(value: Any) -> Filter:
    if isinstance(value, Filter):
        return value
    if isinstance(value, str):
        raise ConfigError(f"a rule starts with a filter, not with text: write name({source_text(value)}) or op_type({source_text(value)})")
    if isinstance(value, Measure):
        raise ConfigError(f"a rule starts with a filter, and {value!r} is none by itself: compare it, as in {value!r} >= 4")
    raise ConfigError(f"a rule is a filter and a config, and {value!r} is no filter")


def _checked_config(value: Any) -> Any:
    if isinstance(value, Filter):
        raise ConfigError(f"a rule is a filter and a config, and {value!r} is another filter: combine filters with & or |")
    return Skip() if value is None else value


@frozen(repr=False)
class Rule:
    """What a filter means, and what becomes of it: a config, or a `Skip` (`None` is one without a reason)."""

    filter: Filter = field(converter=_checked_filter)
    config: Any = field(converter=_checked_config)
    optional: bool = field(default=False, kw_only=True)
    """Whether the rule may match nothing: for one recipe over a family of models."""
    where: Where | None = field(default=None, kw_only=True, eq=False)

    @property
    def skips(self) -> bool:
        return isinstance(self.config, Skip)

    def __repr__(self) -> str:
        optional = ", optional=True" if self.optional else ""
        return f"Rule({self.filter!r}, {source(self.config)}{optional})"


_ABSENT: Final[Any] = object()


@frozen(init=False, repr=False)
class Rules:
    """Rules in the order in which they are asked.

    An entry is a pair of a filter and a config, a `Rule`, or a config by itself, which is for everything; so is `default`, the last.

    `conflicts` says what becomes of a weight whose uses come out differently (each use is resolved as if it were the only one; two that
    leave it alone, or have equal configs, agree):

    - `strictest` leaves it alone if any of its uses does, and otherwise takes the config that keeps the most (see `Strictness`; the
      earliest rule's where configs do not say);
    - `first` takes the earliest rule that matched any of the uses;
    - `skip` leaves it alone;
    - `error` refuses, and names the weight, its uses with their rules, and the ways out.

    The default is `strictest`. Who excludes `gather` means the table, tied or not, so a rule that protects one use has to hold for the
    weight; and who gives one use 8 bits and another 4 is served by 8. It never does more to a weight than each of its uses allows, it never
    stops a run (coremltools raises here, and users ask to skip or choose instead: executorch issue 21856), and what it settled is in the
    plan, with the reason. `error` is for recipes that want to be told.
    """

    rules: tuple[Rule, ...]
    conflicts: Policy

    def __init__(self, *entries: Any, default: Any = _ABSENT, conflicts: Policy = "strictest") -> None:
        """Makes rules of entries.

        Raises:
            ConfigError: an entry is no rule, or there is no such policy.
        """
        if conflicts not in POLICIES:
            raise ConfigError(f"conflicts of Rules has to be {', '.join(POLICIES[:-1])} or {POLICIES[-1]}, not {conflicts!r}")
        rules = [_rule(entry) for entry in entries]
        if default is not _ABSENT:
            rules.append(_rule((everything, default)))
        self.__attrs_init__(tuple(rules), conflicts)

    @classmethod
    def of(cls, value: Any) -> Rules:
        """Rules as they are; a lone config, or `None`, as the rule for everything. The converter of passes' fields."""
        return value if isinstance(value, Rules) else cls(value)

    @classmethod
    def levels(
        cls,
        *,
        name: Mapping[str, Any] | None = None,
        op_type: Mapping[str, Any] | None = None,
        default: Any = _ABSENT,
        optional: bool = False,
        conflicts: Policy = "strictest",
    ) -> Rules:
        """The levels that coremltools has: configs by name, then by op type, then for the rest; None leaves alone.

        Exact names come before patterns, otherwise the order of a mapping is kept. `optional` lets all of them match nothing, as
        coremltools does.
        """
        names = sorted((name or {}).items(), key=lambda entry: entry[0].startswith("re:") or is_glob(entry[0]))
        rules = [Rule(named(each), config, optional=optional) for each, config in names]
        rules += [Rule(typed(each), config, optional=optional) for each, config in (op_type or {}).items()]
        return cls(*rules, default=default, conflicts=conflicts)

    def expect(self, *kinds: type) -> None:
        """Checks that all configs are of these classes.

        Raises:
            ConfigError: some are not; it names the rules.
        """
        listed = " or ".join(kind.__name__ for kind in kinds)
        wrong = [
            f"{self.label(index)} has the config {source(rule.config)}, where {listed} or None was expected"
            for index, rule in enumerate(self.rules)
            if not isinstance(rule.config, (*kinds, Skip))
        ]
        if wrong:
            raise ConfigError("\n".join(wrong))

    def op_types(self) -> frozenset[str] | None:
        """Op types outside of which no rule matches an op; None where the rules do not say."""
        bounds = [rule.filter.op_types() for rule in self.rules]
        return frozenset().union(*(bound or () for bound in bounds)) if None not in bounds else None

    def label(self, index: int) -> str:
        """A rule as texts name it: `rules[1] op_type("conv")`."""
        return f"rules[{index}] {self.rules[index].filter!r}"

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    @overload
    def __getitem__(self, index: int) -> Rule: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Rule, ...]: ...
    def __getitem__(self, index: int | slice) -> Rule | tuple[Rule, ...]:
        return self.rules[index]

    def __repr__(self) -> str:
        shown = [repr(rule) if rule.optional else f"({rule.filter!r}, {source(rule.config)})" for rule in self.rules]
        if self.conflicts != "strictest":
            shown.append(f'conflicts="{self.conflicts}"')
        return f"Rules({', '.join(shown)})"


def source(config: Any) -> str:
    """A config as the source that makes it, what has its default left out."""
    if isinstance(config, Skip) or not attrs.has(type(config)):
        return repr(config)
    shown: list[str] = []
    for each in attrs.fields(type(config)):
        value = getattr(config, each.name)
        if each.init and not _is_default(each, value):
            shown.append(f"{each.alias}={source_text(value) if isinstance(value, str) else repr(value)}")
    return f"{type(config).__name__}({', '.join(shown)})"


def _is_default(each: attrs.Attribute[Any], value: Any) -> bool:
    default: Any = each.default
    if default is attrs.NOTHING:
        return False
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # the stub calls it a function
        if default.takes_self:
            return False
        default = default.factory()
    return type(value) is type(default) and bool(value == default)


def _rule(entry: Any) -> Rule:
    if isinstance(entry, Rule):
        return entry
    if isinstance(entry, Rules):
        raise ConfigError("rules do not nest: write Rules(*first, *second)")
    if isinstance(entry, tuple | list):
        if len(entry) != 2:
            raise ConfigError(f"a rule is a filter and a config, and {entry!r} has {len(entry)} items, not 2")
        return Rule(*entry)
    if isinstance(entry, Filter):
        raise ConfigError(f"the rule for {entry!r} has no config: write ({entry!r}, config), or None to leave alone what it matches")
    return Rule(everything, entry)


def as_rules(value: Any) -> Rules:
    """`Rules.of` as a plain function, which type checkers accept as the converter of a field."""
    return Rules.of(value)
