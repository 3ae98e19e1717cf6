"""What a plan says of one weight, and what a pass says of its part of a plan."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from attrs import Factory, field, frozen

from ir.core import Program
from ir.opset import Opset
from mlpasses.context import Context
from mlpasses.report import OpRow, WeightRow


@frozen
class PlanRow:
    """What a pass would make of one weight. Bytes are as they would lie in the file, everything that the weight needs counted."""

    pass_name: str
    name: str
    op_type: str
    shape: tuple[int, ...]
    scheme: str
    """What it would be; what it is, where it would be left alone."""
    rule: str
    """The rule that decided; empty where there is one for everything, or none matched."""
    before: int
    after: int
    """The most bytes that it would take."""
    least: int = field(default=Factory(lambda self: self.after, takes_self=True))
    """The fewest; less than `after` where that depends on the numbers."""
    why: str = ""
    """What it depends on."""
    needs: Opset | None = None
    """The first opset that has the scheme."""
    skipped: str | None = None
    """Why it would be left alone; None where it would not."""
    where: str = ""
    """The function, with stage, specialization and nested blocks as far as there are several."""
    remark: str = ""
    """What would be done otherwise than the config asks for, and why."""

    @property
    def key(self) -> tuple[str, str]:
        """What tells the weight from all others of the program."""
        return self.where, self.name

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> float:
        """Bits per weight, at most, everything counted."""
        return 8 * self.after / self.numel if self.numel else 0.0


def planned(row: WeightRow) -> PlanRow:
    """The row of a report as that of a plan: what is known exactly."""
    return PlanRow(
        row.pass_name, row.name, row.op_type, row.shape, row.scheme, row.rule, row.before, row.after,
        skipped=row.skipped, where=row.where, remark=row.remark,
    )  # fmt: skip


@frozen
class Planned:
    """A pass' part of a plan."""

    rows: tuple[PlanRow, ...] = ()
    findings: tuple[str, ...] = ()
    """What is wrong with its rules and settings for this program; a run would refuse."""
    doubts: tuple[str, ...] = ()
    """What a run would refuse if the numbers of weights are such as they may be."""
    ops: tuple[OpRow, ...] = ()


@runtime_checkable
class Plannable(Protocol):
    """A pass that can say what it would do to weights or ops without the numbers of weights.

    Any other pass is planned by running it on the weight-free program; one that asks for a weight's numbers cannot be.
    """

    def plan_on(self, program: Program, cx: Context) -> Planned:
        """What the pass would do, done to `program` with abstract tensors in place of results."""
        ...
