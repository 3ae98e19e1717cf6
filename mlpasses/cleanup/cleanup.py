"""`Cleanup`: all that tidies a program up, until nothing is left to do."""

from __future__ import annotations

from typing import ClassVar, Final

from attrs import frozen

from mlpasses.cleanup.casts import MergeCasts
from mlpasses.cleanup.cse import CommonSubexpressions
from mlpasses.cleanup.dce import DeadCode
from mlpasses.cleanup.dedupe import DeduplicateConsts
from mlpasses.cleanup.fold import FoldConstants
from mlpasses.cleanup.names import SanitizeNames
from mlpasses.cleanup.noops import RemoveNoops
from mlpasses.cleanup.reshapes import MergeReshapes
from mlpasses.cleanup.sort import SortTopologically
from mlpasses.cleanup.transposes import MergeTransposes
from mlpasses.context import Context
from mlpasses.passes import Pass
from mlpasses.pipeline import Composite, Pipeline, Repeat, Step

FIRST: Final = (SanitizeNames(), SortTopologically())
"""Once, before anything else, so that the others find each op behind what it uses and no name twice. What they do keeps it so."""

ROUND: Final = Pipeline(
    DeadCode(),  # first, so that nothing is done to what nobody needs
    FoldConstants(),  # before the rules, which look at constants
    RemoveNoops(),
    MergeCasts(),
    MergeTransposes(),
    MergeReshapes(),
    DeduplicateConsts(),  # behind the merges, which leave equal constants
    CommonSubexpressions(),
    DeadCode(),
)
"""Repeated until it changes nothing. Each pass stands behind those that make work for it, so a second round seldom finds any."""


@frozen
class Cleanup(Composite):
    """Removes dead and double code, constant and idle ops, chains of casts, transposes and reshapes, and double constants.

    The passes of `parts()`, to a fixed point: run again, it changes nothing. What functions take and return stays as it is, in names, types
    and order, and no byte of a weight changes.
    """

    limit: ClassVar[int] = 10

    def drive(self, step: Step, context: Context) -> int:
        before = len(context.notes)
        changes = sum(step(each) for each in self.parts())
        context.notes[before:] = dict.fromkeys(context.notes[before:])  # each round finds the same to be left alone, and once is enough
        return changes

    def parts(self) -> tuple[Pass, ...]:
        return (*FIRST, Repeat(ROUND, limit=self.limit))
