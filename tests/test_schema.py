"""The JSON Schema of recipes: what the reader takes satisfies it, and mistakes do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline
from mlpasses.recipe import dump_recipe
from mlpasses.registry import BUILT_IN
from mlpasses.rules import Rules
from mlpasses.schema import recipe_schema
from mlpasses.yamltree import parse
from tests.json_schema import violations
from tests.passes_for_tests import Compress, Keep, registered
from tests.test_recipe import any_pass
from tests.test_recipe_rules import filters, rule_lists

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="module")
def _test_passes() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def schema(_test_passes: None) -> dict[str, Any]:
    found, problems = recipe_schema()
    assert problems == []
    return found


def found_in(text: str, schema: dict[str, Any]) -> list[str]:
    return list(violations(parse(text, "r.yaml").plain(), schema, schema))


def wrong(entry: str, schema: dict[str, Any]) -> bool:
    return bool(found_in(f"version: 1\npasses:\n  - {entry}\n", schema))


def test_every_pass_is_in_it(schema: dict[str, Any]) -> None:
    assert set(schema["$defs"]["passes"]) > set(BUILT_IN)


def test_shipped_recipe_satisfies_it(schema: dict[str, Any]) -> None:
    assert found_in((ROOT / "docs/examples/quantize.yaml").read_text(encoding="utf-8"), schema) == []


@given(st.lists(any_pass, max_size=3))
def test_random_recipes_satisfy_it(schema: dict[str, Any], passes: list[Pass]) -> None:
    assert found_in(dump_recipe(Pipeline(*passes)), schema) == []


@given(rule_lists, st.integers(1, 2))
def test_random_rules_satisfy_it(schema: dict[str, Any], listed: Rules, passes: int) -> None:
    assert found_in(dump_recipe(Compress(listed, passes=passes)), schema) == []


@given(filters)
def test_random_filters_satisfy_it(schema: dict[str, Any], keep: Any) -> None:
    assert found_in(dump_recipe(Keep(keep)), schema) == []


@pytest.mark.parametrize(
    "entry",
    [
        "dead-code", "dead-code:", "no-options: {}", "one-config", "one-config: 2", "one-option: x", "many-options: {}", "[dead-code]",
        "pipeline: [dead-code]", "repeat: [dead-code]", "compress: {rules: [{skip: true}], default: drop}",
        "compress: {nbits: 4, passes: 2}",
        "compress: {rules: [{opset: '>= iOS18', rank: '> 2', drop: 0.5}]}", "raise-opset: iOS18", "compress: 4", "quantize-weights:",
    ],
)  # fmt: skip
def test_what_the_reader_takes_satisfies_it(entry: str, schema: dict[str, Any]) -> None:
    assert not wrong(entry, schema)


@pytest.mark.parametrize(
    "entry",
    [
        "dead-cod", "one-option", "one-option: {}", "one-option: 3", "many-options: {count: x}", "many-options: {pair: [1]}",
        "many-options: {level: middle}", "many-options: {nonsense: 1}", "no-options: 3", "compress: {rules: [{name: a}]}", "{}",
        "compress: {rules: [{skip: true, drop: {}}]}", "compress: {rules: [{skip: false}]}", "compress: {rules: [], nbits: 4}",
        "compress: {conflicts: frist}", "compress: {rules: [{nam: a, skip: true}]}", "raise-opset: iOS12", "pipeline: 3",
        "compress: {rules: [{rank: four, skip: true}]}", "compress: {rules: [{any: [], skip: true}]}", "{dead-code: , one-config: }",
    ],
)  # fmt: skip
def test_what_the_reader_refuses_does_not(entry: str, schema: dict[str, Any]) -> None:
    assert wrong(entry, schema)


def test_options_have_their_docs_and_defaults(schema: dict[str, Any]) -> None:
    options = schema["$defs"]["passes"]["many-options"]["anyOf"][0]["properties"]
    assert options["flag"] == {"type": "boolean", "description": "Whether.", "default": False}
