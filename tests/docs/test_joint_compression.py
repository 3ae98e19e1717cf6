"""The page on joint compression says what happens: its table, its ops, its figures."""

from __future__ import annotations

import re
from typing import Final, get_args

import numpy as np
import pytest

from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS18, IOS26, Opset
from mlpasses.compress.joint import Kind, Scheme
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.quantize_luts import QuantizeLuts
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import Magnitude, Palettize, Quantize
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from mlpasses.raising import RaiseOpset
from tests.compress.models import constexprs, linear, numbers
from tests.docs.joint_table import PAGE, WORDS, page
from tests.docs.test_snippets import EXAMPLES
from tests.forms.test_emission import text

TEXT: Final = PAGE.read_text(encoding="utf-8")
ROW: Final = re.compile(r"^\| ((?:prune|quantize|palettize)(?:, \w+)+) \| ([\d,]+) \| ([\d.]+) dB \|$", re.MULTILINE)
FIGURES: Final = ROW.findall(TEXT)
PASSES: Final[dict[Scheme, WeightPass]] = {
    "prune": PruneWeights(Magnitude(0.5)),
    "quantize": QuantizeWeights(Quantize(granularity="per-tensor")),
    "palettize": PalettizeWeights(Palettize(4)),
}


def test_the_table_is_the_one_that_passes_ask() -> None:
    assert page(TEXT) == TEXT, "make it anew: python -m tests.docs.joint_table"


def test_the_table_has_words_for_every_kind() -> None:
    assert set(WORDS) == set(get_args(Kind))


@pytest.mark.parametrize(("passes", "opset"), [
    ((PASSES["prune"], PalettizeWeights(Palettize(4, group_size=16)), QuantizeLuts("int8")), IOS18),
    ((PASSES["palettize"], QuantizeLuts("int8")), IOS18),
    ((PASSES["palettize"], QuantizeLuts("int8")), IOS26),
], ids=["three", "iOS18", "iOS26"])  # fmt: skip
def test_ops_are_as_the_page_has_them(passes: tuple[WeightPass, ...], opset: Opset) -> None:
    assert f"```\n{text(constexprs(run(linear(numbers(64, 64), opset), Pipeline(*passes)).program))}\n```" in TEXT


@pytest.fixture(scope="module")
def example() -> Program:
    return run(load_program(EXAMPLES / "keyword-spotter.mlpackage"), RaiseOpset("iOS18")).program


def test_there_are_figures_for_every_order() -> None:
    assert len(FIGURES) == len({order for order, _, _ in FIGURES}) == 12


@pytest.mark.parametrize(("order", "nbytes", "decibels"), FIGURES, ids=[order.replace(", ", "-") for order, _, _ in FIGURES])
def test_figures_are_as_the_page_has_them(order: str, nbytes: str, decibels: str, example: Program) -> None:
    schemes: list[Scheme] = order.split(", ")  # type: ignore[assignment]  # as the pattern has them
    dense = {weight.name: weight.numpy().astype(np.float64) for weight in example.weights()}
    made = run(example, Pipeline(*(PASSES[each] for each in schemes))).program
    assert sum(weight.nbytes for weight in made.weights()) == int(nbytes.replace(",", ""))
    signal = noise = 0.0
    for weight in made.weights():
        if not weight.scheme.startswith("dense"):
            signal += float(np.square(dense[weight.name]).sum())
            noise += float(np.square(dense[weight.name] - weight.numpy()).sum())
    assert abs(10 * np.log10(signal / noise) - float(decibels)) < 0.06
