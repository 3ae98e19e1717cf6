"""`mlpasses inspect --weights` of compressed models, with what their numbers say and how far they are from an original's"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.opset import IOS18
from ir.tensors import Array, ArrayTensor
from ir.types import FP16, INT8, UINT1, UINT4, DType, TensorType
from tests.cli.conftest import Run


def weight(index: int) -> Array:
    """Numbers of few bits, so that sums of their squares are the same on every machine."""
    return np.random.default_rng(index).integers(-64, 64, (64, 32)).astype(np.float16) / np.float16(64)


def of(array: Array, dtype: DType) -> Const:
    return Const(TensorType(dtype, array.shape), ArrayTensor(array, dtype))


@pytest.fixture
def models(folder: Path) -> Path:
    """`original.mlpackage`, and `mixed.mlpackage` with some of its weights in other forms."""
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 32))}, IOS18) as f:
        for index, name in enumerate(("plain", "tables", "scales", "sparse", "gone", "reshaped")):
            linear = f.op("linear", x=f.inputs["x"], weight=f.const(weight(index), name=name), bias=np.zeros(64, np.float16))
            f.outputs(**{f"y_{name}": linear})
    original = build_program(f)
    original.save(folder / "original.mlpackage")
    f = FunctionBuilder("main", {"x": TensorType(FP16, (1, 32))}, IOS18)
    indices = (weight(1).astype(np.float32) * 8 + 8).astype(np.uint8)
    mask = np.abs(weight(3)) > 0.5
    lut = np.broadcast_to(((np.arange(16) - 8) / 8).astype(np.float16)[:, None], (4, 1, 16, 1)).copy()
    values = {
        "plain": f.const(weight(0), name="plain"),
        "tables": f.op("constexpr_lut_to_dense", indices=of(indices, UINT4), lut=of(lut, FP16)).output,
        "scales": f.op(
            "constexpr_blockwise_shift_scale",
            data=of(np.rint(weight(2).astype(np.float32) * 32).astype(np.int8), INT8), scale=of(np.full((64, 1), 1 / 32, np.float16), FP16),
        ).output,
        "sparse": f.op("constexpr_sparse_to_dense", nonzero_data=of(weight(3)[mask], FP16), mask=of(mask.astype(np.uint8), UINT1)).output,
        "reshaped": f.const(weight(5)[:63], name="reshaped"),
        "new": f.const(np.full((64, 32), np.nan, np.float16), name="new"),
    }  # fmt: skip
    with f:
        for name, value in values.items():
            value.rename(name)
            bias = np.zeros(63 if name == "reshaped" else 64, np.float16)
            f.outputs(**{f"y_{name}": f.op("linear", x=f.inputs["x"], weight=value, bias=bias)})
    build_program(f).save(folder / "mixed.mlpackage")
    return folder


def test_weights_of_a_compressed_model(run: Run, models: Path, golden: Callable[[str], None]) -> None:
    golden(run("inspect", "mixed.mlpackage", "--weights").text)


def test_weights_with_stats(run: Run, models: Path, golden: Callable[[str], None]) -> None:
    golden(run("inspect", "mixed.mlpackage", "--weights", "--stats").text)


def test_weights_with_stats_verbose(run: Run, models: Path, golden: Callable[[str], None]) -> None:
    golden(run("inspect", "mixed.mlpackage", "--weights", "--stats", "-v").text)


def test_weights_against_an_original(run: Run, models: Path, golden: Callable[[str], None]) -> None:
    golden(run("inspect", "mixed.mlpackage", "--weights", "--against", "original.mlpackage").text)


def test_json_has_everything(run: Run, models: Path) -> None:
    data = json.loads(run("inspect", "mixed.mlpackage", "--weights", "--stats", "--against", "original.mlpackage", "--json").out)
    rows = {row["name"]: row for row in data["weights"]}
    assert data["missing"] == [{"where": "main", "name": "gone"}]
    assert rows["tables"]["groups"] == [4, 1]
    assert rows["tables"]["statistics"]["unique"] == 16
    assert rows["plain"]["against"] == {"sqnr": "inf", "max_error": 0.0}
    assert 0 < rows["scales"]["against"]["max_error"] <= 1 / 64
    assert rows["new"]["statistics"]["nonfinite"] == 64 * 32
    assert rows["new"]["statistics"]["minimum"] is None


def test_match_chooses_weights_of_both(run: Run, models: Path) -> None:
    ran = run("inspect", "mixed.mlpackage", "--weights", "--against", "original.mlpackage", "--json", "--match", "[ps]*")
    data = json.loads(ran.out)
    assert ([row["name"] for row in data["weights"]], data["missing"]) == (["plain", "scales", "sparse"], [])


@pytest.mark.parametrize(("option", "named"), [(("--stats",), "--stats"), (("--against", "m"), "--against")])
@pytest.mark.parametrize("what", [(), ("--ops",), ("--text",)])
def test_options_about_weights_need_weights(option: tuple[str, ...], named: str, what: tuple[str, ...], run: Run, folder: Path) -> None:
    ran = run("inspect", "model.mlpackage", *what, *option)
    assert ran.code == 2
    assert ran.err.startswith(f"error: {named} is about weights: give --weights\n")


def test_a_missing_original_is_an_error(run: Run, folder: Path) -> None:
    ran = run("inspect", "model.mlpackage", "--weights", "--against", "nothing.mlpackage")
    assert (ran.code, ran.err) == (2, "error: nothing.mlpackage cannot be opened: No such file or directory\n")


def test_what_a_shorthand_wrote_is_as_far_as_it_said(run: Run, folder: Path) -> None:
    report = json.loads(run("prune", "model.mlpackage", "-o", "out.mlpackage", "--json").out)["report"]["weights"]
    rows = json.loads(run("inspect", "out.mlpackage", "--weights", "--against", "model.mlpackage", "--json").out)["weights"]
    told = {row["name"]: row["against"]["sqnr"] for row in rows if row["against"]["sqnr"] != "inf"}
    assert told == {row["name"]: pytest.approx(row["sqnr"], abs=1e-6) for row in report if row["skipped"] is None}
