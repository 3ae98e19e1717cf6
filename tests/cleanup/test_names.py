"""`SanitizeNames`: every name is legal and unique afterwards, and no legal one changes without need."""

from __future__ import annotations

import pytest
from hypothesis import given

from ir.compare import ALPHA, first_difference
from ir.core import Program
from ir.text import parse_fragment, print_program
from ir.verify import structure
from mlpasses.cleanup.names import SanitizeNames
from mlpasses.context import Context
from tests.cleanup.check import fragment, unchanged
from tests.strategies import Wildness, programs, wild_names


def sanitized(text: str) -> tuple[str, Context]:
    program = fragment(text)
    cx = Context(pass_name="sanitize-names")
    SanitizeNames().apply(program, cx)
    structure.verify(program)
    assert SanitizeNames().apply(program, cx) == 0
    return print_program(program), cx


def test_what_no_identifier_may_hold_becomes_an_underscore() -> None:
    found, cx = sanitized(
        """
        inputs %x: fp16[4]
        %"block/0:relu": fp16[4] = relu(x=%x)
        %1: fp16[4] = exp(x=%"block/0:relu")
        %y: fp16[4] = exp(x=%1)
        return %y
        """
    )
    expected = """
        inputs %x: fp16[4]
        %block_0_relu: fp16[4] = relu(x=%x)
        %_1: fp16[4] = exp(x=%block_0_relu)
        %y: fp16[4] = exp(x=%_1)
        return %y
        """
    assert found == print_program(fragment(expected))
    assert not cx.notes


def test_names_that_become_the_same_are_numbered() -> None:
    found, _ = sanitized(
        """
        inputs %x: fp16[4]
        %a_b: fp16[4] = relu(x=%x)
        %"a.b": fp16[4] = exp(x=%a_b)
        %"a/b": fp16[4] = exp(x=%"a.b")
        %y: fp16[4] = exp(x=%"a/b")
        return %y
        """
    )
    assert [line.split(":")[0].strip() for line in found.splitlines() if " = exp" in line] == ["%a_b_0", "%a_b_1", "%y"]


def test_legal_names_stay() -> None:
    unchanged(
        SanitizeNames(),
        """
        inputs %x: fp16[4], %p: bool
        %y: fp16[4] = cond(pred=%p) block {
          %a@1: fp16[4] = relu(x=%x)
          return %a@1
        } block {
          %a@1: fp16[4] = exp(x=%x)
          return %a@1
        }
        return %y
        """,
    )


def test_a_name_of_a_nested_block_that_hides_another_changes() -> None:
    found, _ = sanitized(
        """
        inputs %x: fp16[4], %p: bool
        %a: fp16[4] = relu(x=%x)
        %y: fp16[4] = cond(pred=%p) block {
          %a: fp16[4] = exp(x=%x)
          %x: fp16[4] = exp(x=%a)
          return %x
        } block {
          %b: fp16[4] = exp(x=%a)
          return %b
        }
        return %y
        """
    )
    assert "%a_0: fp16[4] = exp(x=%x)" in found
    assert "%x_0: fp16[4] = exp(x=%a_0)" in found
    assert "%b: fp16[4] = exp(x=%a)" in found


def test_an_interface_keeps_its_names_unless_they_are_illegal_and_then_a_note_says_so() -> None:
    found, cx = sanitized(
        """
        inputs %x: fp16[4], %"input.1": fp16[4]
        %"out:0": fp16[4] = add(x=%x, y=%"input.1")
        %y: fp16[4] = relu(x=%"out:0")
        return %"out:0", %y
        """
    )
    assert "%x: fp16[4], %input_1: fp16[4]" in found
    assert "return %out_0, %y" in found
    assert [note.reason for note in cx.notes] == [
        "its input 'input.1' is no identifier, so it is called input_1 now: callers have to know",
        "its output 'out:0' is no identifier, so it is called out_0 now: callers have to know",
    ]
    assert {note.where for note in cx.notes} == {"function main"}


def test_specializations_go_on_returning_the_same_names() -> None:
    program = parse_fragment('inputs %x: fp16[4]\n%"y.0": fp16[4] = relu(x=%x)\nreturn %"y.0"', opset="CoreML7")
    program.main.add_block("CoreML8", program.main.body.clone())
    SanitizeNames().apply(program, Context())
    structure.verify(program)
    assert [value.name for block in program.main.specializations.values() for value in block.outputs] == ["y_0", "y_0"]


@pytest.mark.parametrize(("name", "expected"), [("a.b", "a_b"), ("mine", "mine")])
def test_the_name_of_an_op_follows_its_first_result(name: str, expected: str) -> None:
    program = fragment(f'inputs %x: fp16[4]\n%"a.b": fp16[4] = relu(x=%x) [name="{name}"]\n%y: fp16[4] = exp(x=%"a.b")\nreturn %y')
    SanitizeNames().apply(program, Context())
    assert next(program.ops("relu")).name == expected


@given(programs(wildness=Wildness(names=wild_names, shadowing=True)))
def test_any_names_become_legal_and_nothing_else_changes(program: Program) -> None:
    before = program.clone()
    twin = program.clone()
    SanitizeNames().apply(program, Context())
    names = [problem for problem in structure.problems(program) if "value name" in str(problem) or "the name" in str(problem)]
    assert names == []
    assert first_difference(before, program, ALPHA) is None
    SanitizeNames().apply(twin, Context())
    assert print_program(twin) == print_program(program)
