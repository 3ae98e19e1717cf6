"""Plans: what a pipeline would do, before it does anything.

The passes run on a clone in which weights are abstract (dtype and shape), so that a later pass sees what an earlier one would leave, and
no weight is read.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import asdict, define, evolve, field, frozen

from ir.collector import collector_paused
from ir.const import Const
from ir.core import Program
from ir.diagnostics import AbstractError, MLPassesError
from ir.tensors import AbstractTensor, Tensor
from ir.types import Type
from mlpasses.context import Context
from mlpasses.contract import lacking
from mlpasses.errors import ConfigError, PassError
from mlpasses.manager import run
from mlpasses.passes import Pass
from mlpasses.pipeline import Composite, check_program
from mlpasses.plan_rows import Plannable, PlanRow, planned
from mlpasses.report import Note, OpRow

ABSTRACT_FROM: Final = 2048
"""Bytes from which a tensor of floats or of small integers is a weight to a plan. Indices, shapes and the like keep their numbers."""


@define
class Plan:
    """What a pipeline would do to a program. `str` gives it as a table."""

    rows: list[PlanRow] = field(factory=list)
    notes: list[Note] = field(factory=list)
    unplanned: list[Note] = field(factory=list)
    """Passes that cannot be planned, and why. Those behind them are planned as if they had done nothing."""
    findings: list[str] = field(factory=list)
    """What is wrong: a run would refuse, for these reasons."""
    doubts: list[str] = field(factory=list)
    """What may turn out to be wrong: a run would refuse, if the numbers of weights are such as they may be."""
    ops: list[OpRow] = field(factory=list)
    """The ops that passes over ops would transform."""

    @property
    def before(self) -> int:
        """Bytes of the planned weights before."""
        return sum({row.key: row.before for row in reversed(self.rows)}.values())

    @property
    def after(self) -> int:
        """Bytes of the planned weights after, at most."""
        return sum({row.key: row.after for row in self.rows}.values())

    @property
    def least(self) -> int:
        """Bytes of the planned weights after, at least."""
        return sum({row.key: row.least for row in self.rows}.values())

    def checked(self) -> Plan:
        """The plan, if a run would not refuse.

        Raises:
            ConfigError: it would; it says everything that is wrong.
        """
        if self.findings:
            raise ConfigError("\n".join(self.findings))
        return self

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for JSON."""
        rows = [
            {**asdict(row), "shape": list(row.shape), "bits": row.bits, "needs": row.needs and row.needs.target} for row in self.rows
        ]
        return {
            "weights": rows,
            "notes": [asdict(note) for note in self.notes],
            "unplanned": [asdict(note) for note in self.unplanned],
            "findings": list(self.findings),
            "doubts": list(self.doubts),
            "ops": [asdict(row) for row in self.ops],
            "before": self.before,
            "least": self.least,
            "after": self.after,
        }

    def __str__(self) -> str:
        from mlpasses.tables import plan_table  # rich takes a while to import, and most callers print nothing

        return plan_table(self)


def make_plan(program: Program, pipeline: Pass, *, exact: bool = False) -> Plan:
    """What `pipeline` would do to `program`, which does not change.

    Without `exact` no weight is read: sizes that depend on the numbers are ranges with the reason. With it the pipeline is run, and what
    it did is the plan.
    """
    check_program(program)
    if exact:
        return _exact(program, pipeline)
    skipped: dict[int, Note] = {}
    with collector_paused():  # two full collections less: a third of the time for 50,000 ops
        while True:
            planning = _Planning(weight_free(program), frozenset(skipped))
            try:
                planning.step(pipeline)
            except _Unplannable as error:
                skipped[error.number] = error.note
                continue
            planning.plan.unplanned += skipped.values()
            return planning.plan


def weight_free(program: Program) -> Program:
    """A clone in which abstract tensors stand for weights; what was one tensor stays one."""
    abstract: dict[int, AbstractTensor] = {}
    weights: dict[Type, bool] = {}

    def freed(const: Const) -> Const:
        is_weight = weights.get(const.type)
        if is_weight is None:
            is_weight = weights[const.type] = not isinstance(const.data, tuple) and _is_weight(const.data)
        if not is_weight:
            return const
        data = const.tensor
        return Const(const.type, abstract.setdefault(id(data), AbstractTensor(data.dtype, data.shape)), const.doc)

    return program.clone(freed)


def _is_weight(tensor: Tensor) -> bool:
    dtype = tensor.dtype
    return (dtype.is_float or (dtype.is_integer and dtype.bits <= 8)) and tensor.nbytes >= ABSTRACT_FROM


@frozen
class _Unplannable(Exception):  # noqa: N818 - never leaves this module
    number: int
    note: Note


class _Planning:
    """One attempt at a plan. A pass that turns out to need numbers may have changed the clone: the next attempt leaves it out."""

    def __init__(self, program: Program, skipped: frozenset[int]) -> None:
        self.plan = Plan()
        self._program = program
        self._skipped = skipped
        self._context = Context(notes=self.plan.notes)
        self._number = -1
        self._broken = False
        """Whether a pass raised, so that nobody knows what it left."""
        self._ranges: dict[tuple[str, str], PlanRow] = {}
        """The last row of each weight whose size depends on its numbers."""

    def step(self, each: Pass) -> int:
        if isinstance(each, Composite):
            return 0 if self._lacks(each) else each.drive(self.step, self._context)
        self._number += 1
        if self._number in self._skipped or (self._broken and not isinstance(each, Plannable)) or self._lacks(each):
            return 0
        self._context.begin(each.name)
        version = self._program.version
        try:
            if isinstance(each, Plannable):
                planned = each.plan_on(self._program, self._context)
                self.plan.rows += map(self._in_turn, planned.rows)
                self.plan.ops += planned.ops
                self.plan.findings += planned.findings
                self.plan.doubts += planned.doubts
            else:
                each.apply(self._program, self._context)
        except AbstractError as error:
            note = Note(each.name, "the program", f"it cannot be planned: it looks at the numbers of weights ({error})")
            raise _Unplannable(self._number, note) from error
        except MLPassesError as error:
            self.plan.findings.append(f"{each.name}: {error}")
            self._broken = True
        except Exception as error:
            raise PassError(f"pass {each.name} failed while it was planned: {type(error).__name__}: {error}") from error
        return int(self._program.version != version)

    def _in_turn(self, row: PlanRow) -> PlanRow:
        """A row of a weight; with a range where an earlier pass left one. What that may save, later ones at most save again."""
        earlier = self._ranges.pop(row.key, None)
        if earlier is not None and row.after <= row.before:  # or it is dense again, and no smaller than that
            why = "; ".join(dict.fromkeys(each for each in (row.why, earlier.why) if each))
            row = evolve(row, least=max(0, row.least - (earlier.after - earlier.least)), why=why)
        if row.least < row.after:
            self._ranges[row.key] = row
        return row

    def _lacks(self, each: Pass) -> bool:
        """Whether a function is too old for a pass; not asked of a program that an earlier pass may have left half raised."""
        lacks = [] if self._broken else lacking(self._program, each.min_opset, each.name)
        self.plan.findings += [reason for reason in lacks if reason not in self.plan.findings]
        return bool(lacks)


def _exact(program: Program, pipeline: Pass) -> Plan:
    try:
        result = run(program, pipeline)
    except ConfigError as error:
        return Plan(findings=[str(error)])
    return Plan([planned(row) for row in result.report.weights], result.report.notes, ops=result.report.ops)
