"""`pip install` of somebody's package is enough for its passes to be there: built and installed for real, without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parent.parent
Mlpasses: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with somebody's in it."""
    folder = tmp_path_factory.mktemp("third_party")
    shutil.copytree(ROOT / "tests/package", folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
    subprocess.run([*pip, *offline, "--target", str(folder / "site"), str(folder / "source")], check=True)
    return folder / "site"


@pytest.fixture
def mlpasses(installed: Path, tmp_path: Path) -> Mlpasses:
    """The command line of an interpreter that has the package."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import sys; from mlpasses.cli.main import main; sys.exit(main())", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)])}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return call


def test_its_pass_is_listed_with_its_package(mlpasses: Mlpasses) -> None:
    listed = {each["name"]: each for each in json.loads(mlpasses("passes", "--json").stdout)["passes"]}
    assert (listed["rename-ops"]["package"], listed["rename-ops"]["class"]) == ("somebodys-passes", "somebodys_passes:RenameOps")


def test_its_options_are_explained(mlpasses: Mlpasses) -> None:
    text = mlpasses("passes", "rename-ops").stdout
    assert "prefix: text (default their_)\n      What the new names start with.\n" in text
    assert "case: kept or upper (default kept)" in text


def test_its_options_are_in_the_schema(mlpasses: Mlpasses) -> None:
    options = json.loads(mlpasses("schema").stdout)["$defs"]["passes"]["rename-ops"]["anyOf"][0]["properties"]
    assert options["case"] == {"enum": ["kept", "upper"], "default": "kept"}


def test_a_recipe_runs_it(mlpasses: Mlpasses, tmp_path: Path, example: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("version: 1\npasses:\n  - rename-ops: {prefix: my_, ops: {op_type: softmax}}\n  - dead-code\n")
    ran = mlpasses("run", example, "r.yaml", "-o", "out.mlpackage", "--set", "rename-ops.case=upper", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["report"]["passes"][0]["changes"] == 1
    ops = json.loads(mlpasses("inspect", "out.mlpackage", "--ops", "--match", "softmax", "--json").stdout)["ops"]
    assert [op["name"] for op in ops] == ["my_SOFTMAX"]


def test_a_mistake_in_its_options_has_its_place(mlpasses: Mlpasses, tmp_path: Path, example: Path) -> None:
    (tmp_path / "r.yaml").write_text("version: 1\npasses:\n  - rename-ops: {prefx: my_}\n")
    ran = mlpasses("run", example, "r.yaml", "-o", "out.mlpackage")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: rename-ops has no option 'prefx'\n  --> r.yaml:3:18  passes[0].rename-ops.prefx\n  did you mean")


def test_without_the_package_there_is_no_such_pass(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mlpasses.cli.main import main

    assert main(["run", str(example), "-p", "rename-ops", "-o", "never.mlpackage"]) == 2
    assert "there is no pass 'rename-ops'" in capsys.readouterr().err


def test_its_pass_over_ops_takes_rules_from_recipes(mlpasses: Mlpasses, tmp_path: Path, example: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "version: 1\npasses:\n  - raise-opset: iOS17\n"
        "  - clip-relus: {rules: [{name: nowhere, skip: true, optional: true}], default: {clip: 3.0}}\n"
    )
    ops = json.loads(mlpasses("plan", example, "r.yaml", "--json").stdout)["ops"]
    assert {(op["op_type"], op["config"], op["rule"]) for op in ops} == {("relu", "Clip(at=3.0)", "rules[1] everything")}


def test_its_config_is_set_on_the_command_line(mlpasses: Mlpasses, example: Path) -> None:
    passes = ["-p", "raise-opset=iOS17", "-p", "clip-relus", "--set", "clip-relus.at=2.5"]
    ran = mlpasses("run", example, *passes, "-o", "out.mlpackage", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert {op["config"] for op in json.loads(ran.stdout)["report"]["ops"]} == {"Clip(at=2.5)"}


def test_what_it_declares_is_said_and_held_against_a_model(mlpasses: Mlpasses, example: Path) -> None:
    assert "preserves: interface\nneeds: iOS17 or later\n" in mlpasses("passes", "clip-relus").stdout
    ran = mlpasses("run", example, "-p", "clip-relus", "-o", "out.mlpackage")
    assert ran.returncode != 0
    assert 'clip-relus needs iOS17: put RaiseOpset("iOS17") before clip-relus' in ran.stderr
