"""`mlpasses run MODEL [RECIPE] -o OUT`"""

from __future__ import annotations

from pathlib import Path

import click

from mlpasses.cli.common import Settings, common_options
from mlpasses.cli.pipelines import pipeline_from, pipeline_options, recipe_argument
from mlpasses.cli.running import Running, run_model, running_options
from mlpasses.cli.watching import Watching, watching_options


@click.command("run")
@click.argument("model", type=click.Path(path_type=Path))
@recipe_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The package to write.")
@pipeline_options
@running_options
@watching_options
@common_options
def command(
    settings: Settings,
    model: Path,
    recipe: Path | None,
    output: Path,
    entries: tuple[str, ...],
    overrides: tuple[str, ...],
    running: Running,
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
    pipeline = pipeline_from(recipe, entries, overrides)
    run_model(model, output, lambda program: pipeline, settings, running, watching)
