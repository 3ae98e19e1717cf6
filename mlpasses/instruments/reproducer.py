"""A failure as a folder: the program as it was before the pass that failed, and what was still to run, as a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import evolve

from ir.core import Program
from ir.diagnostics import MLPassesError
from mlpasses.context import Context, Frame
from mlpasses.errors import ConfigError
from mlpasses.instruments import Instrument
from mlpasses.passes import Pass
from mlpasses.pipeline import Composite, Pipeline, Repeat
from mlpasses.recipe import dump_recipe

PROGRAM: Final = "program.mlpackage"
RECIPE: Final = "recipe.yaml"
ERROR: Final = "error.txt"


class Reproducer(Instrument):
    """Writes `program.mlpackage`, `recipe.yaml` and `error.txt` into a folder when a pass fails, and says so in a note of the error.

    `mlpasses run FOLDER/program.mlpackage FOLDER/recipe.yaml -o OUT` fails in the same way. Keeps a clone of the program while a pass
    runs; clones share their weights.

    Raises:
        ConfigError: there is something in the folder already.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is no empty folder: choose another one for the reproducer, or remove it")
        self._folder = folder
        self._before: Program | None = None

    def before(self, each: Pass, program: Program, context: Context) -> None:
        self._before = program.clone()

    def failed(self, each: Pass, program: Program, context: Context, error: MLPassesError) -> None:
        try:
            self._write(each, context.around, error)
        except (MLPassesError, OSError) as problem:
            error.add_note(f"no reproducer was written: {problem}")

    def _write(self, each: Pass, around: Sequence[Frame], error: MLPassesError) -> None:
        assert self._before is not None  # what fails has begun
        left = remaining(each, around)
        recipe = dump_recipe(left)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / ERROR).write_text(f"{error}\n", encoding="utf-8", errors="backslashreplace")
        (self._folder / RECIPE).write_text(f"# What was left to run when {each.name} failed; see {ERROR}.\n{recipe}", encoding="utf-8")
        self._before.save(self._folder / PROGRAM)
        error.add_note(f"to see it again: mlpasses run {self._folder / PROGRAM} {self._folder / RECIPE} -o OUT")


def remaining(each: Pass, around: Sequence[Frame]) -> Pipeline:
    """What is still to run when `each` has begun: itself, and what follows in the composites around it, the outermost first."""
    left = [each]
    for frame in reversed(around):
        left += _rest(frame.composite, frame.steps)
    return Pipeline(*left)


def _rest(composite: Pass, steps: int) -> tuple[Pass, ...]:
    """What a composite runs after so many steps."""
    if isinstance(composite, Repeat):
        return (evolve(composite, limit=composite.limit - steps),) if composite.limit > steps else ()
    return composite.parts()[steps:] if isinstance(composite, Composite) else ()
