"""`mlpasses check RECIPE [MODEL]`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlpasses.cli.common import Settings, common_options, load
from mlpasses.cli.pipelines import pipeline_from

if TYPE_CHECKING:
    from mlpasses.pipeline import Pipeline


@click.command("check")
@click.argument("recipe", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("model", type=click.Path(path_type=Path), required=False)
@common_options
def command(settings: Settings, recipe: Path, model: Path | None) -> int:
    """Say what is wrong with RECIPE: by itself, or for MODEL, which is not changed and none of whose weights is read.

    By itself: names and options that do not exist (exit code 2), filters that stand twice, rules behind one that takes everything. For
    a model also rules that match nothing or come too late, with the nearest names, and schemes that its opset lacks. The exit code is 1
    if anything is wrong.
    """
    from mlpasses.checks import check_pipeline

    pipeline = pipeline_from(recipe, (), ())
    unplanned, doubts = [], []
    if model is None:
        findings = check_pipeline(pipeline)
    else:
        plan = pipeline.plan(load(model, settings))
        findings, unplanned, doubts = plan.findings, plan.unplanned, plan.doubts
    if settings.as_json:
        notes = [{"pass": note.pass_name, "reason": note.reason} for note in unplanned]
        data = {"recipe": str(recipe), "model": model and str(model), "findings": findings, "doubts": doubts, "unplanned": notes}
        settings.data(data)
        return 1 if findings else 0
    for note in unplanned:
        settings.say(f"note: {note.pass_name}: {note.where}: {note.reason}")
    for doubt in doubts:
        settings.warn(doubt)
    for finding in findings:
        settings.say(f"error: {finding}")
    if not findings:
        settings.say(_fine(recipe, pipeline, model, "nothing that is sure to be wrong" if doubts else "nothing wrong"))
    return 1 if findings else 0


def _fine(recipe: Path, pipeline: Pipeline, model: Path | None, verdict: str) -> str:
    from mlpasses.findings import plural

    count = sum(1 for _ in pipeline.flat())
    listed = f"{count} passes" if count != 1 else plural(1, "pass")
    return f"{recipe}: {listed}, {verdict}" + (f" for {model}" if model else "")
