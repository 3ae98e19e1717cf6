"""What the tests of clean-up passes have in common: programs as text, before and after, and what they compute."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import numpy as np
import numpy.typing as npt

from ir.core import Function, Op, Program
from ir.opset import IOS18, Opset
from ir.text import parse_fragment, print_program
from ir.types import StateType, TensorType, Type
from mlpasses.manager import Result, run
from mlpasses.passes import Pass
from mlpasses.runtime.execute import execute

Array = npt.NDArray[Any]

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
    """Two programs of one interface yield the same for the same inputs and states, to the last bit (of which NaN has one)."""
    for function, counterpart in zip(one.all_functions(), other.all_functions(), strict=True):
        for seed in range(runs):
            for name, (expected, found) in outcomes(function, counterpart, seed).items():
                assert same(expected, found), f"%{name} was {expected}, and is {found}"


def outcomes(one: Function, other: Function, seed: int) -> dict[str, tuple[Array, Array]]:
    """The outputs and the states of two functions, by name, after they were run on the same random numbers."""
    rng = np.random.default_rng(seed)
    given = {value.name: drawn(value.type, rng) for value in one.inputs if not isinstance(value.type, StateType)}
    states = {value.name: drawn(value.type.wrapped, rng) for value in one.inputs if isinstance(value.type, StateType)}
    left = [dict(states), dict(states)]
    results = [execute(function, given, states=after) for function, after in zip((one, other), left, strict=True)]
    assert list(results[0]) == list(results[1])
    return {name: (expected, {**results[1], **left[1]}[name]) for name, expected in {**results[0], **left[0]}.items()}


def same(one: Array, other: Array) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    return bool(np.array_equal(one, other, equal_nan=True) and np.array_equal(np.signbit(one)[one == 0], np.signbit(other)[other == 0]))


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


def kinds(program: Program) -> list[str]:
    """The op types of a program, in order, without its constants."""
    return [op.op_type for op in every(program) if op.op_type != "const"]


def every(program: Program) -> list[Op]:
    return [op for function in program.all_functions() for block in function.blocks() for op in block]
