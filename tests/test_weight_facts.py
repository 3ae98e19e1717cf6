"""What is told of stored weights, and of how far they are from an original's"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlpasses as mp
from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Op, Program
from ir.opset import IOS18
from ir.tensors import Array, ArrayTensor
from ir.types import FP16, FP32, INT8, UINT4, TensorType
from mlpasses.weight_facts import missing_weights, weight_rows

SHAPE = (8, 4)
WEIGHT = (np.arange(32, dtype=np.float32).reshape(SHAPE) / 8 - 2).astype(np.float16)


def dense(weights: Mapping[str, Array], function: str = "main") -> Program:
    """A program in which each of the weights feeds a linear op."""
    with FunctionBuilder(function, {"x": TensorType(FP16, (1, 4))}, IOS18) as f:
        for name, array in weights.items():
            bias = np.zeros(len(array), array.dtype)
            f.outputs(**{f"y_{name}": f.op("linear", x=f.inputs["x"], weight=f.const(array, name=name), bias=bias)})
    return build_program(f)


def compressed(op_type: str, **operands: Any) -> Program:
    """A program with the compressed weight `w`."""
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 4))}, IOS18) as f:
        weight = f.op(op_type, **operands)
        weight.output.rename("w")
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=weight, bias=np.zeros(8, np.float16)))
    return build_program(f)


def only(program: Program, **options: Any) -> dict[str, Any]:
    rows = {row["name"]: row for row in weight_rows(program, **options)}
    return rows["w"]


def tensor(array: Array, dtype: Any) -> Const:
    return Const(TensorType(dtype, array.shape), ArrayTensor(array, dtype))


def test_no_number_is_read_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read = ArrayTensor.numpy

    def refuse(self: ArrayTensor) -> Array:
        assert self.shape != SHAPE, "a weight was read"
        return read(self)

    program = dense({"w": WEIGHT})
    monkeypatch.setattr(ArrayTensor, "numpy", refuse)
    row = only(program)
    assert (row["scheme"], row["groups"], row["bytes"], row["bits"]) == ("dense fp16", None, 64, 16)
    assert "statistics" not in row
    assert "against" not in row


def test_a_look_up_table_has_its_groups_and_the_values_that_it_yields() -> None:
    lut = np.arange(32, dtype=np.float16).reshape(2, 1, 16, 1)
    indices = np.tile(np.array([0, 1, 2, 3], np.uint8), (8, 1))
    row = only(compressed("constexpr_lut_to_dense", indices=tensor(indices, UINT4), lut=tensor(lut, FP16)), numbers=True)
    assert (row["scheme"], row["groups"], row["bytes"]) == ("lut 4-bit, 2 groups", [2, 1], 16 + 64)
    assert (row["statistics"]["unique"], row["statistics"]["sparsity"], row["statistics"]["maximum"]) == (8, 4 / 32, 19)


def test_integers_have_as_many_groups_as_scales() -> None:
    data, scale = np.full(SHAPE, 3, np.int8), np.full((8, 2), 0.5, np.float16)
    row = only(compressed("constexpr_blockwise_shift_scale", data=tensor(data, INT8), scale=tensor(scale, FP16)), numbers=True)
    assert (row["scheme"], row["groups"]) == ("int8 per-block 2", [8, 2])
    assert (row["statistics"]["unique"], row["statistics"]["mean"]) == (1, 1.5)


def test_an_original_gives_the_error_of_each_weight() -> None:
    ours = WEIGHT.copy()
    ours[0, 0] += 0.5
    against = only(dense({"w": ours}), original=dense({"w": WEIGHT}))["against"]
    signal = np.square(WEIGHT.astype(np.float64)).sum()
    assert against == {"sqnr": pytest.approx(10 * math.log10(signal / 0.25)), "max_error": 0.5}


def test_an_equal_weight_is_infinitely_near() -> None:
    program = dense({"w": WEIGHT})
    assert only(program, original=program)["against"] == {"sqnr": "inf", "max_error": 0}


def test_errors_are_those_that_the_run_reported(example: Path) -> None:
    program = mp.load(example)
    result = mp.run(program, mp.Pipeline(mp.RaiseOpset("iOS18"), mp.QuantizeWeights(mp.Quantize("int4"))))
    reported = {row.name: row for row in result.report.weights if row.skipped is None}
    told = {row["name"]: row["against"] for row in weight_rows(result.program, original=program)}
    assert len(reported) == 9
    for name, row in reported.items():
        assert told[name]["sqnr"] == pytest.approx(row.sqnr, abs=1e-3)
        assert told[name]["max_error"] == pytest.approx(row.max_error, rel=1e-5)


def test_types_may_differ() -> None:
    row = only(dense({"w": WEIGHT}), original=dense({"w": WEIGHT.astype(np.float32)}))
    assert row["against"]["sqnr"] == "inf"


@pytest.mark.parametrize(
    ("original", "reason"),
    [
        (dense({"other": WEIGHT}), "the original has no weight of this name in main"),
        (dense({"w": WEIGHT}, "second"), "the original has no weight of this name in main"),
        (dense({"w": np.zeros((9, 4), np.float16)}), "the original is 9 × 4"),
    ],
)
def test_what_cannot_be_matched_says_why(original: Program, reason: str) -> None:
    assert only(dense({"w": WEIGHT}), original=original)["against"] == {"unmatched": reason}


def test_a_weight_that_nobody_can_decompress_says_so_and_does_not_hide_the_others() -> None:
    program = dense({"w": WEIGHT, "v": WEIGHT})
    block = program.main.body
    value = block.value_named("w")
    assert value is not None
    assert value.op is not None
    strange = Op("constexpr_from_the_future", {"x": tensor(WEIGHT, FP16)}, [("w", TensorType(FP16, SHAPE))])
    block.replace(value.op, strange)
    rows = {row["name"]: row for row in weight_rows(program, numbers=True, original=dense({"w": WEIGHT, "v": WEIGHT}))}
    assert rows["w"]["statistics"] is None
    assert "there is no such constexpr op" in rows["w"]["unread"]
    assert rows["w"]["against"] == {"unmatched": rows["w"]["unread"]}
    assert rows["v"]["against"]["sqnr"] == "inf"
    (row,) = weight_rows(dense({"w": WEIGHT}), original=program)
    assert row["against"]["unmatched"].startswith("the original cannot be read: ")


def test_what_the_original_has_besides_is_told() -> None:
    ours, theirs = dense({"w": WEIGHT}), dense({"w": WEIGHT, "v": WEIGHT})
    assert [weight.name for weight in missing_weights(ours, theirs)] == ["v"]
    assert missing_weights(theirs, ours) == []
    assert missing_weights(ours, theirs, lambda weight: weight.name == "w") == []


def test_weights_are_chosen() -> None:
    program = dense({"w": WEIGHT, "v": WEIGHT})
    assert [row["name"] for row in weight_rows(program, keep=lambda weight: weight.name == "v")] == ["v"]


def test_one_weight_at_a_time_is_dense(tmp_path: Path) -> None:
    """Eight weights of 8 MB, which are compressed in one of the two models."""
    with FunctionBuilder("main", {"x": TensorType(FP32, (1, 2048))}, IOS18) as f:
        for index in range(8):
            weight = np.random.default_rng(index).standard_normal((1024, 2048)).astype(np.float32)
            linear = f.op("linear", x=f.inputs["x"], weight=f.const(weight, name=f"w{index}"), bias=np.zeros(1024, np.float32))
            f.outputs(**{f"y{index}": linear})
    build_program(f).save(tmp_path / "m.mlpackage")
    original = mp.load(tmp_path / "m.mlpackage")
    program = mp.run(original, mp.PruneWeights()).program
    tracemalloc.start()
    try:
        rows = weight_rows(program, numbers=True, original=original)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len([row["against"]["sqnr"] for row in rows]) == 8
    assert peak < 64 << 20
