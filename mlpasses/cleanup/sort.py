"""`SortTopologically`: each op comes after all that it uses.

    inputs %x: fp16[4]                          inputs %x: fp16[4]
    %y: fp16[4] = relu(x=%a)              →     %a: fp16[4] = exp(x=%x)
    %a: fp16[4] = exp(x=%x)                     %y: fp16[4] = relu(x=%a)
    return %y                                   return %y
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from ir.core import Function
from ir.walk import is_sorted, sort_topologically
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.passes import FunctionPass


@frozen
class SortTopologically(FunctionPass):
    """Puts ops into an order in which each comes after all that it uses.

    An order that is legal stays; otherwise an op moves only to before the first op that needs it. Ops on one state keep their order among
    themselves. A program that `mlpasses.run` is given is in order; one that was put together by hand may not be.

    Raises:
        InvalidProgramError: ops depend on one another in a cycle, which it names.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    def run(self, fn: Function, cx: Context) -> int:
        return sum(sort_topologically(block) for block in fn.blocks() if not is_sorted(block))
