"""`QuantizeLuts`: what it makes of tables, what it leaves alone, in recipes and by rules; and weights that functions share."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS17, IOS18, IOS26, Opset
from ir.tensors import ArrayTensor, same_tensor
from ir.types import FP16, TensorType
from mlpasses.compress import kept as beside_masks
from mlpasses.compress import quantize_table_job
from mlpasses.compress.fuse_joint import FuseJoint
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.quantize_luts import QuantizeLuts
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import Magnitude, Palettize, Quantize, QuantizeLut
from mlpasses.errors import ConfigError
from mlpasses.forms.form import Floats, Form, Indexed, Scaled
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from mlpasses.recipe import dump_recipe, load_recipe, parse_pipeline
from mlpasses.rules import Rules
from mlpasses.select import name
from tests.compress.joints import decoded, form
from tests.compress.models import constexprs, files, linear, linears, numbers, reason, untouched
from tests.forms.samples import Spec

WEIGHT = numbers(64, 64)
GROUPS = PalettizeWeights(Palettize(4, group_size=16))


def after(*passes: WeightPass, opset: Opset = IOS18) -> Program:
    return run(linear(WEIGHT, opset), Pipeline(*passes)).program


def entries(program: Program) -> Scaled:
    values = form(program).values
    assert isinstance(values, Indexed)
    assert isinstance(values.entries, Scaled)
    return values.entries


# What it makes


def test_tables_have_one_scale_that_reaches_their_extremes() -> None:
    before, made = after(GROUPS), entries(after(GROUPS, QuantizeLuts()))
    values = form(before).values
    assert isinstance(values, Indexed)
    assert isinstance(values.entries, Floats)
    lut = values.entries.tensor.numpy()
    assert made.scale.shape == (1, 1, 1, 1)
    assert made.offset is None
    assert made.scale.numpy().item() == np.float16(np.abs(lut).max().astype(np.float32) / 127)
    assert np.array_equal(made.data.numpy(), np.rint(lut.astype(np.float32) / made.scale.numpy().astype(np.float32)))


def test_each_table_may_have_its_own_scale() -> None:
    made = entries(after(GROUPS, QuantizeLuts(QuantizeLut(granularity="per-table"))))
    assert made.scale.shape == (4, 1, 1, 1)
    assert (np.abs(made.data.numpy()).reshape(4, -1).max(axis=1) == 127).all()


def test_tables_may_be_unsigned_with_zero_points() -> None:
    made = entries(after(GROUPS, QuantizeLuts(QuantizeLut("uint8", "asymmetric", "per-table"))))
    assert made.data.dtype.name == "uint8"
    assert made.offset is not None
    assert made.offset.shape == (4, 1, 1, 1)


def test_indices_stay_as_they_are() -> None:
    before, made = after(GROUPS), after(GROUPS, QuantizeLuts())
    (one,), (_, other) = constexprs(before), constexprs(made)
    kept, found = one["indices"], other["indices"]
    assert isinstance(kept, Const)
    assert isinstance(found, Const)
    assert same_tensor(found.tensor, kept.tensor)


def test_a_searched_scale_is_no_worse() -> None:
    before = decoded(after(GROUPS)).astype(np.float64)
    lost = [
        np.square(before - decoded(after(GROUPS, QuantizeLuts(QuantizeLut(scales=scales))))).sum()
        for scales in ("extremes", "searched")
    ]
    assert lost[1] < lost[0]


def test_a_searched_scale_is_the_best_for_the_elements_and_not_for_the_entries() -> None:
    """Tables of heavy-tailed weights have entries far out that few elements are of."""
    lost = np.zeros(2)
    for seed in range(8):
        weight = (np.random.default_rng(seed).standard_t(2, (64, 64)) * 0.05).astype(np.float16)
        program = run(linear(weight), PalettizeWeights(Palettize(4))).program
        for at, importance in enumerate((quantize_table_job._importance, lambda counts: None)):
            with mock.patch.object(quantize_table_job, "_importance", importance):
                made = run(program, QuantizeLuts(QuantizeLut(scales="searched"))).program
            lost[at] += np.square(decoded(program).astype(np.float64) - decoded(made)).sum()
    assert lost[0] < lost[1]


@given(st.integers(0, 1000), st.booleans(), st.sampled_from((1, 2, 4)), st.sampled_from((1, 2)), st.integers(1, 30))
def test_entries_count_as_often_as_there_are_indices_of_them(seed: int, masked: bool, nbits: int, vector: int, chunk: int) -> None:
    draw = np.random.default_rng(seed)
    tables, rows = (tuple(draw.integers(1, 4, 2).tolist()) for _ in range(2))
    spec = Spec("indices", masked, nbits=nbits, tables=tables, rows=rows, vector=vector, seed=seed)
    found = spec.form()
    values, flags = found.values, np.ones(spec.codes, np.bool_)
    assert isinstance(values, Indexed)
    if found.mask is not None:
        flags = found.mask.numpy().astype(np.bool_)
    expected = np.zeros((*tables, 1 << nbits))
    codes = iter(values.indices.numpy().reshape(-1).tolist())
    for at in np.argwhere(flags).tolist():
        block = (i * count // dim for i, count, dim in zip(at, tables, spec.codes, strict=True))
        expected[(*block, next(codes))] += 1
    with mock.patch.object(beside_masks, "CHUNK", chunk):
        assert np.array_equal(beside_masks.uses(found), expected)


# What it leaves alone


def test_what_has_no_table_has_a_reason() -> None:
    program = linears({"dense": numbers(64, 64), "integers": numbers(64, 64, seed=1), "sparse": numbers(64, 64, seed=2)})
    compressed = run(
        program,
        Pipeline(QuantizeWeights(Rules((name("integers"), Quantize()))), PruneWeights(Rules((name("sparse"), Magnitude())))),
    ).program
    result = run(compressed, QuantizeLuts())
    assert {row.name: row.skipped for row in result.report.weights} == {
        "dense": "it has no look-up table: put PalettizeWeights before",
        "integers": "it has no look-up table",
        "sparse": "it has no look-up table",
    }
    assert untouched(result, compressed)


def test_tables_of_integers_stay() -> None:
    before = after(GROUPS, QuantizeLuts())
    result = run(before, QuantizeLuts())
    assert reason(result) == "its tables are of integers already"
    assert untouched(result, before)


def test_a_table_that_would_not_become_smaller_stays() -> None:
    before = after(PalettizeWeights(Palettize(1)))
    result = run(before, QuantizeLuts())
    # two entries of a byte and a scale of two are as many bytes as two entries of two
    assert reason(result) == "it would not become smaller: it takes 516 bytes, and would take 516, of which 2 are scales"


def test_tables_that_are_not_finite_stay_or_are_an_error() -> None:
    spec = Spec("indices", rows=(32, 64), scales=(1, 1))
    made = spec.form()
    assert isinstance(made.values, Indexed)
    assert isinstance(made.values.entries, Floats)
    lut = made.values.entries.tensor.numpy().copy()
    lut[0, 0, 3] = np.inf
    program = table_of(Form(Indexed(made.values.indices, Floats(ArrayTensor(lut)))))
    assert "NaN or infinite" in reason(run(program, QuantizeLuts()))
    with pytest.raises(ConfigError, match="NaN and infinite values cannot be compressed"):
        run(program, QuantizeLuts(QuantizeLut(nonfinite="error")))


def table_of(found: Form) -> Program:
    """x · wᵀ with a weight in a form."""
    assert isinstance(found.values, Indexed)
    assert isinstance(found.values.entries, Floats)
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 64))}, opset=IOS18) as f:
        weight = f.op(
            "constexpr_lut_to_dense", name="w", indices=Const.of(found.values.indices), lut=Const.of(found.values.entries.tensor)
        )
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=weight, name="lin"))
    return build_program(f)


def test_tables_as_below_ios18_are_refused_with_the_opset_that_is_needed() -> None:
    before = run(linear(WEIGHT, IOS17), PalettizeWeights(Palettize(4))).program
    assert 'needs iOS18, for 1 weight: put RaiseOpset("iOS18") before quantize-luts' in QuantizeLuts().plan(before).findings[0]
    with pytest.raises(ConfigError, match="needs iOS18"):
        run(before, QuantizeLuts())


# Recipes, rules


def test_a_recipe_may_say_the_type_alone() -> None:
    assert parse_pipeline("quantize-luts: uint8") == Pipeline(QuantizeLuts("uint8")) == Pipeline(QuantizeLuts(QuantizeLut("uint8")))


def test_a_pipeline_of_three_is_a_recipe_and_back(tmp_path: Path) -> None:
    text = dedent("""\
        version: 1
        passes:
          - prune-weights: {sparsity: 0.5}
          - palettize-weights: {nbits: 4, group_size: 16}
          - quantize-luts: int8
          - fuse-joint
        """)
    path = tmp_path / "joint.yaml"
    path.write_text(text, encoding="utf-8")
    pipeline = Pipeline(PruneWeights(Magnitude(0.5)), GROUPS, QuantizeLuts("int8"), FuseJoint())
    assert load_recipe(path) == pipeline
    path.write_text(dump_recipe(pipeline), encoding="utf-8")
    assert load_recipe(path) == pipeline


def test_rules_choose_which_tables_and_how() -> None:
    program = run(linears({"a": numbers(64, 64), "b": numbers(64, 64, seed=1), "c": numbers(64, 64, seed=2)}), GROUPS).program
    luts = QuantizeLuts(Rules((name("a"), None), (name("b"), QuantizeLut("uint8", "asymmetric", "per-table")), (name("c"), QuantizeLut())))
    schemes = {weight.name: weight.scheme for weight in run(program, luts).program.weights()}
    assert schemes == {
        "a": "lut 4-bit, 4 groups", "b": "lut 4-bit, 4 groups, uint8 entries", "c": "lut 4-bit, 4 groups, int8 entries",
    }  # fmt: skip


def test_rules_are_of_its_own_configs() -> None:
    with pytest.raises(ConfigError, match="QuantizeLut"):
        QuantizeLuts(Rules((name("a"), Quantize())))


# Weights that functions share

SHARED = [
    pytest.param((PruneWeights(Magnitude(0.5, min_elements=1)), PalettizeWeights(Palettize(2, min_elements=1))), id="prune-palettize"),
    pytest.param(
        (QuantizeWeights(Quantize(granularity="per-tensor", min_elements=1)), PruneWeights(Magnitude(0.5, min_elements=1))),
        id="quantize-prune",
    ),
    pytest.param(
        (
            PruneWeights(Magnitude(0.5, min_elements=1)), PalettizeWeights(Palettize(2, group_size=4, min_elements=1)),
            QuantizeLuts(QuantizeLut(min_elements=1)),
        ),
        id="prune-palettize-luts",
    ),
]  # fmt: skip
shared = pytest.mark.parametrize("passes", SHARED)


@shared
@pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)
def test_a_weight_that_functions_share_is_one_file_entry_in_joint_forms_too(
    passes: tuple[WeightPass, ...], opset: Opset, tmp_path: Path
) -> None:
    two = run(shared_by_two(opset), Pipeline(*passes))
    one = run(linear(numbers(32, 64), opset), Pipeline(*passes))
    assert [row.name for row in two.report.weights] == ["w"] * len(passes)
    assert all(row.skipped is None for row in two.report.weights)
    package = two.save(tmp_path / "two.mlpackage")
    assert files(package)["weight.bin"] == files(one.save(tmp_path / "one.mlpackage"))["weight.bin"]
    for weight in load_program(package).weights():
        assert len(weight.shared_with) == 1


@shared
def test_a_weight_that_functions_share_is_planned_once_in_joint_forms_too(passes: tuple[WeightPass, ...]) -> None:
    plan = Pipeline(*passes).plan(shared_by_two(IOS18))
    assert [row.name for row in plan.rows] == ["w"] * len(passes)


def shared_by_two(opset: Opset) -> Program:
    """Two functions that share one weight."""
    first = linear(numbers(32, 64), opset).main.clone("first")
    return Program([first, first.clone("second")], spec_version=opset.spec_version)
