"""Running a pipeline over a model file: what `run` and the shorthands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import frozen

from mlpasses.cli.common import Settings, load, size_of
from mlpasses.cli.watching import Watching

if TYPE_CHECKING:
    from ir.core import Program
    from mlpasses.instruments import Instrument
    from mlpasses.manager import Result
    from mlpasses.pipeline import Pipeline

F = TypeVar("F", bound=Callable[..., Any])


@frozen
class Running:
    """What the options say."""

    force: bool = False
    record: bool = True
    workers: int | None = None
    scratch: Path | None = None
    """None for the output's folder: what is computed there becomes the output's weight file without being copied."""


def running_options(command: F) -> F:
    """Adds the options, and hands the command a `Running` as `running`."""

    @wraps(command)  # with the options that it has so far
    def called(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in ("force", "record", "workers", "scratch")}
        return command(*arguments, running=Running(**given), **options)

    folder = click.Path(path_type=Path, exists=True, file_okay=False)
    decorated: Any = called
    for option in (
        click.option("--scratch", type=folder, help="The folder of scratch files; that of OUT by default."),
        click.option("--workers", type=click.IntRange(min=1), help="How many weights to work on at once; all processors by default."),
        click.option("--record/--no-record", default=True, help="Whether to write the recipe into the metadata of OUT; it is."),
        click.option("-f", "--force", is_flag=True, help="Replace an existing package."),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def run_model(
    model: Path,
    output: Path,
    pipeline_for: Callable[[Program], Pipeline],
    settings: Settings,
    running: Running,
    watching: Watching = Watching(),  # noqa: B008 - nothing is watched, and so nothing counted
) -> None:
    """Loads a model, runs the pipeline for it, writes the result, and shows what became of each weight.

    Raises:
        PackageError: before anything is loaded: the output exists and may not be replaced, or is no package.
    """
    from ir.mil.atomic import check_target

    started = perf_counter()
    check_target(output, overwrite=running.force)
    if output.suffix != ".mlpackage":
        settings.warn(f"{output} will be a folder whose name does not end in .mlpackage, by which Xcode knows packages")
    before = size_of(model)
    program = load(model, settings)
    pipeline = pipeline_for(program)
    scratch = running.scratch or output.resolve().parent
    result = _run(program, pipeline, settings, watching.instruments(pipeline), workers=running.workers, scratch=scratch)
    if running.record:
        result.record()
    _save(result, output, running)
    seconds = perf_counter() - started
    summary = {"model": str(model), "output": str(output), "before": before, "after": size_of(output), "seconds": seconds}
    if settings.as_json:
        counts = {} if watching.counts is None else {"statistics": [row.as_dict() for row in watching.counts.rows]}
        settings.data({**summary, "report": result.report.as_dict(), **counts})
    elif not settings.quiet:
        for row in watching.counts.rows if watching.counts else ():
            settings.say(str(row))
        _show(result, summary, settings)


def _run(
    program: Program, pipeline: Pipeline, settings: Settings, instruments: list[Instrument], *, workers: int | None, scratch: Path
) -> Result:
    from mlpasses.manager import run
    from mlpasses.progress import TerminalProgress

    shown = not settings.quiet and sys.stderr.isatty()
    with TerminalProgress() if shown else nullcontext() as progress:
        return run(program, pipeline, instruments=instruments, progress=progress, workers=workers, scratch=scratch)


def _save(result: Result, output: Path, running: Running) -> None:
    from ir.diagnostics import IllegalName, InvalidProgramError

    try:
        result.save(output, overwrite=running.force)
    except InvalidProgramError as error:
        if any(isinstance(problem, IllegalName) for problem in error.problems):
            error.add_note("sanitize-names, put before the other passes of a recipe, gives such values other names")
        raise


def _show(result: Result, summary: dict[str, Any], settings: Settings) -> None:
    from mlpasses.quantities import bytes_text
    from mlpasses.tables import ROWS, passes_table, report_table

    settings.say(report_table(result.report, rows=None if settings.verbose else ROWS, errors=settings.verbose))
    if settings.verbose:
        settings.say("\n" + passes_table(result.report))
    before, after = summary["before"], summary["after"]
    share = f"{100 * after / before:.0f} % of the size, " if before else ""
    seconds = f"{summary['seconds']:.1f} s"
    settings.say(f"{summary['model']} {bytes_text(before)} → {summary['output']} {bytes_text(after)} ({share}{seconds})")
