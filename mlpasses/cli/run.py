"""`mlpasses run MODEL [RECIPE] -o OUT`"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from mlpasses.cli.common import Settings, common_options, load, size_of
from mlpasses.cli.pipelines import pipeline_from, pipeline_options, recipe_argument
from mlpasses.cli.watching import Watching, watching_options

if TYPE_CHECKING:
    from mlpasses.instruments import Instrument
    from mlpasses.manager import Result
    from mlpasses.pipeline import Pipeline


@click.command("run")
@click.argument("model", type=click.Path(path_type=Path))
@recipe_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The package to write.")
@pipeline_options
@click.option("-f", "--force", is_flag=True, help="Replace an existing package.")
@click.option("--record/--no-record", default=True, help="Whether to write the recipe into the metadata of OUT; it is.")
@click.option("--workers", type=click.IntRange(min=1), help="How many weights to work on at once; all processors by default.")
@click.option("--scratch", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The folder of scratch files.")
@watching_options
@common_options
def command(
    settings: Settings,
    model: Path,
    recipe: Path | None,
    output: Path,
    entries: tuple[str, ...],
    overrides: tuple[str, ...],
    force: bool,
    record: bool,
    workers: int | None,
    scratch: Path | None,
    watching: Watching,
) -> None:
    """Run a recipe over MODEL, write the result to OUT, and show what became of each weight.

    RECIPE is a YAML file (- reads it from stdin). Passes may also be given one by one:

    \b
      mlpasses run M.mlpackage w8.yaml -o M-w8.mlpackage
      mlpasses run M.mlpackage w8.yaml -o M-w8.mlpackage --set quantize-weights.dtype=uint8
      mlpasses run M.mlpackage -o M-w8.mlpackage -p raise-opset=iOS18 -p quantize-weights -p dead-code
      mlpasses run M.mlpackage -o M-w8.mlpackage -p 'quantize-weights: {dtype: uint8, mode: asymmetric}'

    OUT is written in one step: whatever happens, it is the old package or the new one, whole. It may be MODEL itself, with --force.
    """
    from ir.mil.atomic import check_target

    started = perf_counter()
    pipeline = pipeline_from(recipe, entries, overrides)
    check_target(output, overwrite=force)
    before = size_of(model)
    result = _run(model, pipeline, settings, workers, scratch, watching.instruments(pipeline))
    if record:
        result.record()
    result.save(output, overwrite=force)
    summary = {"model": str(model), "output": str(output), "before": before, "after": size_of(output), "seconds": perf_counter() - started}
    if settings.as_json:
        counts = {} if watching.counts is None else {"statistics": [row.as_dict() for row in watching.counts.rows]}
        settings.data({**summary, "report": result.report.as_dict(), **counts})
    elif not settings.quiet:
        for row in watching.counts.rows if watching.counts else ():
            settings.say(str(row))
        _show(result, summary, settings)


def _run(
    model: Path, pipeline: Pipeline, settings: Settings, workers: int | None, scratch: Path | None, instruments: list[Instrument]
) -> Result:
    from mlpasses.manager import run
    from mlpasses.progress import TerminalProgress

    program = load(model, settings)
    shown = not settings.quiet and sys.stderr.isatty()
    with TerminalProgress() if shown else nullcontext() as progress:
        return run(program, pipeline, instruments=instruments, progress=progress, workers=workers, scratch=scratch)


def _show(result: Result, summary: dict[str, Any], settings: Settings) -> None:
    from mlpasses.quantities import bytes_text
    from mlpasses.tables import ROWS, passes_table, report_table

    settings.say(report_table(result.report, rows=None if settings.verbose else ROWS))
    if settings.verbose:
        settings.say("\n" + passes_table(result.report))
    before, after = summary["before"], summary["after"]
    share = f"{100 * after / before:.0f} % of the size, " if before else ""
    seconds = f"{summary['seconds']:.1f} s"
    settings.say(f"{summary['model']} {bytes_text(before)} → {summary['output']} {bytes_text(after)} ({share}{seconds})")
