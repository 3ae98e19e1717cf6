"""`mlpasses passes`"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mlpasses.registry import BUILT_IN
from tests.cli.conftest import Run
from tests.passes_for_tests import registered
from tests.test_registry import install


def test_passes(run: Run, golden: Callable[[str], None]) -> None:
    golden(run("passes").text)


def test_passes_json_has_every_pass(run: Run) -> None:
    data = json.loads(run("passes", "--json").out)
    assert [each["name"] for each in data["passes"]] == list(BUILT_IN)
    assert data["problems"] == []
    assert all(each["summary"] for each in data["passes"])


def test_passes_explains_options_with_types_defaults_and_docs(run: Run, golden: Callable[[str], None]) -> None:
    with registered():
        golden(run("passes", "many-options").text)


def test_a_pipeline_is_explained_as_a_list(run: Run) -> None:
    assert run("passes", "pipeline").out.endswith("\nIt takes a list of passes.\n")
    assert run("passes", "dead-code").out.endswith("\nIt takes no options.\n")


def test_passes_explains_the_options_of_a_config(run: Run) -> None:
    text = run("passes", "quantize-weights").out
    assert "dtype: int8, uint8, int4 or uint4 (default int8)\n      The type of the integers." in text


def test_passes_explains_rules(run: Run, golden: Callable[[str], None]) -> None:
    with registered():
        golden(run("passes", "compress").text)


def test_passes_json_has_the_options_of_each_config(run: Run) -> None:
    with registered():
        data = json.loads(run("passes", "compress", "--json").out)
    assert [option["name"] for option in data["options"]] == ["passes"]
    assert {name: [option["name"] for option in options] for name, options in data["configs"].items()} == {
        "scheme": ["nbits", "group", "mode"], "drop": ["share"],
    }  # fmt: skip


def test_passes_json_explains_one(run: Run) -> None:
    with registered():
        data = json.loads(run("passes", "one-config", "--json").out)
    assert data["options"][0] == {
        "name": "nbits", "accepts": "a whole number", "required": False, "default": 8, "doc": "Bits of an index."
    }  # fmt: skip


def test_a_pass_without_options_says_so(run: Run) -> None:
    with registered():
        assert run("passes", "no-options").out.endswith("Takes none.\n\npreserves: interface\n\nIt takes no options.\n")


def test_an_unknown_pass_gets_the_nearest_one(run: Run) -> None:
    ran = run("passes", "dead-cod")
    assert (ran.code, ran.err) == (2, "error: there is no pass 'dead-cod'; did you mean 'dead-code'?\n")


def test_a_broken_package_is_a_warning_beside_the_list(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "broken", "boom = nowhere_at_all:Boom")
    ran = run("passes")
    assert ran.code == 0
    assert "dead-code" in ran.out
    assert "boom" not in ran.out
    assert ran.err.startswith("warning: pass 'boom' of broken cannot be loaded")


def test_an_installed_packages_pass_is_listed_with_its_package(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "somebodys", "no-options = tests.passes_for_tests:NoOptions")
    assert re.search(r"^no-options +Takes none\. \(somebodys\)$", run("passes").out, re.MULTILINE)
