"""Calls of ops on known operands: ours, and coremltools' own."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import evolve

from ir.builder import FunctionBuilder
from ir.core import Op, constant_of
from ir.opset import Opset
from ir.tensors import Array
from mlpasses.runtime.arrays import Arrays
from mlpasses.runtime.table import evaluate_op
from tests.ir.samples import Sample, X


def words(text: str) -> list[str]:
    """A list of op types as one reads it."""
    return text.split()


def call(op_type: str, opset: Opset, **operands: Any) -> Op:
    """An op on literals, its result types inferred."""
    op = FunctionBuilder("main", {}, opset).op(op_type, **operands)
    assert op.op_type == op_type
    return op


def operands_of(op: Op) -> dict[str, Arrays]:
    """The operands of an op on constants."""
    found: dict[str, Arrays] = {}
    for name, held in op.operands.items():
        literals = [constant_of(operand) for operand in held]
        found[name] = tuple(literal.numpy() for literal in literals if literal is not None)
    return found


def evaluated(op_type: str, opset: Opset, **operands: Any) -> Arrays:
    """What our evaluator makes of a call."""
    op = call(op_type, opset, **operands)
    return evaluate_op(op, operands_of(op))


def with_values(sample: Sample, rng: np.random.Generator, float_dtype: str = "fp32") -> Sample:
    """The sample, numbers in place of the operands that are known at run time only; floats in one type."""
    kind: type[Any] = {"fp32": np.float32, "fp16": np.float16}[float_dtype]

    def known(name: str, operand: Any) -> Any:
        if isinstance(operand, tuple):
            return tuple(known(name, part) for part in operand)
        if isinstance(operand, X):
            operand = SPECIAL.get((sample.op_type, name), _numbers(sample.op_type, operand, rng))
        is_float = isinstance(operand, np.ndarray | np.generic) and operand.dtype.kind == "f"
        return operand.astype(kind) if is_float else operand

    return evolve(sample, operands={name: known(name, operand) for name, operand in sample.operands.items()})


POSITIVE = frozenset(words("inverse log rsqrt sqrt pow real_div floor_div mod reduce_log_sum"))
"""Ops of numbers above 0."""
SPECIAL: dict[tuple[str, str], Array] = {
    ("reshape", "shape"): np.array([6, 4], np.int32),
    ("slice_by_index", "begin"): np.array([1, 2], np.int32),
    ("slice_by_index", "end"): np.array([4, 8], np.int32),
    ("range_1d", "end"): np.array(5, np.int32),
}


def _numbers(op_type: str, operand: X, rng: np.random.Generator) -> Array:
    if operand.dtype == "bool":
        return rng.random(operand.shape) < 0.5
    if operand.dtype in ("int32", "int8", "uint8"):
        return np.asarray(rng.integers(0, 2, operand.shape), operand.dtype)
    low = 0.1 if op_type in POSITIVE else -0.95
    return np.asarray(rng.uniform(low, 0.95, operand.shape)).astype(np.float16).astype(np.float32)  # exact in both


def distance(found: Array, expected: Array) -> float:
    """The greatest distance in units in the last place of `found`'s type; equal infinities and NaNs are none."""
    assert found.shape == expected.shape
    wanted = np.asarray(expected, np.float64)
    given = np.asarray(found, np.float64)
    with np.errstate(over="ignore"):
        rounded = wanted.astype(found.dtype)
    same = (given == rounded.astype(np.float64)) | (np.isnan(given) & np.isnan(wanted))
    spacing = np.maximum(np.spacing(np.abs(np.where(same, 0, rounded)).astype(found.dtype)), np.finfo(found.dtype).smallest_subnormal)
    with np.errstate(all="ignore"):
        apart = np.where(same, 0.0, np.abs(given - wanted) / spacing.astype(np.float64))
    return float(apart.max(initial=0.0))
