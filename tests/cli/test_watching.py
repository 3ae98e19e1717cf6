"""The options of `mlpasses run` that watch it"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlpasses import load_recipe
from tests.cli.conftest import Run, patched


def test_changes_are_diffs_on_standard_error(run: Run, recipe: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--print-changes", "-q")
    assert (ran.code, ran.out) == (0, "")
    heads = [line for line in ran.err.splitlines() if line.startswith("--- ")]
    assert heads == ["--- before raise-opset", "--- before quantize-weights"]
    assert "+  %classifier_weight: fp16[35, 192] = constexpr_blockwise_shift_scale(" in ran.err


def test_statistics_stand_before_the_table(run: Run, recipe: Path) -> None:
    lines = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--statistics").out.splitlines()
    assert lines[:3] == [
        "raise-opset: no op added or removed",
        "quantize-weights: +9 constexpr_blockwise_shift_scale, -9 const",
        "dead-code: no op added or removed",
    ]


def test_statistics_are_in_the_json(run: Run, recipe: Path) -> None:
    data = json.loads(run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--statistics", "--json").out)
    assert data["statistics"][1]["removed"] == {"const": 9}
    assert "statistics" not in json.loads(run("run", "model.mlpackage", recipe, "-o", "two.mlpackage", "--json").out)


def test_dumps_of_chosen_passes(run: Run, recipe: Path, folder: Path) -> None:
    assert run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--dump", "d", "--dump-pass", "dead-code").code == 0
    assert sorted(path.name for path in (folder / "d").iterdir()) == ["003-dead-code.after.txt", "003-dead-code.before.txt"]


def test_pass_to_dump_that_is_not_there_gets_the_nearest_one(run: Run, recipe: Path, folder: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--dump", "d", "--dump-pass", "dead-cod")
    assert (ran.code, ran.err) == (2, "error: the pipeline has no pass 'dead-cod' to dump; did you mean 'dead-code'?\n")
    assert not (folder / "out.mlpackage").exists()


def test_choosing_dumps_without_dumping_is_refused(run: Run, recipe: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--dump-pass", "dead-code")
    assert ran.code == 2
    assert ran.err.startswith("error: --dump-pass chooses what --dump writes: give --dump too\n")


def test_reproducer_fails_again(run: Run, recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "mlpasses.cleanup.dce.DeadCode.run", RuntimeError("no"))
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--reproducer", "r")
    assert ran.code == 4
    assert "  in pass dead-code (after raise-opset, quantize-weights)\n" in ran.err
    assert "  to see it again: mlpasses run r/program.mlpackage r/recipe.yaml -o OUT\n" in ran.err
    assert [each.name for each in load_recipe(folder / "r/recipe.yaml")] == ["dead-code"]
    again = run("run", "r/program.mlpackage", "r/recipe.yaml", "-o", "out.mlpackage")
    assert (again.code, "pass dead-code failed: RuntimeError: no" in again.err) == (4, True)


def test_reproducer_goes_into_no_folder_that_holds_something(run: Run, recipe: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--reproducer", ".")
    assert (ran.code, ran.err) == (2, "error: . is no empty folder: choose another one for the reproducer, or remove it\n")
