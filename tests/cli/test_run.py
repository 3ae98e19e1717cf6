"""`mlpasses run`"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ir.compare import first_difference
from mlpasses import DeadCode, Pipeline, Program, Quantize, QuantizeWeights, RaiseOpset, load
from mlpasses import run as run_pipeline
from mlpasses.manager import Result
from tests.cli.conftest import Run, patched

CORPUS = Path(__file__).parents[2] / "../shared/corpus"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_run(run: Run, recipe: Path, golden: Callable[[str], None]) -> None:
    golden(run("run", "model.mlpackage", "w8.yaml", "-o", "out.mlpackage").text)


def test_run_verbose(run: Run, recipe: Path, golden: Callable[[str], None]) -> None:
    golden(run("run", "model.mlpackage", "w8.yaml", "-o", "out.mlpackage", "-v").text)


def test_quiet_says_nothing(run: Run, recipe: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_json_is_the_report_with_sizes(run: Run, recipe: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--json")
    data = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert data["before"] > data["after"] == sum(len(content) for content in files(Path("out.mlpackage")).values())
    assert [row["name"] for row in data["report"]["passes"]] == ["raise-opset", "quantize-weights", "dead-code"]
    assert data["report"]["weights"][0]["name"] == "stem_conv_weight"


def test_what_is_written_is_what_python_would_write(run: Run, recipe: Path, example: Path) -> None:
    assert run("run", "model.mlpackage", recipe, "-o", "out.mlpackage").code == 0
    pipeline = Pipeline(RaiseOpset("iOS18"), QuantizeWeights(Quantize("int8", "symmetric")), DeadCode())
    run_pipeline(load(example), pipeline).record().save("python.mlpackage")
    assert first_difference(load("out.mlpackage"), load("python.mlpackage")) is None


def test_passes_may_be_given_one_by_one(run: Run, recipe: Path) -> None:
    run("run", "model.mlpackage", recipe, "-o", "one.mlpackage")
    passes = ["raise-opset=iOS18", "quantize-weights: {dtype: int8}", "dead-code"]
    ran = run("run", "model.mlpackage", "-o", "two.mlpackage", *(part for each in passes for part in ("-p", each)))
    assert ran.code == 0
    assert files(Path("one.mlpackage")) == files(Path("two.mlpackage"))


def test_passes_given_one_by_one_run_after_the_recipes(run: Run, recipe: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--json", "-p", "decompress-weights")
    assert [row["name"] for row in json.loads(ran.out)["report"]["passes"]][-1] == "decompress-weights"


def test_an_option_may_be_set_for_one_run(run: Run, recipe: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--json", "-s", "quantize-weights.dtype=uint8")
    rows = json.loads(ran.out)["report"]["weights"]
    assert {row["scheme"].split()[0] for row in rows if row["skipped"] is None} == {"uint8"}


def test_a_recipe_may_come_from_standard_input(run: Run, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(recipe.read_bytes())))
    assert run("run", "model.mlpackage", "-", "-o", "out.mlpackage").code == 0


def test_nothing_to_run_is_refused(run: Run, folder: Path) -> None:
    ran = run("run", "model.mlpackage", "-o", "out.mlpackage")
    assert ran.code == 2
    assert ran.err.startswith("error: there are no passes: give a RECIPE, or passes with -p\n")


def test_an_existing_package_is_refused_before_anything_runs(run: Run, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("run", "model.mlpackage", recipe, "-o", "out.mlpackage")
    before = files(Path("out.mlpackage"))
    patched(monkeypatch, "mlpasses.cli.running._run", AssertionError("it ran"))
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage")
    assert ran.code == 2
    assert ran.err.startswith("error: out.mlpackage exists")
    assert files(Path("out.mlpackage")) == before


def test_force_replaces_a_package(run: Run, recipe: Path) -> None:
    run("run", "model.mlpackage", "-p", "dead-code", "-o", "out.mlpackage")
    assert run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--force").code == 0
    assert load("out.mlpackage").spec_version == 9


def test_a_package_may_be_written_onto_itself(run: Run, recipe: Path) -> None:
    run("run", "model.mlpackage", "-p", "dead-code", "-o", "own.mlpackage")
    assert run("run", "own.mlpackage", recipe, "-o", "own.mlpackage", "-f").code == 0
    assert load("own.mlpackage").spec_version == 9


def test_a_wrong_recipe_is_an_error_with_its_place(run: Run, recipe: Path, golden: Callable[[str], None]) -> None:
    recipe.write_text("version: 1\npasses:\n  - raise-opset: iOS12\n  - quantize-weights: {dtyp: int8, mode: symetric}\n  - dead-cod\n")
    golden(run("run", "model.mlpackage", "w8.yaml", "-o", "out.mlpackage").text)


def test_a_missing_model_is_an_error(run: Run, recipe: Path) -> None:
    ran = run("run", "nothing.mlpackage", recipe, "-o", "out.mlpackage")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: nothing.mlpackage cannot be opened: No such file or directory\n"


def test_a_failing_pass_leaves_no_output(run: Run, recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "mlpasses.cleanup.dce.DeadCode.run", RuntimeError("no"))
    ran = run("run", "model.mlpackage", recipe, "-o", "out.mlpackage")
    assert ran.code == 4
    assert "error: pass dead-code (after raise-opset, quantize-weights) failed: RuntimeError: no" in ran.err
    assert sorted(path.name for path in folder.iterdir()) == ["model.mlpackage", "w8.yaml"]


@pytest.mark.parametrize("options", [("--workers", "0"), ("--scratch", "nowhere")])
def test_impossible_options_are_refused(options: tuple[str, ...], run: Run, recipe: Path) -> None:
    assert run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", *options).code == 2


def test_scratch_files_go_where_they_are_wanted_and_are_gone_after(run: Run, recipe: Path, folder: Path) -> None:
    (folder / "scratch").mkdir()
    assert run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--scratch", "scratch", "--workers", "1").code == 0
    assert list((folder / "scratch").iterdir()) == []


@pytest.mark.parametrize(("output", "expected"), [("out.mlpackage", "."), ("deep/out.mlpackage", "deep"), ("link.mlpackage", "deep")])
def test_scratch_files_are_where_the_output_will_be(
    output: str, expected: str, run: Run, recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is computed there becomes a part of the output without being copied."""
    seen: list[Path] = []

    def noted(*given: Any, scratch: Path, **named: Any) -> Result:
        seen.append(scratch)
        return run_pipeline(*given, scratch=scratch, **named)

    monkeypatch.setattr("mlpasses.manager.run", noted)
    (folder / "deep").mkdir()
    (folder / "link.mlpackage").symlink_to("deep/there.mlpackage")
    assert run("run", "model.mlpackage", recipe, "-o", output).code == 0
    assert seen == [(folder / expected).resolve()]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
def test_what_is_odd_about_a_package_is_a_warning(run: Run, folder: Path) -> None:
    ran = run("run", CORPUS / "stub_bge_base_bad_dtype.mlpackage", "-p", "dead-code", "-o", "out.mlpackage", "-q")
    assert ran.code == 0
    assert ran.err.startswith("warning: ")
    assert "names what does not exist" in ran.err


def test_an_output_without_the_suffix_of_packages_is_a_warning(run: Run, recipe: Path) -> None:
    ran = run("run", "model.mlpackage", recipe, "-o", "out.model")
    assert ran.code == 0
    assert ran.err == "warning: out.model will be a folder whose name does not end in .mlpackage, by which Xcode knows packages\n"
    assert run("inspect", "out.model").code == 0


def test_names_that_no_package_can_hold_are_an_error_with_the_fix(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(path: Path, settings: object) -> Program:
        program = load(path)
        next(program.main.ops("conv")).output.rename("a/b")
        return program

    monkeypatch.setattr("mlpasses.cli.running.load", renamed)
    ran = run("run", "model.mlpackage", "-p", "dead-code", "-o", "out.mlpackage")
    assert ran.code == 2
    assert ran.err.endswith("  sanitize-names, put before the other passes of a recipe, gives such values other names\n")
    assert run("run", "model.mlpackage", "-p", "sanitize-names", "-p", "dead-code", "-o", "out.mlpackage").code == 0
