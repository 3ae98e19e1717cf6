"""`SortTopologically`: what the verifier refuses for its order becomes what it accepts."""

from __future__ import annotations

import pytest

from ir.core import Block, Function, Op, Program
from ir.diagnostics import InvalidProgramError
from ir.text import print_program
from ir.types import BOOL, FP16, StateType, TensorType
from ir.verify import structure
from mlpasses.cleanup.sort import SortTopologically
from mlpasses.context import Context
from tests.cleanup.check import every, fragment, unchanged

KIND = TensorType(FP16, (4,))


def sort(program: Program) -> int:
    changes = SortTopologically().apply(program, Context())
    structure.verify(program)
    assert SortTopologically().apply(program, Context()) == 0
    return changes


def moved(program: Program, name: str, before: str) -> Program:
    """The program with the op of one name put before that of another."""
    ops = {op.name: op for op in every(program)}
    ops[name].move_before(ops[before])
    return program


CHAIN = """
    inputs %x: fp16[4]
    %a: fp16[4] = exp(x=%x)
    %b: fp16[4] = relu(x=%a)
    %y: fp16[4] = tanh(x=%b)
    return %y
    """


def test_an_op_moves_to_before_the_first_that_needs_it() -> None:
    program = moved(fragment(CHAIN), "y", "a")
    with pytest.raises(InvalidProgramError):
        structure.verify(program)
    assert sort(program) == 2
    assert print_program(program) == print_program(fragment(CHAIN))


def test_an_order_that_is_legal_stays() -> None:
    unchanged(SortTopologically(), CHAIN)


def test_nested_blocks_are_sorted_too() -> None:
    text = """
        inputs %x: fp16[4], %p: bool
        %y: fp16[4] = cond(pred=%p) block {
          %a: fp16[4] = exp(x=%x)
          %b: fp16[4] = relu(x=%a)
          return %b
        } block {
          %c: fp16[4] = relu(x=%x)
          return %c
        }
        return %y
        """
    assert sort(moved(fragment(text), "b", "a")) == 1


def test_ops_on_one_state_keep_their_order() -> None:
    program = Program([Function("main", [("x", KIND), ("s", StateType(KIND))], "CoreML8")], spec_version=9)
    body = Block()
    program.main.add_block("CoreML8", body)
    x, state = program.main.inputs
    first = Op("read_state", {"input": state}, [("first", KIND)])
    write = Op("write_state", {"input": state, "data": x}, [])
    second = Op("read_state", {"input": state}, [("second", KIND)])
    total = Op("add", {"x": first.output, "y": second.output}, [("total", KIND)])
    for op in (total, first, write, second):
        body.append(op)
    body.set_outputs([total.output])
    assert sort(program) > 0
    assert list(body) == [first, write, second, total]


def test_a_cycle_is_an_error_that_names_it() -> None:
    program = Program([Function("main", [("x", KIND), ("p", TensorType(BOOL))], "CoreML8")], spec_version=9)
    body = Block()
    program.main.add_block("CoreML8", body)
    one = Op("relu", {"x": program.main.inputs[0]}, [("one", KIND)])
    two = Op("relu", {"x": one.output}, [("two", KIND)])
    body.append(one)
    body.append(two)
    one.set("x", two.output)
    body.set_outputs([two.output])
    with pytest.raises(InvalidProgramError, match="cycle"):
        SortTopologically().apply(program, Context())
