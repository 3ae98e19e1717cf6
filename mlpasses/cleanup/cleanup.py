"""`Cleanup`: all that tidies a program up, until nothing is left to do."""

from __future__ import annotations

from typing import ClassVar, Final

from attrs import frozen

from ir.collector import collector_paused
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
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.passes import Pass
from mlpasses.pipeline import Composite, Pipeline, Repeat, Step

FIRST: Final = (SanitizeNames(), SortTopologically())
"""Once, before anything else, so that the others find each op behind what it uses and no name twice. What they do keeps it so."""

ROUND: Final = (
    DeadCode(),  # first, so that nothing is done to what nobody needs
    FoldConstants(),  # before those that look at constants
    RemoveNoops(),
    MergeCasts(),
    MergeTransposes(),
    MergeReshapes(),
    DeduplicateConsts(),  # behind the merges, which leave equal constants
    CommonSubexpressions(),
    DeadCode(),
)
"""Repeated until it changes nothing. Each pass stands behind those that make work for it, so a second round seldom finds any."""


SILENT: Final = frozenset({DeduplicateConsts()})
"""Makes no work for the others: they ask what a constant is, and not which. So a program in which it alone changes something, as in most
that converters write, is through after one round: a sixth of the time."""


@frozen
class Cleanup(Composite):
    """Removes dead and double code, constant and idle ops, chains of casts, transposes and reshapes, and double constants.

    The passes of `parts()`, to a fixed point: run again, it changes nothing. What functions take and return stays as it is, in names, types
    and order, and no byte of a weight changes.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    limit: ClassVar[int] = 10

    @collector_paused()  # else it looks at the whole program once or twice: 20 of 51 µs an op, with 50,000 ops
    def drive(self, step: Step, context: Context) -> int:
        noted = len(context.notes)
        changes = sum(step(each) for each in FIRST)
        seen: dict[Pass, int] = {}  # each of them leaves nothing to itself, so it need not see a program twice
        news = 0  # changes that may have made work for others
        for _ in range(self.limit):
            before = news
            for each in ROUND:
                if seen.get(each) != news:
                    made = step(each)
                    changes += made
                    news += 0 if each in SILENT else made
                    seen[each] = news
            if news == before:
                break
        else:
            context.note(self.name, f"still changing after {self.limit} rounds: the program is valid, and not at a fixed point")
        context.notes[noted:] = dict.fromkeys(context.notes[noted:])  # what is left alone is so in each round, and said once
        return changes

    def parts(self) -> tuple[Pass, ...]:
        return (*FIRST, Repeat(Pipeline(*ROUND), limit=self.limit))
