"""Bisection: the first pass of a run after which a program fails, and where that pass applies rules, the first rewrite.

The pipeline runs once, and a clone is kept of what each pass left; clones share their weights. Within the pass, the rewrites are made
again on a clone of what the pass was given, up to the one that is asked about: they are the same each time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeGuard

from attrs import define, frozen

from ir.core import Program
from mlpasses.context import Context, Progress
from mlpasses.errors import ConfigError
from mlpasses.instruments import Instrument
from mlpasses.instruments.changes import diff_lines
from mlpasses.manager import run
from mlpasses.passes import FunctionPass, Pass
from mlpasses.rewrite.rule_pass import RewritePass

Fails: TypeAlias = Callable[[Program], bool]
"""Whether something is wrong with a program, which it leaves as it is."""


class NotFailingError(ConfigError):
    """There is nothing to find: what the whole run leaves does not fail."""


@frozen
class RewriteStep:
    """One rewrite of a pass."""

    number: int
    """Its number among the rewrites of the pass, from 1."""
    of: int
    """How many the pass makes."""
    rule: str
    where: str
    """The op that the rule was applied to, as it was called before."""

    def __str__(self) -> str:
        return f"rewrite {self.number} of {self.of}: {self.rule} at {self.where}"


@frozen
class Culprit:
    """What makes a program fail that did not fail before."""

    number: int
    """The number of the pass among those that ran, from 1; every round of a repetition counts."""
    of: int
    """How many ran."""
    each: Pass
    before: Program
    """The last program that does not fail: before the rewrite if there is one, otherwise before the pass."""
    after: Program
    """The first that fails."""
    rewrite: RewriteStep | None = None
    """None for a pass that does more, or other things, than apply rules."""

    def diff(self) -> list[str]:
        """What the rewrite, or the pass, changed: the lines of a unified diff of the text form."""
        what = self.each.name if self.rewrite is None else f"{self.rewrite.rule} at {self.rewrite.where}"
        return list(diff_lines(str(self.before).splitlines(), str(self.after).splitlines(), f"before {what}", f"after {what}"))

    def __str__(self) -> str:
        text = f"pass {self.number} of {self.of}: {self.each}"
        return text if self.rewrite is None else f"{text}\n{self.rewrite}"


def bisect(
    program: Program, pipeline: Pass, fails: Fails, *, progress: Progress | None = None, scratch: str | Path | None = None
) -> Culprit:
    """Finds the first pass of a run of `pipeline` over `program` after which `fails` is true, and the first rewrite within it.

    "First" supposes that what fails keeps failing; where it does not, this is one place of several where it begins. Asks
    O(log passes + log rewrites) times; passes that change nothing are not asked about. `progress` and `scratch` are as for `mlpasses.run`.

    Raises:
        ConfigError: `program` itself fails.
        NotFailingError: what the whole run leaves does not fail.
        MLPassesError: the run does not come to its end, as `mlpasses.run` raises.
    """
    if fails(program):
        raise ConfigError("the check fails on the program before any pass: no pass is to blame; look at the check, or at the program")
    snapshots = _Snapshots(program)
    run(program, pipeline, instruments=[snapshots], progress=progress, scratch=scratch)
    states = snapshots.states
    if len(states) == 1:
        raise NotFailingError("there is nothing to find: no pass changes the program, on which the check does not fail")
    if not fails(states[-1].program):
        raise NotFailingError("there is nothing to find: the check does not fail on what the whole run leaves")
    first = _first(len(states) - 1, lambda index: fails(states[index].program))
    before, found = states[first - 1].program, states[first]
    assert found.each is not None  # the state without a pass is the first, which does not fail
    culprit = Culprit(found.number, snapshots.ran, found.each, before, found.program)
    return _within(culprit, found.each, fails) if _only_rewrites(found.each) else culprit


@define
class _State:
    """A program, and the pass that left it."""

    program: Program
    each: Pass | None = None
    number: int = 0


class _Snapshots(Instrument):
    """Keeps the program that was handed in, and a clone after each pass that changed something."""

    def __init__(self, program: Program) -> None:
        self.states = [_State(program)]
        self.ran = 0
        self._version = -1

    def before(self, each: Pass, program: Program, context: Context) -> None:
        self._version = program.version

    def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
        self.ran += 1
        if changes or program.version != self._version:
            self.states.append(_State(program.clone(), each, self.ran))


def _first(last: int, fails: Callable[[int], bool]) -> int:
    """The first number that fails, where 0 does not and `last` does; neither is asked about."""
    good = 0
    while last - good > 1:
        middle = (good + last) // 2
        if fails(middle):
            last = middle
        else:
            good = middle
    return last


def _only_rewrites(each: Pass) -> TypeGuard[RewritePass]:
    """Whether a pass is its rules and nothing else, so that some of its rewrites are a part of what it does."""
    if not isinstance(each, RewritePass):
        return False
    kind = type(each)
    return (
        kind.run is RewritePass.run
        and kind.rewrite is RewritePass.rewrite
        and kind.apply is FunctionPass.apply
    )


def _within(culprit: Culprit, each: RewritePass, fails: Fails) -> Culprit:
    """The culprit with the rewrite, and the programs around it."""
    source = culprit.before
    total = _rewritten(source, each, None).made

    def fails_after(count: int) -> bool:
        return fails(_rewritten(source, each, count).program)

    number = _first(total, fails_after)
    before, after = _rewritten(source, each, number - 1), _rewritten(source, each, number)
    rule, where = after.last
    return Culprit(culprit.number, culprit.of, each, before.program, after.program, RewriteStep(number, total, rule, where))


@frozen
class _Rewritten:
    program: Program
    made: int
    last: tuple[str, str]


def _rewritten(source: Program, each: RewritePass, stop_after: int | None) -> _Rewritten:
    """A clone of `source` after so many rewrites of a pass; None for all."""
    program = source.clone()
    context = Context(pass_name=each.name)
    made = 0
    last = ("", "")
    for function in program.all_functions():
        outcome = each.rewrite(function, context, stop_after=None if stop_after is None else stop_after - made)
        made += outcome.rewrites
        last = outcome.last or last
    return _Rewritten(program, made, last)
