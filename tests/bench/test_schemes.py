"""The tables of docs/compression.md count what they say they count."""

from __future__ import annotations

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.core import Program
from ir.opset import IOS18
from ir.types import FP16, TensorType
from tests.bench.schemes import PRUNED, QUANTIZED, TABLES, Outcome, outcome, sizes, wide_table
from tests.docs.test_snippets import ROOT

PAGE = (ROOT / "docs" / "compression.md").read_text(encoding="utf-8")


def model(*rows: int) -> Program:
    """Linear layers of 64 inputs and so many outputs."""
    random = np.random.default_rng(0)
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 64))}, IOS18) as f:
        outputs = []
        for index, count in enumerate(rows):
            weight = f.const(random.standard_normal((count, 64)).astype(np.float16), name=f"w{index}")
            outputs.append(f.op("linear", name=f"y{index}", x=f.inputs["x"], weight=weight).output)
        f.outputs(*outputs)
    return build_program(f)


def test_bits_count_scales() -> None:
    assert outcome(model(64, 128), QUANTIZED["int8 per channel"]).bits == 8 + 16 / 64


def test_small_weights_do_not_count() -> None:
    assert outcome(model(64, 4), QUANTIZED["int4 per tensor"]).elements == 64 * 64


def test_weights_that_are_left_alone_cost_bytes_and_no_error() -> None:
    found = outcome(model(64, 100), PRUNED["zeros as they are"])
    assert found == Outcome(164 * 64, 164 * 128, 164 * 128, np.inf, np.inf, np.inf, 2)


def test_the_whole_is_no_worse_than_the_worst() -> None:
    found = outcome(model(64, 128), QUANTIZED["int4 per channel"])
    assert found.worst < found.whole < found.median


def test_a_scheme_that_does_nothing_is_a_dash() -> None:
    assert wide_table({"a": model(64)}, {"zeros": PRUNED["zeros as they are"]}).splitlines()[-1] == "| zeros | – |"


def test_sizes_are_those_of_the_weights_that_count() -> None:
    assert sizes({"a": model(64, 4)}).splitlines()[-1] == "| a | 1 | 4,096 | 8,192 | 0% |"


@pytest.mark.parametrize("name", TABLES)
def test_the_page_has_a_row_for_every_scheme_in_order(name: str) -> None:
    places = [PAGE.find(f"\n| {label} | ", PAGE.index(f"### Measured: {name}")) for label in TABLES[name]]
    assert -1 not in places
    assert places == sorted(places)
