"""`mlpasses diff`"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def quantized(run: Run, recipe: Path) -> str:
    assert run("run", "model.mlpackage", recipe, "-o", "w8.mlpackage", "--no-record").code == 0
    return "w8.mlpackage"


def test_diff(run: Run, quantized: str, golden: Callable[[str], None]) -> None:
    golden(run("diff", "model.mlpackage", quantized).text)


def test_models_that_are_the_same_are_exit_code_0(run: Run, folder: Path) -> None:
    ran = run("diff", "model.mlpackage", "model.mlpackage")
    assert (ran.code, ran.out, ran.err) == (0, "no differences\n", "")


def test_models_that_differ_are_exit_code_1_also_where_nothing_is_said(run: Run, quantized: str) -> None:
    ran = run("diff", "model.mlpackage", quantized, "-q")
    assert (ran.code, ran.out, ran.err) == (1, "", "")


@pytest.mark.parametrize(("other", "code"), [("model.mlpackage", 0), ("w8.mlpackage", 1)])
def test_json_says_whether_they_are_the_same(other: str, code: int, run: Run, quantized: str) -> None:
    ran = run("diff", "model.mlpackage", other, "--json")
    assert ran.code == code
    assert json.loads(ran.out)["same"] is (code == 0)


def test_a_missing_model_is_bad_input_not_a_difference(run: Run, folder: Path) -> None:
    assert run("diff", "model.mlpackage", "nothing.mlpackage").code == 2
