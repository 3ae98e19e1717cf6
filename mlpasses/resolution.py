"""Resolution: rules applied to ops or weights, before anything is computed or changed.

    resolution = resolve(rules, weight_subjects(found)).checked()
    for candidate, decision in zip(found, resolution.decisions, strict=True): …

Each use of a weight is resolved as if it were the only one. Where the uses of a weight, or of weights that are stored once, come out
differently, the rules' `conflicts` decides, and the decision carries the `Conflict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from attrs import frozen

from ir.collector import collector_paused
from ir.core import Program
from mlpasses.findings import LISTED, Explainer, Finding, check_rules, either, place, plural, raise_findings, shadowed
from mlpasses.patterns import source_text
from mlpasses.rules import POLICIES, Policy, Rules, Strictness, source
from mlpasses.select import everything
from mlpasses.subjects import Face, Subject, Table, groups


@frozen(eq=False)
class Conflict:
    """The uses of a weight, or of weights that are stored once, come out differently."""

    rules: Rules
    outcomes: tuple[tuple[Face, int | None], ...]
    """Each use, and the rule that decides it; None where none matches."""

    @property
    def deciders(self) -> frozenset[int | None]:
        """The rules that decide some use."""
        return frozenset(rule for _, rule in self.outcomes)

    @property
    def names(self) -> tuple[str, ...]:
        """The weights, by name."""
        return tuple(dict.fromkeys(face.subject.name for face, _ in self.outcomes))

    def settled(self, policy: Policy) -> tuple[Any, int | None]:
        """The config, None where the weight is left alone, and the rule, that a policy takes."""
        return SETTLE[policy](self.rules, self.deciders)

    def ways(self) -> dict[Policy, str]:
        """What each policy but `error` does, in words."""
        return {policy: _taken(self.settled(policy)[0]) for policy in POLICIES if policy != "error"}

    def __str__(self) -> str:
        places = [face.values("function") for face, _ in self.outcomes]
        told = len(set(places)) > 1
        shown = [
            f"{face!r}{f' in {around[0]}' if told and around else ''}: {_outcome(self.rules, rule)}"
            for (face, rule), around in zip(self.outcomes[:LISTED], places, strict=False)
        ]
        more = [f"and {len(self.outcomes) - LISTED} more"] if len(self.outcomes) > LISTED else []
        return "; ".join([*shown, *more])


@frozen(eq=False)
class Decision:
    """What becomes of an op or weight."""

    config: Any = None
    """None: it is left alone."""
    rule: int | None = None
    """The rule that decided; None where none matched, or uses in conflict leave the weight alone between them."""
    _reason: str = ""
    conflict: Conflict | None = None

    @property
    def reason(self) -> str:
        """Why it is left alone; how a conflict was settled, and the other ways. Empty where there is nothing to say."""
        if self.conflict is None:
            return self._reason
        policy = self.conflict.rules.conflicts
        others = [f'conflicts="{other}" {what}' for other, what in self.conflict.ways().items() if what != _taken(self.config)]
        settled = "error refuses that" if policy == "error" else f"{policy} {_taken(self.config)}"
        settled += f" ({either(others)})" if others else ""
        return f"its uses come out differently, and {settled}: {self.conflict}"


@frozen(eq=False)
class Resolution:
    """Rules applied to subjects: a decision for each, and what is wrong with the rules."""

    rules: Rules
    subjects: Sequence[Subject]
    decisions: tuple[Decision, ...]
    """One for each subject, in their order."""
    groups: tuple[tuple[int, ...], ...]
    """The positions of subjects that are stored once, together. Those of a group share their decision."""
    findings: tuple[Finding, ...]

    @property
    def conflicts(self) -> list[Conflict]:
        """The conflicts, however they were settled, each once."""
        first = (self.decisions[members[0]].conflict for members in self.groups)
        return [conflict for conflict in first if conflict is not None]

    def checked(self) -> Resolution:
        """The resolution, if nothing is wrong with the rules.

        Raises:
            ConfigError: something is; it says everything.
        """
        raise_findings(self.findings)
        return self


def resolve(rules: Rules, subjects: Sequence[Subject], program: Program | None = None) -> Resolution:
    """Applies rules to ops or weights.

    `program`, where given, is searched for what else has a name that no subject has, for the texts of findings. O(rules · faces) in
    NumPy, and a look at each distinct name for each pattern.
    """
    with collector_paused():
        return _resolve(rules, subjects, program)


def _resolve(rules: Rules, subjects: Sequence[Subject], program: Program | None) -> Resolution:
    table = Table(subjects)
    deciders = np.full(len(table.faces), -1, np.int64)
    found = check_rules(rules)
    settled = {finding.rule for finding in found}
    explainer = Explainer(rules, table, program)
    for index, rule in enumerate(rules):
        mask = rule.filter.mask(table)
        takers = deciders[mask]
        free = takers < 0
        deciders[mask] = np.where(free, index, takers)
        if rule.optional or index in settled or rule.filter == everything:
            continue
        if not takers.size:
            found.append(explainer.unmatched(index))
            continue
        found += explainer.dead_names(index)
        if not free.any():
            found.append(shadowed(rules, index, takers.tolist(), table.count(mask), table.noun))
    grouped = tuple(groups(subjects))
    decisions = _decide(rules, table, grouped, deciders.tolist())
    if rules.conflicts == "error":
        found += _refused([conflict for members in grouped if (conflict := decisions[members[0]].conflict) is not None])
    return Resolution(rules, subjects, decisions, grouped, tuple(sorted(found, key=lambda finding: finding.rule)))


def _decide(rules: Rules, table: Table, grouped: Sequence[tuple[int, ...]], deciders: Sequence[int]) -> tuple[Decision, ...]:
    """The decision over each subject, by the rule that decides each face (-1: none does)."""
    by_rule: dict[int | None, Decision] = {index: _by_rule(rules, index) for index in (None, *range(len(rules)))}
    starts = table.starts
    decisions: list[Decision] = [by_rule[None]] * len(table.subjects)
    for members in grouped:
        chosen = {deciders[at] for member in members for at in range(starts[member], starts[member + 1])}
        if len(chosen) == 1:
            (only,) = chosen
            decision = by_rule[only if only >= 0 else None]
        elif not chosen:
            decision = Decision(reason="nothing uses it as a weight")
        else:
            positions = [at for member in members for at in range(starts[member], starts[member + 1])]
            outcomes = [(table.faces[at], deciders[at] if deciders[at] >= 0 else None) for at in positions]
            decision = _of_several(rules, by_rule, outcomes)
        for member in members:
            decisions[member] = decision
    return tuple(decisions)


def _by_rule(rules: Rules, index: int | None) -> Decision:
    if index is None:
        return Decision(reason="no rule matches it")
    rule = rules[index]
    if not rule.skips:
        return Decision(rule.config, index)
    return Decision(rule=index, reason=rule.config.reason or f"{rules.label(index)} leaves it alone")


def _of_several(rules: Rules, by_rule: Mapping[int | None, Decision], outcomes: Sequence[tuple[Face, int | None]]) -> Decision:
    """The decision over uses that different rules decide."""
    deciding = sorted({rule for _, rule in outcomes if rule is not None})
    first = rules[deciding[0]].config
    silent = any(rule is None for _, rule in outcomes)
    if all(rules[rule].skips for rule in deciding):
        return by_rule[deciding[0]]
    if not silent and all(rules[rule].config == first for rule in deciding):
        return by_rule[deciding[0]]
    conflict = Conflict(rules, tuple(outcomes))
    config, rule = conflict.settled(rules.conflicts)
    return Decision(config, rule, conflict=conflict)


def _left_alone(rules: Rules, deciders: frozenset[int | None]) -> tuple[Any, int | None]:
    """Left alone: by the earliest rule that says so."""
    return None, min((rule for rule in deciders if rule is not None and rules[rule].skips), default=None)


def _first(rules: Rules, deciders: frozenset[int | None]) -> tuple[Any, int | None]:
    """The earliest rule's outcome."""
    rule = min(rule for rule in deciders if rule is not None)
    return (None if rules[rule].skips else rules[rule].config), rule


def _strictest(rules: Rules, deciders: frozenset[int | None]) -> tuple[Any, int | None]:
    """Left alone if any use is; otherwise the config that keeps the most, the earliest rule's where one does not say."""
    configs = {rule: rules[rule].config for rule in sorted(r for r in deciders if r is not None) if not rules[rule].skips}
    if len(configs) < len(deciders):
        return _left_alone(rules, deciders)
    if not all(isinstance(config, Strictness) for config in configs.values()):
        return _first(rules, deciders)
    rule = max(configs, key=lambda each: (configs[each].strictness, -each))
    return configs[rule], rule


SETTLE: Final[Mapping[Policy, Callable[[Rules, frozenset[int | None]], tuple[Any, int | None]]]] = {
    "error": _left_alone,
    "skip": _left_alone,
    "first": _first,
    "strictest": _strictest,
}
"""What each policy makes of uses that these rules decide. `error` leaves alone what it refuses, so that a plan can still be drawn up."""


def _outcome(rules: Rules, rule: int | None) -> str:
    if rule is None:
        return "no rule"
    config = rules[rule].config
    return f"{'left alone' if rules[rule].skips else source(config)} by {rules.label(rule)}"


def _taken(config: Any) -> str:
    return "leaves it alone" if config is None else f"takes {source(config)}"


def _refused(conflicts: Sequence[Conflict]) -> Iterator[Finding]:
    """Conflicts where the policy is to refuse them; one finding for all between the same rules."""
    alike: dict[frozenset[int | None], list[Conflict]] = {}
    for conflict in conflicts:
        alike.setdefault(conflict.deciders, []).append(conflict)
    for deciders, found in alike.items():
        first = found[0]
        index = min(rule for rule in deciders if rule is not None)
        likewise = f"; likewise those of {plural(len(found) - 1, 'other weight')}" if found[1:] else ""
        message = f"the uses of weight {' = '.join(first.names)} come out differently: {first}{likewise}"
        names = dict.fromkeys(name for conflict in found for name in conflict.names)
        yield Finding("conflict", message, index, place(first.rules, index), _ways_out(first, list(names)))


def _ways_out(conflict: Conflict, names: Sequence[str]) -> str:
    by_outcome: dict[str, list[str]] = {}
    for policy, what in conflict.ways().items():
        by_outcome.setdefault(what, []).append(f'"{policy}"')
    policies = [f"conflicts={either(policies)} {what}" for what, policies in by_outcome.items()]
    shown = ", ".join(source_text(name) for name in names[:LISTED]) + (", …" if len(names) > LISTED else "")
    return f"{'; '.join(policies)}\nor decide it in a rule before these: (name({shown}), None), or with a config"
