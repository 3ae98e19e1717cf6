"""`mlpasses plan`, `check`, `init` and `schema`: what is said of a recipe before it runs"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlpasses import load_recipe
from tests.cli.conftest import Run

WRONG = """\
version: 1
passes:
  - quantize-weights:
      rules:
        - {name: "re:.*pointwse.*", quantize: {dtype: uint8}}
        - {op_type: conv, quantize: {}}
        - {name: "stem_*", skip: "it is small"}
"""


@pytest.fixture
def wrong(folder: Path) -> Path:
    path = folder / "wrong.yaml"
    path.write_text(WRONG)
    return path


@pytest.fixture
def ruled(folder: Path) -> Path:
    path = folder / "ruled.yaml"
    path.write_text(
        "version: 1\npasses:\n  - raise-opset: iOS18\n  - quantize-weights:\n      rules:\n"
        "        - {name: classifier_weight, skip: feeds the logits}\n"
        "        - {name: 're:blocks_[01]_.*', min_elements: 2048, quantize: {mode: asymmetric}}\n"
        "      default: {quantize: {}}\n"
    )
    return path


def test_plan(run: Run, ruled: Path, golden: Callable[[str], None]) -> None:
    golden(run("plan", "model.mlpackage", "ruled.yaml").text)


def test_plan_of_a_wrong_recipe(run: Run, wrong: Path, golden: Callable[[str], None]) -> None:
    golden(run("plan", "model.mlpackage", "wrong.yaml").text)


def test_plan_json_has_rows_and_findings(run: Run, wrong: Path) -> None:
    ran = run("plan", "model.mlpackage", wrong, "--json")
    data = json.loads(ran.out)
    assert ran.code == 1
    assert len(data["findings"]) == 2
    assert data["weights"][0]["name"] == "stem_conv_weight"


def test_exact_plan_has_the_sizes_of_the_run(run: Run, ruled: Path) -> None:
    plan = json.loads(run("plan", "model.mlpackage", ruled, "--exact", "--json").out)
    report = json.loads(run("run", "model.mlpackage", ruled, "-o", "out.mlpackage", "--json").out)["report"]
    assert [row["after"] for row in plan["weights"]] == [row["least"] for row in plan["weights"]]
    assert [row["after"] for row in plan["weights"]] == [row["after"] for row in report["weights"]]


def test_plan_takes_passes_and_settings_as_run_does(run: Run, folder: Path) -> None:
    ran = run("plan", "model.mlpackage", "-p", "quantize-weights", "-s", "quantize-weights.dtype=uint8", "--json")
    assert "uint8 per-channel symmetric" in {row["scheme"] for row in json.loads(ran.out)["weights"]}


def test_plan_of_nothing_is_refused(run: Run, folder: Path) -> None:
    assert run("plan", "model.mlpackage").err.startswith("error: there are no passes: give a RECIPE, or passes with -p\n")


def test_quiet_plan_says_it_by_its_exit_code(run: Run, wrong: Path) -> None:
    ran = run("plan", "model.mlpackage", wrong, "-q")
    assert (ran.code, ran.out, ran.err) == (1, "", "")


# check


def test_check_of_a_model(run: Run, wrong: Path, golden: Callable[[str], None]) -> None:
    golden(run("check", "wrong.yaml", "model.mlpackage").text)


def test_check_without_a_model_finds_what_needs_none(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    (folder / "r.yaml").write_text(
        "version: 1\npasses:\n  - repeat:\n      - quantize-weights:\n          rules:\n"
        "            - {name: a, skip: true}\n            - {name: a, quantize: {}}\n            - {quantize: {}}\n"
        "            - {op_type: conv, skip: true}\n"
    )
    golden(run("check", "r.yaml").text)


def test_check_says_which_rule_wants_what_the_opset_lacks(run: Run, folder: Path) -> None:
    (folder / "r.yaml").write_text(
        "version: 1\npasses:\n  - quantize-weights:\n      rules:\n"
        "        - {op_type: linear, quantize: {}}\n        - {op_type: conv, quantize: {dtype: int4}}\n"
    )
    lacking = 'function main is written for iOS16, and int4 per-channel symmetric needs iOS18, for 8 weights: put RaiseOpset("iOS18")'
    said = run("check", "r.yaml", "model.mlpackage").out.splitlines()
    assert said[0].startswith(f"error: {lacking}")
    assert said[1:] == ["  --> r.yaml:6:11  passes[0].quantize-weights.rules[1]"]


def test_check_says_which_rule_wants_what_no_weight_can_be(run: Run, folder: Path) -> None:
    (folder / "r.yaml").write_text(
        "version: 1\npasses:\n  - raise-opset: iOS18\n  - palettize-weights\n  - quantize-weights:\n      rules:\n"
        "        - {op_type: conv, skip: true}\n        - {op_type: linear, quantize: {dtype: int4}}\n"
    )
    assert run("check", "r.yaml", "model.mlpackage").out.splitlines()[:2] == [
        "error: classifier_weight (of linear): it is palettized, and the entries of its tables may be int8 or uint8, not int4",
        "  --> r.yaml:8:11  passes[2].quantize-weights.rules[1]",
    ]


@pytest.mark.parametrize(
    ("options", "place"), [("\n      dtype: int4", "4:7"), (" {dtype: int4}", "3:23"), (" int4", "3:23")]
)
def test_check_says_where_a_config_for_all_stands(options: str, place: str, run: Run, folder: Path) -> None:
    (folder / "r.yaml").write_text(f"version: 1\npasses:\n  - quantize-weights:{options}\n")
    said = run("check", "r.yaml", "model.mlpackage").out.splitlines()
    assert "is written for iOS16, and int4 per-channel symmetric needs iOS18" in said[0]
    assert said[1:] == [f"  --> r.yaml:{place}  passes[0].quantize-weights"]


def test_recipe_with_nothing_wrong_passes(run: Run, recipe: Path) -> None:
    assert run("check", "w8.yaml").text == "exit code 0\n--- stdout\nw8.yaml: 3 passes, nothing wrong\n--- stderr\n"
    assert run("check", "w8.yaml", "model.mlpackage").out == "w8.yaml: 3 passes, nothing wrong for model.mlpackage\n"


def test_recipe_that_does_not_load_is_bad_input(run: Run, folder: Path) -> None:
    (folder / "r.yaml").write_text("version: 1\npasses: [dead-cod]\n")
    ran = run("check", "r.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: there is no pass 'dead-cod'\n  --> r.yaml:2:10  passes[0]\n")


def test_check_reads_standard_input(run: Run, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(recipe.read_bytes())))
    assert run("check", "-").code == 0


def test_check_json(run: Run, wrong: Path) -> None:
    data = json.loads(run("check", "wrong.yaml", "model.mlpackage", "--json").out)
    assert (data["recipe"], data["model"], data["unplanned"]) == ("wrong.yaml", "model.mlpackage", [])
    assert data["findings"][0].startswith('no weight matches name("re:.*pointwse.*")\n  --> wrong.yaml:5:18  passes[0]')


# init


def test_init(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    golden(run("init", "model.mlpackage").text)


def test_what_init_writes_loads_and_checks_clean(run: Run, folder: Path) -> None:
    ran = run("init", "model.mlpackage", "-o", "new.yaml")
    assert (ran.code, ran.out) == (0, "new.yaml is written; mlpasses plan model.mlpackage new.yaml shows what it would do\n")
    assert len(load_recipe("new.yaml")) == 2
    assert run("check", "new.yaml", "model.mlpackage").code == 0


def test_init_replaces_a_file_only_by_force(run: Run, folder: Path) -> None:
    (folder / "new.yaml").write_text("mine")
    ran = run("init", "model.mlpackage", "-o", "new.yaml")
    assert (ran.code, ran.err) == (2, "error: new.yaml exists: choose another name, or replace it with --force\n")
    assert (folder / "new.yaml").read_text() == "mine"
    assert run("init", "model.mlpackage", "-o", "new.yaml", "-f").code == 0
    assert (folder / "new.yaml").read_text().startswith("# A recipe for model.mlpackage")
    assert sorted(path.name for path in folder.iterdir()) == ["model.mlpackage", "new.yaml"]


def test_init_into_a_folder_that_is_not_there_is_an_error(run: Run, folder: Path) -> None:
    ran = run("init", "model.mlpackage", "-o", "none/new.yaml")
    assert (ran.code, ran.err) == (2, "error: none/new.yaml cannot be written: No such file or directory\n")


def test_init_json_has_the_recipe(run: Run, folder: Path) -> None:
    data = json.loads(run("init", "model.mlpackage", "--json").out)
    assert data["output"] is None
    assert len(load_recipe(data["recipe"])) == 2


# schema


def test_schema_is_printed_or_written(run: Run, folder: Path) -> None:
    printed = run("schema").out
    assert run("schema", "-o", "recipe.schema.json").text == "exit code 0\n--- stdout\n--- stderr\n"
    assert (folder / "recipe.schema.json").read_text() == printed
    assert json.loads(printed)["title"] == "A recipe of mlpasses"
