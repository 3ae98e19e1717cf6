"""What the tests of clean-up passes have in common: programs as text, before and after, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Any

import numpy as np
import numpy.typing as npt

from ir.core import Block, Function, Op, Program, Value, constant_of
from ir.opset import IOS18, Opset
from ir.text import parse_fragment, print_program
from ir.types import TensorType, Type
from mlpasses.manager import Result, run
from mlpasses.passes import Pass
from mlpasses.runtime.table import evaluate_op

Array = npt.NDArray[Any]
Values = dict[Value, Array]

UNKNOWN_SIZE = 3
"""What stands for an unknown dimension of an input."""
ODD = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 6e-8, 65504.0, 2049.0, 0.1, -2.5)
"""Floats at which things go wrong."""


def fragment(text: str, opset: Opset = IOS18) -> Program:
    program = parse_fragment(dedent(text), opset=opset.key)
    program.spec_version = opset.spec_version
    return program


def check(each: Pass, before: str, after: str, opset: Opset = IOS18) -> Result:
    """`before` becomes `after`, with the same interface and meaning; run again, the pass changes nothing. The manager verifies the rest."""
    program = fragment(before, opset)
    result = run(program, each)
    assert print_program(result.program) == print_program(fragment(after, opset))
    assert interface(result.program) == interface(program)
    assert sum(row.changes for row in run(result.program, each).report.passes) == 0
    check_meaning(program, result.program)
    return result


def unchanged(each: Pass, text: str, opset: Opset = IOS18) -> Result:
    """The pass leaves the program alone, and says so."""
    result = check(each, text, text, opset)
    assert sum(row.changes for row in result.report.passes) == 0
    return result


def interface(program: Program) -> dict[str, Any]:
    """What callers see: names and types, in order."""
    return {
        function.name: (
            [(value.name, value.type) for value in function.inputs],
            {key: [(value.name, value.type) for value in block.outputs] for key, block in function.specializations.items()},
        )
        for function in program.all_functions()
    }


def check_meaning(one: Program, other: Program, runs: int = 2) -> None:
    """Two programs of one interface yield the same for the same inputs, to the last bit (of which NaN has one)."""
    for function, counterpart in zip(one.all_functions(), other.all_functions(), strict=True):
        for seed in range(runs):
            given = inputs(function, seed)
            for value, expected, found in zip(function.outputs, evaluate(function, given), evaluate(counterpart, given), strict=True):
                assert same(expected, found), f"%{value.name} was {expected}, and is {found}"


def same(one: Array, other: Array) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    return bool(np.array_equal(one, other, equal_nan=True) and np.array_equal(np.signbit(one)[one == 0], np.signbit(other)[other == 0]))


def inputs(function: Function, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {value.name: drawn(value.type, rng) for value in function.inputs}


def drawn(kind: Type, rng: np.random.Generator) -> Array:
    """Random numbers of a type; every third float is an odd one."""
    assert isinstance(kind, TensorType)
    shape = tuple(dim if isinstance(dim, int) else UNKNOWN_SIZE for dim in kind.shape)
    if kind.dtype.kind == "bool":
        return np.asarray(rng.integers(0, 2, shape).astype(np.bool_))
    if kind.dtype.is_integer:
        return np.asarray(rng.integers(max(kind.dtype.minimum, -1000), min(kind.dtype.maximum, 1000), shape).astype(kind.dtype.numpy))
    numbers = np.where(rng.integers(0, 3, shape) == 0, rng.choice(ODD, shape), rng.normal(size=shape))
    with np.errstate(all="ignore"):
        return np.asarray(numbers.astype(kind.dtype.numpy))


def evaluate(function: Function, given: Mapping[str, Array]) -> list[Array]:
    """What the active specialization of a function yields."""
    known: Values = {value: given[value.name] for value in function.inputs}
    return _block(function.body, known)


def _block(block: Block, known: Values) -> list[Array]:
    for op in block:
        if op.op_type == "cond":
            taken = op.blocks[0] if _array(op["pred"], known).item() else op.blocks[1]
            results = tuple(_block(taken, known))
        elif op.op_type == "const":
            continue
        else:
            results = evaluate_op(op, {name: tuple(_array(each, known) for each in held) for name, held in op.operands.items()})
        known.update(zip(op.outputs, results, strict=True))
    return [_array(value, known) for value in block.outputs]


def _array(operand: Any, known: Values) -> Array:
    literal = constant_of(operand)
    return known[operand] if literal is None else literal.numpy()


def kinds(program: Program) -> list[str]:
    """The op types of a program, in order, without its constants."""
    return [op.op_type for op in every(program) if op.op_type != "const"]


def every(program: Program) -> list[Op]:
    return [op for function in program.all_functions() for block in function.blocks() for op in block]
