"""Runs a pipeline: on a clone, verified after every pass, timed."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from attrs import frozen

from ir.core import Program
from ir.diagnostics import InvalidProgramError, MLPassesError
from ir.verify import specification, structure
from mlpasses.context import Context, Progress, Silent
from mlpasses.errors import PassError
from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline
from mlpasses.report import PassRow, Report


@frozen
class Result:
    """What a run left: the new program, and the account of it."""

    program: Program
    report: Report

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the program as an `.mlpackage`, as `Program.save` does."""
        return self.program.save(path, overwrite=overwrite)


def run(
    program: Program,
    pipeline: Pass,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    scratch: str | Path | None = None,
) -> Result:
    """Runs a pass or a pipeline over a clone of `program`, which itself never changes.

    After each pass the structure of the whole program and the specification of the ops that it touched are verified.

    Raises:
        InvalidProgramError: the program handed in is not valid.
        PassError: a pass failed or left an invalid program. The cause is chained; nothing is left behind.
        MLPassesError: a pass refused the program or its configuration, with the reason.
    """
    structure.verify(program)
    copy = program.clone()
    context = Context(progress=progress or Silent(), scratch=None if scratch is None else Path(scratch))
    if workers is not None:
        context.workers = max(1, workers)
    report = Report(weights=context.weights, notes=context.notes)
    for each in Pipeline(pipeline).flat():
        started = perf_counter()
        changes = _run_one(each, copy, context, report)
        report.passes.append(PassRow(each.name, perf_counter() - started, changes))
    return Result(copy, report)


def _run_one(each: Pass, program: Program, context: Context, report: Report) -> int:
    context.pass_name = each.name
    context.touched.clear()
    version = program.version
    try:
        changes = each.apply(program, context)
    except MLPassesError as error:
        error.add_note(_where(each, report))
        raise
    except Exception as error:
        raise PassError(f"{_where(each, report)} failed: {type(error).__name__}: {error}") from error
    if not changes and program.version != version:
        raise PassError(f"{_where(each, report)} claims to have changed nothing, and changed the program")
    _verify_after(each, program, context, report)
    return changes


def _verify_after(each: Pass, program: Program, context: Context, report: Report) -> None:
    try:
        structure.verify(program)
        specification.verify(op for op in context.touched if op.block is not None)
    except InvalidProgramError as error:
        raise PassError(f"{_where(each, report)} left an invalid program:\n{error}") from error


def _where(each: Pass, report: Report) -> str:
    before = ", ".join(row.name for row in report.passes)
    return f"pass {each.name}" + (f" (after {before})" if before else "")
