"""`mlpasses recipe`"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlpasses import load, load_recipe
from tests.cli.conftest import Run


@pytest.fixture
def made(run: Run, recipe: Path) -> Path:
    assert run("run", "model.mlpackage", recipe, "-o", "w8.mlpackage").code == 0
    return Path("w8.mlpackage")


def test_recipe_is_printed_as_it_would_be_read(run: Run, made: Path, recipe: Path) -> None:
    ran = run("recipe", made)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("# mlpasses ")
    assert load_recipe(ran.out) == load_recipe(recipe)


def test_settings_of_the_run_are_in_it(run: Run, recipe: Path) -> None:
    run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "-s", "quantize-weights.dtype=uint8", "-p", "cleanup")
    assert run("recipe", "out.mlpackage").out.endswith("  - quantize-weights: {dtype: uint8}\n  - dead-code\n  - cleanup\n")


def test_replay_of_the_source_is_the_same(run: Run, made: Path) -> None:
    ran = run("recipe", made, "--replay", "model.mlpackage")
    assert (ran.code, ran.out, ran.err) == (0, "model.mlpackage becomes w8.mlpackage, the same to the byte\n", "")


def test_replay_of_another_source_differs(run: Run, made: Path) -> None:
    run("run", "model.mlpackage", "-p", "quantize-weights=uint8", "-o", "other.mlpackage", "--no-record")
    ran = run("recipe", made, "--replay", "other.mlpackage")
    assert ran.code == 1
    assert ran.out.startswith("other.mlpackage does not become w8.mlpackage:\n  Data/com.apple.CoreML/model.mlmodel differs from byte ")


def test_nothing_is_recorded_where_it_is_not_wanted(run: Run, recipe: Path) -> None:
    run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--no-record")
    assert load("out.mlpackage").metadata == load("model.mlpackage").metadata


def test_json(run: Run, made: Path) -> None:
    data = json.loads(run("recipe", made, "--json").out)
    assert set(data) == {"model", "recipe", "sha256", "versions", "earlier"}
    again = json.loads(run("recipe", made, "--replay", "model.mlpackage", "--json").out)
    assert (again["same"], again["differences"]) == (True, [])


def test_earlier_recipes_are_counted(run: Run, made: Path) -> None:
    run("run", made, "-p", "dead-code", "-o", "again.mlpackage")
    assert "# behind 1 earlier recipe, which --json shows\n" in run("recipe", "again.mlpackage").out
    (earlier,) = json.loads(run("recipe", "again.mlpackage", "--json").out)["earlier"]
    assert "quantize-weights" in earlier["recipe"]
    assert run("recipe", "again.mlpackage", "--replay", made).code == 0


def test_model_without_a_recipe_is_an_error(run: Run, folder: Path) -> None:
    ran = run("recipe", "model.mlpackage")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: model.mlpackage holds no recipe: mlpasses run writes it, and Result.record() in Python\n"


def test_another_version_is_a_warning(run: Run, made: Path) -> None:
    program = load(made)
    program.metadata["com.mlpasses.versions"] = "mlpasses 0.0.1, numpy 1.0"
    program.save("old.mlpackage")
    ran = run("recipe", "old.mlpackage", "--replay", "model.mlpackage")
    assert ran.code == 0
    assert ran.err.startswith("warning: old.mlpackage was made with mlpasses 0.0.1, numpy 1.0, and here is mlpasses ")


def test_edited_recipe_is_a_warning_when_printed(run: Run, made: Path) -> None:
    program = load(made)
    program.metadata["com.mlpasses.recipe"] += "  - cleanup\n"
    program.save("edited.mlpackage")
    assert "warning: the recipe in edited.mlpackage does not have the hash" in run("recipe", "edited.mlpackage").err
    assert run("recipe", "edited.mlpackage", "--replay", "model.mlpackage").code == 2
