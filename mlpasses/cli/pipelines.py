"""The passes that a command line gives: a recipe, passes one by one, and options over both."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from mlpasses.pipeline import Pipeline

F = TypeVar("F", bound=Callable[..., Any])
STDIN: Final = Path("-")

recipe_argument = click.argument("recipe", type=click.Path(path_type=Path, allow_dash=True), required=False)


def pipeline_options(command: F) -> F:
    """Adds `-p` and `-s`, as `entries` and `overrides`."""
    passes = click.option("-p", "--pass", "entries", multiple=True, metavar="PASS", help="A pass, behind those of RECIPE. Repeatable.")
    settings = click.option("-s", "--set", "overrides", multiple=True, metavar="PASS.OPTION=VALUE", help="An option of a pass. Repeatable.")
    return passes(settings(command))


def pipeline_from(recipe: Path | None, entries: tuple[str, ...], overrides: tuple[str, ...]) -> Pipeline:
    """The passes of the recipe, then those given one by one, with options set over both."""
    from mlpasses.recipe import entries_in, inline_entries, pipeline_of, recipe_entries

    if recipe is None and not entries:
        raise click.UsageError("there are no passes: give a RECIPE, or passes with -p", click.get_current_context())
    nodes = () if recipe is None else recipe_entries(recipe) if recipe != STDIN else entries_in(sys.stdin.buffer.read(), "<stdin>")
    return pipeline_of((*nodes, *inline_entries(entries)), overrides)
