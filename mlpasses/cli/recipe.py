"""`mlpasses recipe MODEL`"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlpasses.cli.common import Settings, common_options, load

if TYPE_CHECKING:
    from ir.core import Program
    from mlpasses.provenance import Record


@click.command("recipe")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--replay", "source", metavar="SOURCE", type=click.Path(path_type=Path), help="Run it again over SOURCE, and compare bytes.")
@click.option("--scratch", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The folder of scratch files.")
@common_options
def command(settings: Settings, model: Path, source: Path | None, scratch: Path | None) -> int:
    """Print the recipe that made MODEL, which `mlpasses run` wrote into its metadata.

    With --replay, run it over SOURCE, the model that it was run over then, and compare what comes out with MODEL, byte by byte. The exit
    code is 1 if they differ.

    \b
      mlpasses recipe M-w8.mlpackage > w8.yaml
      mlpasses recipe M-w8.mlpackage --replay M.mlpackage
    """
    from mlpasses.replay import record_of

    program = load(model, settings)
    record = record_of(program, model)
    if source is not None:
        return _replay(program, model, record, source, settings, scratch)
    return _show(program, model, record, settings)


def _show(program: Program, model: Path, record: Record, settings: Settings) -> int:
    from attrs import asdict

    from mlpasses.provenance import records

    if not record.is_intact:
        settings.warn(f"the recipe in {model} does not have the hash that was recorded with it: it was edited")
    earlier = records(program)[1:]
    if settings.as_json:
        settings.data({"model": str(model), **asdict(record), "earlier": [asdict(each) for each in earlier]})
        return 0
    settings.say(f"# {record.versions}")
    if earlier:
        settings.say(f"# behind {len(earlier)} earlier {'recipes' if len(earlier) > 1 else 'recipe'}, which --json shows")
    settings.say(record.recipe.removesuffix("\n"))
    return 0


def _replay(program: Program, model: Path, record: Record, source: Path, settings: Settings, scratch: Path | None) -> int:
    from mlpasses.progress import TerminalProgress
    from mlpasses.provenance import versions
    from mlpasses.replay import recorded_pipeline, replay

    pipeline = recorded_pipeline(record, model)
    here = versions(pipeline)
    if here != record.versions:
        settings.warn(f"{model} was made with {record.versions}, and here is {here}")
    shown = not settings.quiet and sys.stderr.isatty()
    with TerminalProgress() if shown else nullcontext() as progress:
        found = replay(program, model, load(source, settings), pipeline, progress=progress, scratch=scratch)
    if settings.as_json:
        settings.data({"model": str(model), "source": str(source), "same": not found, "differences": found, "versions": here})
    elif found:
        settings.say("\n".join([f"{source} does not become {model}:", *(f"  {each}" for each in found)]))
    else:
        settings.say(f"{source} becomes {model}, the same to the byte")
    return 1 if found else 0
