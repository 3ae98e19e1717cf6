"""Rules as plain data, and back:

    rules:
      - {name: "*lm_head*", skip: "feeds the logits"}                  (name("*lm_head*"), Skip("feeds the logits"))
      - {op_type: conv, quantize: {dtype: uint8}, optional: true}  ⇄   Rule(op_type("conv"), Quantize("uint8"), optional=True)
    default: {quantize: {}}                                            default=Quantize()
    conflicts: first                                                   conflicts="first"

A rule is a filter (see `mlpasses.filter_data`) and an outcome: `skip`, or a config by the name of its class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from mlpasses.errors import ConfigError
from mlpasses.faults import Fault, Faults, Path, faults_of, raise_faults
from mlpasses.filter_data import FILTER_KEYS, Places, filter_data, filter_of
from mlpasses.options import options_of, show
from mlpasses.passes import kebab
from mlpasses.registry import suggest
from mlpasses.rules import POLICIES, Rule, Rules, Skip, Where, source
from mlpasses.select import Filter, everything
from mlpasses.yamltree import Flow, Placed, dotted

RULE_KEYS: Final = ("rules", "default", "conflicts")
"""What the options of a pass hold where it has rules rather than a lone config."""
SKIP: Final = "skip"
OPTIONAL: Final = "optional"

ConfigMaker: TypeAlias = Callable[[type, Any, str], Any]
"""Makes a config of a class from plain data; the text is what complaints call it."""


@frozen
class Outcomes:
    """What the rules of a pass may come to: `skip`, and configs by name."""

    kinds: Mapping[str, type]
    make: ConfigMaker

    @classmethod
    def of(cls, configs: tuple[type, ...], make: ConfigMaker) -> Outcomes:
        return cls({kebab(kind.__name__): kind for kind in configs}, make)

    @property
    def words(self) -> tuple[str, ...]:
        return (SKIP, *self.kinds)

    def read(self, given: Mapping[str, Any]) -> Any:
        """The config, or the `Skip`, that a mapping names.

        Raises:
            Faults: it names none, or several, or what it names is wrong.
        """
        named = [key for key in given if key in self.words]
        if len(named) != 1:
            raise Faults(Fault(self._wanted(f", found {' and '.join(named)}" if named else "")))
        key = named[0]
        try:
            return _skip(given[key]) if key == SKIP else self.make(self.kinds[key], given[key], key)
        except Exception as error:
            raise Faults(*faults_of(error, (key,))) from error

    def _wanted(self, found: str) -> str:
        return f"expected an outcome, {' or '.join(['skip: true', *(f'{name}: {{…}}' for name in self.kinds)])}{found}"

    def hint(self, key: str, known: Mapping[str, object]) -> str:
        """The nearest fix where a rule has a key that it cannot have."""
        homes = [name for name, kind in self.kinds.items() if any(option.name == key for option in options_of(kind))]
        return f"it is an option of {homes[0]}: {homes[0]}: {{{key}: …}}" if homes else suggest(key, known)


def rules_of(given: Mapping[str, Any], outcomes: Outcomes) -> Rules:
    """The rules that `given`, which has no other keys than `RULE_KEYS`, stands for.

    Raises:
        Faults: with everything that is wrong, and where.
    """
    faults: list[Fault] = []
    found: list[Rule] = []
    listed = given.get("rules", [])
    if not isinstance(listed, list | tuple):
        faults.append(Fault(f"expected a list of rules, found {show(listed)}", ("rules",)))
        listed = ()
    for index, item in enumerate(listed):
        try:
            found.append(_rule(item, outcomes))
        except Exception as error:
            faults.extend(faults_of(error, ("rules", index)))
    if "default" in given:
        try:
            found.append(_default(given, outcomes))
        except Exception as error:
            faults.extend(faults_of(error, ("default",)))
    conflicts = given.get("conflicts", "strictest")
    if conflicts not in POLICIES:
        near = suggest(conflicts, list(POLICIES)) if isinstance(conflicts, str) else ""
        expected = f"expected {', '.join(POLICIES[:-1])} or {POLICIES[-1]}, found {show(conflicts)}"
        faults.append(Fault(expected, ("conflicts",), near if near.startswith("did") else ""))
    raise_faults(faults)
    return Rules(*found, conflicts=conflicts)


def _rule(item: Any, outcomes: Outcomes) -> Rule:
    if not isinstance(item, Mapping):
        example = f"{{op_type: conv, {outcomes.words[-1]}: {'true' if len(outcomes.words) == 1 else '{…}'}}}"
        raise Faults(Fault(f"expected a rule, a filter with its outcome such as {example}, found {show(item)}"))
    known = dict.fromkeys([*FILTER_KEYS, *outcomes.words, OPTIONAL])
    faults = [
        Fault(f"a rule has no key {key!r}", (key,), outcomes.hint(key, known), at_key=True) for key in item if key not in known
    ]
    places: Places = []
    keep: Filter = everything
    config: Any = None
    try:
        keep = filter_of({key: item[key] for key in item if key in FILTER_KEYS}, places)
    except Faults as error:
        faults.extend(error.faults)
    try:
        config = outcomes.read(item)
    except Faults as error:
        if not faults or any(fault.path for fault in error.faults):  # a key that is misspelt may be the outcome
            faults.extend(error.faults)
    optional = item.get(OPTIONAL, False)
    if not isinstance(optional, bool):
        faults.append(Fault(f"expected true or false, found {show(optional)}", (OPTIONAL,)))
    raise_faults(faults)
    return Rule(keep, config, optional=optional, where=_where(item, places))


def _default(given: Mapping[str, Any], outcomes: Outcomes) -> Rule:
    default = given["default"]
    stated = {default: True if default == SKIP else None} if isinstance(default, str) and default in outcomes.words else default
    if not isinstance(stated, Mapping):
        raise Faults(Fault(f"expected an outcome, {' or '.join(outcomes.words)}, found {show(default)}"))
    known = dict.fromkeys(outcomes.words)
    unknown = [key for key in stated if key not in known]
    raise_faults([Fault(f"default has no key {key!r}", (key,), outcomes.hint(key, known), at_key=True) for key in unknown])
    where = None
    if isinstance(given, Placed):
        where = Where(str(given.node.at(("default",))), dotted((*given.path, "default")))
    return Rule(everything, outcomes.read(stated), where=where)


def _skip(value: Any) -> Skip:
    if value is True:
        return Skip()
    if not isinstance(value, str):
        raise Faults(Fault(f"expected true, or the reason, found {show(value)}"))
    return Skip(value)


def _where(item: Mapping[str, Any], places: Places) -> Where | None:
    """Where a rule stood, and its filter's parts; None for data that came from no document."""
    if not isinstance(item, Placed):
        return None

    def at(path: Path, inside: tuple[tuple[Filter, Where], ...] = ()) -> Where:
        return Where(str(item.node.at(path)), dotted((*item.path, *path)), inside)

    return at((), tuple([(part, at(path)) for part, path in places]))


def rules_data(rules: Rules, configs: tuple[type, ...], plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Rules as plain data; `plain` gives the options of a config.

    Raises:
        ConfigError: a filter or a config is none that recipes know.
    """
    names = {kind: kebab(kind.__name__) for kind in configs}

    def outcome(rule: Rule) -> dict[str, Any]:
        if rule.skips:
            return {SKIP: rule.config.reason or True}
        if type(rule.config) not in names:
            raise ConfigError(f"no recipe can state the rule {rule!r}: {source(rule.config)} is none of {', '.join(names.values())}")
        return {names[type(rule.config)]: plain(rule.config)}

    listed = list(rules)
    data: dict[str, Any] = {}
    default = listed[-1] if listed and is_default(listed[-1]) else None
    if default is not None:
        listed.pop()
    if listed or default is None:
        marked = [{OPTIONAL: True} if rule.optional else {} for rule in listed]
        data["rules"] = [Flow({**filter_data(r.filter), **outcome(r), **mark}) for r, mark in zip(listed, marked, strict=True)]
    if default is not None:
        data["default"] = Flow(outcome(default))
    if rules.conflicts != "strictest":
        data["conflicts"] = rules.conflicts
    return data


def is_default(rule: Rule) -> bool:
    """Whether a rule, where it is the last, is what `default` states."""
    return rule.filter == everything and not rule.optional
