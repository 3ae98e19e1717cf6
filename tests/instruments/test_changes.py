"""What passes changed, as diffs."""

from __future__ import annotations

from difflib import unified_diff

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.text import parse_fragment
from mlpasses.cleanup.dce import DeadCode
from mlpasses.instruments.changes import PrintChanges, diff_lines
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline

TEXT = """
    inputs %x: fp32[4]
    %a: fp32[4] = relu(x=%x)
    %unused: fp32[4] = relu(x=%a)
    return %a
"""


def test_pass_that_changes_something_has_its_diff() -> None:
    said: list[str] = []
    run(parse_fragment(TEXT), DeadCode(), instruments=[PrintChanges(said.append)])
    assert said == [
        "--- before dead-code\n"
        "+++ after dead-code\n"
        "@@ -2,6 +2,5 @@\n"
        " \n"
        " func main<CoreML8>(%x: fp32[4]) {\n"
        "   %a: fp32[4] = relu(x=%x)\n"
        "-  %unused: fp32[4] = relu(x=%a)\n"
        "   return %a\n"
        " }"
    ]


def test_pass_that_changes_nothing_has_none() -> None:
    said: list[str] = []
    run(parse_fragment(TEXT), Pipeline(DeadCode(), DeadCode()), instruments=[PrintChanges(said.append)])
    assert len(said) == 1


lines = st.lists(st.sampled_from("abc"), max_size=12)


@given(lines, lines)
def test_diff_is_that_of_difflib_where_that_looks_at_all(old: list[str], new: list[str]) -> None:
    ours = list(diff_lines(old, new, "x", "y"))
    assert bool(ours) == (old != new)
    assert patched(old, ours) == new


@pytest.mark.parametrize("change", [0, 1, 50, 98, 99])
def test_diff_of_one_changed_line_is_that_of_difflib(change: int) -> None:
    old = [f"line {i}" for i in range(100)]
    new = [*old[:change], "other", *old[change + 1 :]]
    assert list(diff_lines(old, new, "x", "y")) == list(unified_diff(old, new, "x", "y", lineterm=""))


def patched(old: list[str], diff: list[str]) -> list[str]:
    """The text that a diff makes of another."""
    made: list[str] = []
    at = 0
    for line in diff[2:]:
        if line.startswith("@@"):
            first, _, count = line.split()[1][1:].partition(",")
            start = int(first) - 1 if count != "0" else int(first)
            made += old[at:start]
            at = start
        elif line[0] == "+":
            made.append(line[1:])
        else:
            assert old[at] == line[1:]
            made += [line[1:]] if line[0] == " " else []
            at += 1
    return made + old[at:]
