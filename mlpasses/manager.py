"""Runs a pipeline: on a clone, every pass between instruments that verify, time and watch it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from ir.core import Program
from ir.diagnostics import IllegalName, MLPassesError
from ir.verify import raise_problems, structure
from mlpasses.context import Context, Frame, Progress, Silent
from mlpasses.contract import lacking
from mlpasses.errors import ConfigError, PassError
from mlpasses.instruments import Instrument
from mlpasses.instruments.timing import Timing
from mlpasses.instruments.verification import Verification
from mlpasses.passes import Pass
from mlpasses.pipeline import Composite, Pipeline, check_program
from mlpasses.report import Report

if TYPE_CHECKING:
    from concurrent.futures import Executor


@frozen
class Result:
    """What a run left: the new program, and the account of it."""

    program: Program
    report: Report
    pipeline: Pass

    def record(self) -> Result:
        """Writes the pipeline into the program's metadata, as a recipe with its hash and versions (see `mlpasses.provenance`).

        Raises:
            ConfigError: no recipe can state the pipeline: a pass of it is not registered.
        """
        from mlpasses.provenance import record  # it knows recipes, and runs do without them

        record(self.program, self.pipeline)
        return self

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the program as an `.mlpackage`, as `Program.save` does."""
        return self.program.save(path, overwrite=overwrite)


def run(
    program: Program,
    pipeline: Pass,
    *,
    instruments: Iterable[Instrument] = (),
    progress: Progress | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    scratch: str | Path | None = None,
) -> Result:
    """Runs a pass or a pipeline over a clone of `program`, which itself never changes.

    After each pass the structure of the whole program and the specification of the ops that it touched are verified. `instruments`
    watch as well, in their order before a pass and in reverse after it. `workers` is how many weights may be worked on at once (the
    number of processors; results do not depend on it), `scratch` the folder for large results until they are saved, by default the system's
    temporary one; what is saved on the file system that it is on need not be copied. An `executor` works on weights in place of threads of
    our own: any of `concurrent.futures`, or of a cluster whose workers have the model's files and the scratch folder at the same paths.

    Raises:
        InvalidProgramError: the program handed in is not valid. Names that no file can hold are no hindrance: a pass may mend them.
        PassError: a pass failed or left an invalid program. The cause is chained; nothing is left behind.
        ConfigError: a function is written for an older opset than a pass needs, or a pass refused its configuration.
        MLPassesError: a pass refused the program, with the reason.
    """
    if not isinstance(pipeline, Pass):
        pipeline = Pipeline(pipeline)  # which says what is wrong with it
    check_program(program)
    faults = structure.problems(program)
    raise_problems([fault for fault in faults if not isinstance(fault, IllegalName)])
    context = Context(progress=progress or Silent(), scratch=None if scratch is None else Path(scratch), executor=executor)
    if workers is not None:
        context.workers = max(1, workers)
    report = Report(weights=context.weights, notes=context.notes, ops=context.ops)
    runner = _Runner(program.clone(), context, report, (*instruments, Verification(program), Timing(report)), _last_over_weights(pipeline))
    runner.step(pipeline)
    if faults:
        context.begin("")
        for fault in structure.problems(runner.program):
            left = f"{fault.message}, as it was handed in: it cannot be saved, and SanitizeNames gives it another name"
            context.note("the program", left)
    return Result(runner.program, report, pipeline)


class _Runner:
    """One run."""

    def __init__(
        self, program: Program, context: Context, report: Report, instruments: tuple[Instrument, ...], last_over_weights: Pass | None
    ) -> None:
        self.program = program
        self._last_over_weights = last_over_weights
        self._context = context
        self._report = report
        self._instruments = instruments

    def step(self, each: Pass) -> int:
        """Runs one pass; the passes of a composite one by one."""
        around = self._context.around
        if around:
            around[-1].steps += 1
        if isinstance(each, Composite):
            _refuse(lacking(self.program, each.min_opset, each.name))
            around.append(Frame(each))
            changes = each.drive(self.step, self._context)
            around.pop()
            return changes
        self._context.begin(each.name, lasting=each is self._last_over_weights)
        where = self._where(each)
        for instrument in self._instruments:
            instrument.before(each, self.program, self._context)
        try:
            changes = self._apply(each, where)
            for instrument in reversed(self._instruments):
                instrument.after(each, self.program, self._context, changes)
        except MLPassesError as error:
            error.add_note(f"in {where}")
            for instrument in self._instruments:
                instrument.failed(each, self.program, self._context, error)
            raise
        return changes

    def _apply(self, each: Pass, where: str) -> int:
        version = self.program.version
        _refuse(lacking(self.program, each.min_opset, each.name))
        try:
            changes = each.apply(self.program, self._context)
        except MLPassesError:
            raise
        except Exception as error:
            failure = PassError(f"{where} failed: {type(error).__name__}: {error}")
            for note in getattr(error, "__notes__", ()):  # which say where it was, and are not shown of a cause
                failure.add_note(note)
            raise failure from error
        if not isinstance(changes, int):
            raise PassError(f"{where} returned {changes!r}: what a pass returns is the number of changes that it made")
        if not changes and self.program.version != version:
            raise PassError(f"{where} claims to have changed nothing, and changed the program")
        return changes

    def _where(self, each: Pass) -> str:
        before = ", ".join(row.name for row in self._report.passes)
        return f"pass {each.name}" + (f" (after {before})" if before else "")


def _last_over_weights(pipeline: Pass) -> Pass | None:
    """The last pass that replaces weights; None where there is none."""
    passes = pipeline.flat() if isinstance(pipeline, Composite) else [pipeline]
    return next((each for each in reversed(list(passes)) if each.replaces_weights), None)


def _refuse(reasons: list[str]) -> None:
    if reasons:
        raise ConfigError("\n".join(reasons))
