"""`mlpasses plan MODEL [RECIPE]`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlpasses.cli.common import Settings, common_options, load
from mlpasses.cli.pipelines import pipeline_from, pipeline_options, recipe_argument

if TYPE_CHECKING:
    from mlpasses.plan import Plan


@click.command("plan")
@click.argument("model", type=click.Path(path_type=Path))
@recipe_argument
@pipeline_options
@click.option("--exact", is_flag=True, help="Run the passes, so that sizes that depend on the numbers are known; write nothing.")
@common_options
def command(
    settings: Settings, model: Path, recipe: Path | None, entries: tuple[str, ...], overrides: tuple[str, ...], exact: bool
) -> int:
    """Show what a recipe would do to MODEL: what becomes of each weight, by which rule, and its size. No weight is read.

    The exit code is 1 if a run would refuse; what is wrong comes last. Passes are given as for `mlpasses run`.

    \b
      mlpasses plan M.mlpackage w8.yaml
      mlpasses plan M.mlpackage w8.yaml --exact --json
      mlpasses plan M.mlpackage -p quantize-weights=uint8
    """
    return show_plan(model, pipeline_from(recipe, entries, overrides).plan(load(model, settings), exact=exact), settings, exact=exact)


def show_plan(model: Path, plan: Plan, settings: Settings, *, exact: bool = False) -> int:
    """Prints a plan for a model; answers with the exit code."""
    from mlpasses.tables import ROWS, plan_table

    if settings.as_json:
        settings.data({"model": str(model), "exact": exact, **plan.as_dict()})
    else:
        settings.say(plan_table(plan, rows=None if settings.verbose else ROWS))
    return 1 if plan.findings else 0
