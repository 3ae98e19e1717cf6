"""The page on writing passes keeps what it promises: passes in fifteen lines, and a package by one entry point."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from mlpasses.op_pass import OpPass
from mlpasses.passes import FunctionPass, Pass
from mlpasses.registry import BUILT_IN, GROUP
from mlpasses.rewrite import RewritePass
from tests.docs.test_snippets import snippets

PAGE = Path(__file__).parents[2] / "docs" / "writing-passes.md"
TEXT = PAGE.read_text(encoding="utf-8")


def code_that_says(start: str) -> str:
    """The snippet of the page that has a line which starts so."""
    return next(code for code in snippets(TEXT) if f"\n{start}" in code).strip()


@pytest.mark.parametrize(("name", "kind"), [("UseSquare", FunctionPass), ("SetGeluMode", OpPass), ("MergeTransposes", RewritePass)])
def test_a_pass_takes_fifteen_lines_at_most(name: str, kind: type[Pass]) -> None:
    code = code_that_says(f"class {name}(")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 15
    made: dict[str, object] = {"__name__": "snippets"}
    exec(compile(code, str(PAGE), "exec"), made)
    found = made[name]
    assert isinstance(found, type)
    assert issubclass(found, kind)


def test_the_entry_point_is_named_as_the_pass() -> None:
    block = re.search(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert block is not None
    points = tomllib.loads(block[1])["project"]["entry-points"][GROUP]
    made: dict[str, object] = {"__name__": "snippets"}
    exec(compile(code_that_says("class UseSquare("), str(PAGE), "exec"), made)
    assert points == {getattr(made["UseSquare"], "name"): "my_passes:UseSquare"}  # noqa: B009 - mypy knows no type of it
    assert not points.keys() & BUILT_IN.keys()
