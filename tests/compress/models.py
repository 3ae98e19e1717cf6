"""Small programs with an op of every kind that has weights, and what tests ask of their compressed versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from ir.builder import FunctionBuilder, build_program
from ir.constexprs import evaluate
from ir.core import Op, Program
from ir.mil.load import load_program
from ir.opset import IOS16, IOS17, IOS18, IOS26, Opset
from ir.tensors import Array
from ir.types import FP16, FP32, INT32, DType, TensorType
from mlpasses.config import Quantize
from mlpasses.manager import Result
from mlpasses.plan import Plan
from mlpasses.report import WeightRow
from tests import oracle

OPSETS: Final = (IOS16, IOS17, IOS18, IOS26)
"""The opsets that have constexpr ops."""

SMALL: Final = Quantize(min_elements=64)

KINDS: Final = (
    "dense_weight", "right_y", "right_t_y", "left_x", "left_t_x", "batched_y", "conv_weight", "conv1d_weight", "grouped_weight",
    "back_weight", "table_x", "nd_x", "along_x", "einsum_values_1", "lstm_weight_ih", "lstm_weight_hh", "lstm_weight_ih_back",
    "lstm_weight_hh_back", "gru_weight_ih", "gru_weight_hh", "rnn_weight_ih", "rnn_weight_hh",
)  # fmt: skip
"""The weights of a `zoo`."""


def numbers(*shape: int, seed: int = 0, dtype: Any = np.float16) -> Array:
    """Normal numbers with a deviation of 0.05."""
    return (np.random.default_rng(seed).standard_normal(shape) * 0.05).astype(dtype)


def linear(weight: Any = None, opset: Opset = IOS18, inputs: int = 16) -> Program:
    """x · wᵀ, where w is called `w`."""
    weight = numbers(8, inputs) if weight is None else weight
    dtype = FP32 if getattr(weight, "dtype", None) == np.float32 else FP16
    with FunctionBuilder(inputs={"x": TensorType(dtype, (1, weight.shape[1]))}, opset=opset) as f:
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=f.const(weight, name="w"), name="lin"))
    return build_program(f)


def linears(weights: dict[str, Array], opset: Opset = IOS18) -> Program:
    """A linear op for each of these weights, which are called as they are here. The type of the first is that of all."""
    some = next(iter(weights.values()))
    dtype = FP32 if some.dtype == np.float32 else FP16
    sizes = sorted({weight.shape[1] for weight in weights.values()})
    with FunctionBuilder(inputs={f"x{size}": TensorType(dtype, (1, size)) for size in sizes}, opset=opset) as f:
        f.outputs(
            *(
                f.op("linear", x=f.inputs[f"x{weight.shape[1]}"], weight=f.const(weight, name=name), name=f"{name}_op")
                for name, weight in weights.items()
            )
        )
    return build_program(f)


def two_functions() -> Program:
    """Two functions that share one weight."""
    first = linear().main.clone("first")
    return Program([first, first.clone("second")], spec_version=9)


def zoo(
    opset: Opset, dtype: DType = FP16, width: int = 1, copies: int | None = None, distinct: int | None = None, seed: int = 0
) -> Program:
    """An op of every kind that has weights, in one function; `width` times as many channels.

    Weights are called `KINDS`; in several copies with the number of the copy in front, `c0_dense_weight`. They have 8 · `width` channels,
    or a multiple of that, and normal numbers, or so many `distinct` ones. lstm, gru and rnn are fp32 below iOS17, which knows no other.
    """
    f = FunctionBuilder(inputs=_inputs(opset, dtype, width), opset=opset)
    rng = np.random.default_rng(seed)
    results: list[Op] = []
    for copy in range(copies or 1):
        results += _Zoo(f, opset, dtype, width, rng, "" if copies is None else f"c{copy}_", distinct).ops()
    f.outputs(*(value for op in results for value in op.outputs))
    return build_program(f)


def _inputs(opset: Opset, dtype: DType, width: int) -> dict[str, TensorType]:
    w = 8 * width
    recurrent = dtype if opset >= IOS17 else FP32
    return {
        "tokens": TensorType(INT32, (1, 4)),
        "places": TensorType(INT32, (4, 1)),
        "rows": TensorType(INT32, (2, 2 * w)),
        "image": TensorType(dtype, (1, w, 5, 5)),
        "signal": TensorType(dtype, (1, w, 6)),
        "row": TensorType(dtype, (1, 2 * w)),
        "column": TensorType(dtype, (2 * w, 1)),
        "heads": TensorType(dtype, (2, 1, w)),
        "grid": TensorType(dtype, (1, 2, 2, w)),
        "sequence": TensorType(recurrent, (3, 1, w)),
    }


class _Zoo:
    """One copy of the zoo, in the making."""

    def __init__(
        self, f: FunctionBuilder, opset: Opset, dtype: DType, width: int, rng: np.random.Generator, prefix: str, distinct: int | None
    ) -> None:
        self.f, self.w, self.rng, self.prefix, self.distinct = f, 8 * width, rng, prefix, distinct
        self.dtype = dtype.numpy
        self.recurrent = dtype.numpy if opset >= IOS17 else np.dtype(np.float32)

    def weight(self, *shape: int, dtype: Any = None) -> Array:
        normal = self.rng.standard_normal(shape) * 0.05
        drawn = normal if self.distinct is None else self.rng.integers(0, self.distinct, shape) * 0.01 - 0.03
        values: Array = drawn.astype(dtype or self.dtype)
        return values

    def op(self, op_type: str, name: str, **operands: Any) -> Op:
        return self.f.op(op_type, name=self.prefix + name, **operands)

    def ops(self) -> Iterator[Op]:
        f, w, weight = self.f.inputs, self.w, self.weight
        yield self.op("linear", "dense", x=f["row"], weight=weight(3 * w, 2 * w), bias=weight(3 * w))
        yield self.op("matmul", "right", x=f["row"], y=weight(2 * w, 3 * w))
        yield self.op("matmul", "right_t", x=f["row"], y=weight(3 * w, 2 * w), transpose_y=True)
        yield self.op("matmul", "left", x=weight(3 * w, 2 * w), y=f["column"])
        yield self.op("matmul", "left_t", x=weight(2 * w, 3 * w), y=f["column"], transpose_x=True)
        yield self.op("matmul", "batched", x=f["heads"], y=weight(2, w, 2 * w))
        yield self.op("conv", "conv", x=f["image"], weight=weight(2 * w, w, 3, 3), pad_type="valid")
        yield self.op("conv", "conv1d", x=f["signal"], weight=weight(2 * w, w, 3), pad_type="valid")
        yield self.op("conv", "grouped", x=f["image"], weight=weight(2 * w, w // 2, 3, 3), pad_type="valid", groups=2)
        yield self.op("conv_transpose", "back", x=f["image"], weight=weight(w, 2 * w, 2, 2), pad_type="valid")
        yield self.op("gather", "table", x=weight(3 * w, 2 * w), indices=f["tokens"], axis=0)
        yield self.op("gather_nd", "nd", x=weight(3 * w, 2 * w), indices=f["places"])
        yield self.op("gather_along_axis", "along", x=weight(3 * w, 2 * w), indices=f["rows"], axis=0)
        yield self.op("einsum", "einsum", values=[f["grid"], weight(1, w, 2, 2 * w)], equation="nchw,nwhu->nchu")
        yield from self._recurrent()

    def _recurrent(self) -> Iterator[Op]:
        w, dtype = self.w, self.recurrent
        x, state = self.f.inputs["sequence"], np.zeros((1, w), dtype)

        def weight(gates: int) -> Array:
            return self.weight(gates * w, w, dtype=dtype)

        yield self.op(
            "lstm", "lstm", x=x, initial_h=np.zeros((1, 2 * w), dtype), initial_c=np.zeros((1, 2 * w), dtype), weight_ih=weight(4),
            weight_hh=weight(4), weight_ih_back=weight(4), weight_hh_back=weight(4), direction="bidirectional",
        )  # fmt: skip
        yield self.op("gru", "gru", x=x, initial_h=state, weight_ih=weight(3), weight_hh=weight(3))
        yield self.op("rnn", "rnn", x=x, initial_h=state, weight_ih=weight(1), weight_hh=weight(1))


def constexprs(program: Program) -> list[Op]:
    return [op for op in program.ops() if op.op_type.startswith("constexpr_")]


def the_constexpr(program: Program) -> Op:
    (op,) = constexprs(program)
    return op


def decoded(program: Program, name: str = "w") -> Array:
    """The numbers that consumers of a compressed weight see."""
    op = next(op for op in constexprs(program) if op.output.name == name)
    value: Array = evaluate(op)[0].numpy()
    return value


def reason(result: Result) -> str:
    (row,) = result.report.weights
    assert row.skipped is not None
    return row.skipped


def untouched(result: Result, program: Program) -> bool:
    return str(result.program) == str(program)


def interface(program: Program) -> list[tuple[str, list[tuple[str, Any]], list[tuple[str, Any]]]]:
    """Names and types of what each function takes and yields."""
    return [
        (function.name, [(value.name, value.type) for value in function.inputs], [(value.name, value.type) for value in block.outputs])
        for function in program.all_functions()
        for block in function.specializations.values()
    ]


def files(package: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in package.rglob("*") if path.is_file()}


def assert_decoded_alike(program: Program, path: Path, least: int = 1) -> None:
    """Whether coremltools accepts a package, and has the values that `ir.constexprs` has, for at least so many constexpr ops."""
    several = len(program.functions) > 1
    theirs = oracle.decompressed_values(path)
    ours = {
        (f"{function.name}/" if several else "") + value.name: tensor.numpy()
        for function in program.all_functions()
        for op in function.ops()
        if op.op_type.startswith("constexpr_")
        for value, tensor in zip(op.outputs, evaluate(op), strict=True)
    }
    assert len(ours) >= least
    assert ours.keys() == theirs.keys()
    assert not [name for name, value in ours.items() if not oracle.same_bits(value, theirs[name])]


def assert_planned(plan: Plan, rows: list[WeightRow], saved: Program) -> None:
    """Whether the sizes of a plan are those of the report and of the saved program: exactly, or in the range where numbers decide.

    A weight that the plan would have compressed may have been left alone for its numbers: where the plan says what its size depends on, or
    for NaN and infinite values.
    """
    stored = {(weight.where, weight.name): weight for weight in saved.weights()}
    planned = {row.key: row for row in plan.rows}
    assert planned.keys() == {row.key for row in rows}
    for row in rows:
        of_plan = planned[row.key]
        if row.skipped is not None:
            assert of_plan.skipped == row.skipped or of_plan.why or "NaN" in row.skipped, row
            continue
        assert of_plan.skipped is None, row
        assert of_plan.scheme == row.scheme
        assert of_plan.least <= row.after <= of_plan.after, (row, of_plan)
        assert stored[row.key].nbytes == row.after, row


def reloaded(result: Result, path: Path) -> Program:
    """What a result is once saved and loaded again."""
    return load_program(result.save(path))
