"""Passes over weights that are compressed already: what each makes of each form, what it leaves as it is, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Program
from ir.diagnostics import MLPassesError
from ir.opset import IOS16, IOS17, IOS18, IOS26, Opset
from ir.tensors import Array, ArrayTensor, same_tensor
from ir.types import FP16, FP32, UINT1, DType, TensorType
from mlpasses.compress.joint import TABLE, Kind, Scheme, kind_of
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.quantize_luts import QuantizeLuts
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import NM, Magnitude, Palettize, Quantize, QuantizeLut, Threshold
from mlpasses.errors import ConfigError
from mlpasses.forms.form import Floats, Indexed, Scaled, codes_of
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from tests.compress.joints import PAIRS, TRIPLES, Order, decoded, form, mask, ordered
from tests.compress.models import (
    assert_decoded_alike,
    constexprs,
    linear,
    linears,
    numbers,
    reason,
    reloaded,
    untouched,
)  # fmt: skip

WEIGHT: Final = numbers(64, 64)
PRUNE: Final = PruneWeights(Magnitude(0.5))
QUANTIZE: Final = QuantizeWeights(Quantize(granularity="per-tensor"))
PALETTIZE: Final = PalettizeWeights(Palettize(4))
CHAINED: Final = PalettizeWeights(Palettize(4, per_channel_scale="chained"))
PASSES: Final[Mapping[Scheme, WeightPass]] = {"prune": PRUNE, "quantize": QUANTIZE, "palettize": PALETTIZE}
opsets = pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)


def after(*passes: WeightPass, opset: Opset = IOS18, weight: Array = WEIGHT) -> Program:
    """A model with one weight, after passes each of which has changed it."""
    result = run(linear(weight, opset), Pipeline(*passes))
    assert [row.skipped for row in result.report.weights] == [None] * len(passes)
    return result.program


def scheme(program: Program) -> str:
    (weight,) = program.weights()
    return weight.scheme


def test_a_mask_that_a_chain_holds_twice_counts_twice_before() -> None:
    program = after(PRUNE, QUANTIZE)
    (last,) = program.ops("constexpr_sparse_to_dense")
    last.set("mask", Const.of(ArrayTensor(mask(program).astype(np.uint8), UINT1)))  # as coremltools writes it
    (weight,) = program.weights()
    (row,) = run(program, PruneWeights(Magnitude(0.75))).report.weights
    assert row.before == weight.nbytes == 2 * 64 * 64 // 8 + 64 * 64 // 2 + 2
    assert row.after == 64 * 64 // 8 + 64 * 64 // 4 + 2


# The table

LEADING: Final[Mapping[Kind, tuple[WeightPass, ...]]] = {
    "floats": (),
    "integers": (QUANTIZE,),
    "indices": (PALETTIZE,),
    "indices of integers": (PALETTIZE, QuantizeLuts()),
    "scaled indices": (CHAINED,),
    "scaled indices of integers": (CHAINED, QuantizeLuts()),
}
"""Passes that lead to each kind of form."""


def test_the_table_says_of_every_kind_what_every_scheme_makes_of_it() -> None:
    assert TABLE.keys() == {(kind, each) for kind in LEADING for each in PASSES}


ROWS: Final = [(kind, each, sparse) for kind, each in TABLE for sparse in (False, True) if sparse or kind != "floats"]
"""Floats without a mask are no compressed form."""


@opsets
@pytest.mark.parametrize(("kind", "each", "sparse"), ROWS, ids=lambda value: str(value).replace(" ", "-"))
def test_every_row_of_the_table_is_what_happens(kind: Kind, each: Scheme, sparse: bool, opset: Opset, tmp_path: Path) -> None:
    passes = (*LEADING[kind], PRUNE) if sparse else LEADING[kind]
    before = after(*passes, opset=opset)
    assert kind_of(form(before)) == kind
    row = TABLE[kind, each]
    # What is sparse already is pruned further, or it would not become smaller.
    result = run(before, PruneWeights(Magnitude(0.75)) if each == "prune" else PASSES[each])
    if row.becomes is None:
        assert f"it is compressed already, as {scheme(before)}: {row.source}" == reason(result)
        assert untouched(result, before)
        return
    assert [each.skipped for each in result.report.weights] == [None]
    assert kind_of(form(result.program)) == row.becomes
    assert_decoded_alike(reloaded(result, tmp_path / "m.mlpackage"), tmp_path / "m.mlpackage")


@pytest.mark.parametrize("opset", [IOS16, IOS17], ids=repr)
@pytest.mark.parametrize(
    ("first", "each"),
    [("quantize", "prune"), ("quantize", "palettize"), ("prune", "quantize"), ("prune", "palettize"), ("palettize", "prune"),
     ("palettize", "quantize")],
)  # fmt: skip
def test_there_are_no_joint_forms_below_ios18(first: Scheme, each: Scheme, opset: Opset) -> None:
    program = after(PASSES[first], opset=opset)
    assert 'needs iOS18, for 1 weight: put RaiseOpset("iOS18") before' in PASSES[each].plan(program).findings[0]
    with pytest.raises(ConfigError, match="needs iOS18"):
        run(program, PASSES[each])


@pytest.mark.parametrize("opset", [IOS16, IOS17], ids=repr)
def test_what_is_sparse_is_pruned_further_below_ios18_too(opset: Opset, tmp_path: Path) -> None:
    result = run(after(PRUNE, opset=opset), PruneWeights(Magnitude(0.75)))
    assert scheme(result.program) == "sparse 75%"
    assert_decoded_alike(reloaded(result, tmp_path / "m.mlpackage"), tmp_path / "m.mlpackage")


# The order of passes


@opsets
@pytest.mark.parametrize("schemes", [*{frozenset(order): order for order in PAIRS}.values(), TRIPLES[0]], ids=ordered)
def test_the_order_of_passes_does_not_change_what_is_expressed(schemes: Order, opset: Opset) -> None:
    found = {scheme(after(*(PASSES[each] for each in order), opset=opset)) for order in permutations(schemes)}
    assert len(found) == 1


def test_scales_of_groups_come_of_tables_with_a_scale_each_and_of_tables_for_scaled_groups() -> None:
    tables_first = after(PalettizeWeights(Palettize(4, group_size=16)), QuantizeWeights(Quantize()))
    scales_first = after(
        QuantizeWeights(Quantize(granularity="per-block", block_size=(16, 0))), PalettizeWeights(Palettize(4, group_size=16))
    )
    assert scheme(tables_first) == scheme(scales_first) == "lut 4-bit, 4 groups, int8 entries"
    one, other = form(tables_first).values, form(scales_first).values
    assert isinstance(one, Indexed)
    assert isinstance(other, Indexed)
    assert isinstance(one.entries, Scaled)
    assert isinstance(other.entries, Scaled)
    assert one.entries.scale.shape == other.entries.scale.shape == (4, 1, 1, 1)


# What stays as it is


@pytest.mark.parametrize(
    "behind", [QUANTIZE, PALETTIZE, QuantizeWeights(Quantize("int4")), PalettizeWeights(Palettize(4, group_size=8))], ids=repr
)
def test_compression_of_what_is_sparse_leaves_the_mask(behind: WeightPass) -> None:
    before = after(PRUNE)
    stored = form(before).mask
    found = form(run(before, behind).program).mask
    assert stored is not None
    assert found is not None
    assert same_tensor(stored, found)


@pytest.mark.parametrize("kind", [kind for kind in LEADING if kind != "floats"])
@pytest.mark.parametrize("config", [Magnitude(0.75), NM(2, 4), Threshold(0.05), Magnitude(0.5, block_size=4)], ids=repr)
def test_pruning_leaves_the_codes_of_what_it_keeps(kind: Kind, config: Any) -> None:
    before = after(*LEADING[kind])
    pruned = run(before, PruneWeights(config)).program
    assert np.array_equal(codes_of(form(pruned)).numpy(), codes_of(form(before)).numpy()[mask(pruned)])


@pytest.mark.parametrize("kind", [kind for kind in LEADING if kind != "floats"])
def test_pruning_leaves_tables_and_scales(kind: Kind) -> None:
    before = after(*LEADING[kind])
    old, new = form(before), form(run(before, PRUNE).program)
    assert codes_of(old).dtype is codes_of(new).dtype
    kept = {id(tensor) for tensor in old.tensors() if tensor is not codes_of(old)}
    assert {id(tensor) for tensor in new.tensors() if tensor is not codes_of(new) and tensor is not new.mask} == kept


@opsets
@pytest.mark.parametrize("order", [order for order in (*PAIRS, *TRIPLES) if "prune" in order], ids=ordered)
def test_what_is_pruned_is_exactly_zero(order: Order, opset: Opset) -> None:
    program = after(*(PASSES[each] for each in order), opset=opset)
    assert not decoded(program)[~mask(program)].any()
    assert np.count_nonzero(~mask(program)) >= WEIGHT.size // 2


@pytest.mark.parametrize("kind", [kind for kind in LEADING if kind != "floats"])
def test_magnitudes_are_those_of_the_decoded_weight(kind: Kind) -> None:
    before = after(*LEADING[kind])
    pruned = run(before, PRUNE).program
    values = np.abs(decoded(before).astype(np.float32))
    assert values[mask(pruned)].min() >= values[~mask(pruned)].max()
    assert np.array_equal(decoded(pruned)[mask(pruned)], decoded(before)[mask(pruned)])


def test_what_is_pruned_twice_is_zero_where_either_is() -> None:
    once = after(PALETTIZE, PRUNE)
    twice = run(once, PruneWeights(Magnitude(0.75))).program
    assert np.count_nonzero(mask(twice)) == WEIGHT.size // 4
    assert not (mask(twice) & ~mask(once)).any()


def test_inner_values_are_named_as_if_the_form_had_been_made_at_once() -> None:
    made = after(PRUNE, PALETTIZE, QuantizeLuts())
    assert [value.name for op in constexprs(made) for value in op.outputs] == ["w_lut", "w_palettized_0", "w_palettized_1", "w"]


def test_a_name_that_another_value_has_is_not_taken() -> None:
    program = linears({"w": WEIGHT, "w_palettized_0": numbers(64, 64, seed=1)})
    made = run(program, Pipeline(PRUNE, PALETTIZE)).program
    names = [value.name for op in constexprs(made) for value in op.outputs]
    assert len(names) == len(set(names)) == 6
    assert {"w", "w_palettized_0"} <= {weight.name for weight in made.weights()}


# What numbers are chosen for


def spread() -> Array:
    """A weight whose kept half is far from zero."""
    draw = np.random.default_rng(5)
    weight = np.where(draw.random((64, 64)) < 0.5, 0, draw.choice([1.0, 1.5, 3.0, -2.0], (64, 64)))
    return weight.astype(np.float16)


def test_tables_of_a_sparse_weight_are_of_what_is_kept() -> None:
    program = after(PruneWeights(Threshold()), PalettizeWeights(Palettize(2)), weight=spread())
    values = form(program).values
    assert isinstance(values, Indexed)
    assert isinstance(values.entries, Floats)
    assert sorted(values.entries.tensor.numpy().reshape(-1).tolist()) == [-2.0, 1.0, 1.5, 3.0]  # no entry is spent on 0


def test_tables_of_a_sparse_quantized_weight_are_of_what_is_kept() -> None:
    program = after(PruneWeights(Threshold()), QUANTIZE, PalettizeWeights(Palettize(2)), weight=spread())
    values = form(program).values
    assert isinstance(values, Indexed)
    assert isinstance(values.entries, Scaled)
    assert sorted(values.entries.data.numpy().reshape(-1).tolist()) == [-85, 42, 64, 127]


def test_searched_scales_of_a_sparse_weight_are_for_what_is_kept() -> None:
    """What the mask leaves out has no say: with other numbers there the scale is the same."""
    program = after(PRUNE, QuantizeWeights(Quantize("int4", granularity="per-tensor", scales="searched")))
    kept = mask(program)
    alone = WEIGHT[kept].reshape(1, -1)
    dense = after(QuantizeWeights(Quantize("int4", granularity="per-tensor", scales="searched")), weight=alone)
    one, other = form(program).values, form(dense).values
    assert isinstance(one, Scaled)
    assert isinstance(other, Scaled)
    assert one.scale.numpy().item() == other.scale.numpy().item()


# Vectors

VECTORS: Final = PalettizeWeights(Palettize(6, cluster_dim=2))


@opsets
@pytest.mark.parametrize(
    "passes",
    [
        pytest.param((PruneWeights(Magnitude(0.5, block_size=2)), VECTORS), id="prune-palettize"),
        pytest.param((VECTORS, PruneWeights(Magnitude(0.5, block_size=2))), id="palettize-prune"),
        pytest.param((VECTORS, PruneWeights(Magnitude(0.5, block_size=2)), QuantizeLuts()), id="palettize-prune-luts"),
        pytest.param((PruneWeights(Magnitude(0.5, block_size=4)), VECTORS, QuantizeLuts()), id="prune-palettize-luts"),
        pytest.param((QuantizeWeights(Quantize()), VECTORS, PruneWeights(Magnitude(0.5, block_size=2))), id="channels-palettize-prune"),
    ],
)
def test_a_mask_of_whole_vectors_goes_with_their_table(passes: tuple[WeightPass, ...], opset: Opset, tmp_path: Path) -> None:
    result = run(linear(WEIGHT, opset), Pipeline(*passes))
    assert [row.skipped for row in result.report.weights] == [None] * len(passes)
    saved = reloaded(result, tmp_path / "m.mlpackage")
    assert_decoded_alike(saved, tmp_path / "m.mlpackage")
    flags = mask(saved)
    assert flags.shape == (32, 64)
    assert np.count_nonzero(flags) == flags.size // 2
    assert not decoded(saved)[~np.repeat(flags, 2, axis=0)].any()
    assert "sparse 50%, lut 6-bit, 1 group, vectors of 2" in scheme(saved)


def test_a_mask_that_keeps_parts_of_vectors_leaves_the_weight_as_it_was() -> None:
    before = after(PRUNE)
    result = run(before, VECTORS)
    assert reason(result) == (
        "its mask keeps parts of vectors of 2, and an index stands for a whole one: prune it with "
        'Magnitude(block_size=2, dim="output"), and before QuantizeWeights, which makes zeros'
    )
    assert untouched(result, before)


@pytest.mark.parametrize(("opset", "tables"), [(IOS18, 4), (IOS26, 1)], ids=repr)
def test_entries_of_copies_of_a_table_are_counted_for_each_copy(opset: Opset, tables: int) -> None:
    weight = np.random.default_rng(3).choice(np.linspace(-1, 1, 16).astype(np.float16), (4, 1024))
    weight[0] = np.resize(np.array([-1, 1], np.float16), 1024)  # with the scale of the others, it is two integers
    result = run(linear(weight, opset), Pipeline(QuantizeWeights(Quantize()), PalettizeWeights(Palettize(4))))
    used = {1: 16, 4: 2 + 3 * 16}[tables] / (16 * tables)
    assert (scheme(result.program).count("4 groups"), result.report.weights[-1].lut_used) == (int(tables == 4), used)


def test_a_plan_of_vectors_over_a_mask_says_that_it_may_come_to_nothing() -> None:
    (row,) = VECTORS.plan(after(PRUNE)).rows
    assert (row.skipped, row.why) == (None, "a mask that keeps parts of vectors leaves it as it is")


@pytest.mark.parametrize("passes", [(PRUNE,), (QUANTIZE,), (PRUNE, QUANTIZE)], ids=repr)
def test_a_plan_of_every_value_of_a_compressed_weight_says_that_it_may_come_to_nothing(passes: tuple[WeightPass, ...]) -> None:
    before, every_value = after(*passes), PalettizeWeights(Palettize(2, "unique"))
    (row,) = every_value.plan(before).rows
    assert (row.skipped, row.why) == (None, "with more distinct values than a table has places it stays as it is")
    assert "distinct values in a group, and a table has 4 places" in reason(run(before, every_value))


GROUPED: Final = PalettizeWeights(Palettize(4, "uniform", group_size=8))


@pytest.mark.parametrize(
    "passes",
    [
        *((*leading, last) for leading in [(PRUNE,), (QUANTIZE,), (PRUNE, QUANTIZE)]
          for last in [GROUPED, PALETTIZE, PalettizeWeights(Palettize(4, group_size=8))]),
        (GROUPED, PRUNE), (GROUPED, QuantizeLuts()), (PRUNE, GROUPED, QuantizeLuts()), (GROUPED, PRUNE, QUANTIZE), (PRUNE, QUANTIZE),
        (PRUNE, PruneWeights(Magnitude(0.75))),
    ],
    ids=repr,
)  # fmt: skip
def test_entries_in_use_and_sparsity_are_those_of_what_is_stored(passes: tuple[WeightPass, ...]) -> None:
    weight = WEIGHT.copy()
    weight[:16, 1:] = 0  # rows of which a mask keeps nothing but one element
    result = run(linear(weight), Pipeline(*passes))
    row, values, kept = result.report.weights[-1], form(result.program).values, form(result.program).mask
    assert row.sparsity == (None if kept is None else 1 - np.count_nonzero(kept.numpy()) / weight.size)
    if not isinstance(values, Indexed):
        assert row.lut_used is None
        return
    tables, entries = values.tables[0], values.tables[-2]
    rows = np.arange(weight.size) // 64 if kept is None else np.flatnonzero(kept.numpy()) // 64
    used = np.unique(rows * tables // 64 * entries + values.indices.numpy().reshape(-1)).size
    assert row.lut_used == used / (tables * entries)


@pytest.mark.parametrize("config", [Magnitude(0.5), NM(2, 4), Magnitude(0.5, block_size=4), Threshold(0.01)], ids=repr)
def test_pruning_of_parts_of_vectors_is_a_finding_that_names_what_may_be_done(config: Any) -> None:
    before = after(VECTORS)
    wanted = (
        "w (of linear): its table has vectors of 2 elements along axis 0, which are kept or become zero as a whole: prune with "
        'Magnitude(block_size=2, dim="output"), or before PalettizeWeights'
    )
    assert PruneWeights(config).plan(before).findings == [wanted]
    with pytest.raises(ConfigError, match=r"its table has vectors of 2 elements along axis 0"):
        run(before, PruneWeights(config))


def test_zeros_of_integers_are_left_out_of_a_mask_of_blocks_so_that_it_keeps_parts_of_vectors() -> None:
    before = after(QUANTIZE, PruneWeights(Magnitude(0.5, block_size=2)))
    assert np.count_nonzero(decoded(before) == 0) > WEIGHT.size // 2
    assert reason(run(before, VECTORS)) == (
        "its mask keeps parts of vectors of 2, and an index stands for a whole one: prune it with "
        'Magnitude(block_size=2, dim="output"), and before QuantizeWeights, which makes zeros'
    )


def test_zeros_of_vectors_that_are_there_are_encoded_without_loss() -> None:
    weight = np.random.default_rng(3).choice(np.array([0.5, -1.0, 2.0], np.float16), (64, 64))
    weight[:32] = 0
    before = after(PalettizeWeights(Palettize(mode="unique", cluster_dim=2)), weight=weight)
    pruned = run(before, PruneWeights(Threshold())).program
    assert np.array_equal(decoded(pruned), decoded(before))
    assert np.count_nonzero(mask(pruned)) == 16 * 64


# Zeros that a mask keeps, and those that it leaves out


def sparse(values: Array, flags: Array, opset: Opset = IOS18) -> Program:
    """A linear op whose weight has these values where the flags are set, which are more than zeros may be."""
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, flags.shape[1]))}, opset=opset) as f:
        mask = Const.of(ArrayTensor(flags.astype(np.uint8), UINT1))
        kept = Const.of(ArrayTensor(values))
        w = f.op("constexpr_sparse_to_dense", nonzero_data=kept, mask=mask, name="w", type=TensorType(FP16, flags.shape))
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=w, name="lin"))
    return build_program(f)


HALF: Final = np.random.default_rng(5).permutation(np.repeat([True, False], 32 * 64)).reshape(64, 64)


def drawn(*choices: float) -> Array:
    """Values for what `HALF` keeps."""
    return np.random.default_rng(6).choice(np.array(choices, np.float16), 32 * 64)


@pytest.mark.parametrize("groups", [None, 16])
@pytest.mark.parametrize("mode", ["unique", "kmeans"])
def test_zeros_that_a_mask_keeps_have_an_entry(mode: Any, groups: int | None) -> None:
    before = sparse(drawn(0, 1, 2, 3), HALF)
    after = run(before, PalettizeWeights(Palettize(2, mode, group_size=groups))).program
    assert np.array_equal(decoded(after), decoded(before))


@pytest.mark.parametrize("nbits", [None, 4])
@pytest.mark.parametrize("zero", [0, 7])
def test_zeros_that_a_mask_leaves_out_take_no_entry(nbits: Any, zero: int) -> None:
    before = sparse(drawn(*(each - zero for each in range(8 if zero else 1, 24 if zero else 17))), HALF)
    after = run(before, PalettizeWeights(Palettize(nbits, "unique"))).program
    assert np.array_equal(decoded(after), decoded(before))
    assert "lut 4-bit" in scheme(after)


@pytest.mark.parametrize("granularity", ["per-tensor", "per-channel"])
def test_integers_that_a_mask_keeps_are_all_that_counts(granularity: Any) -> None:
    values = drawn(*range(-8, 0), *range(1, 9), *[8] * 16)  # an 8 in every row, so that all scales are alike
    before = run(sparse(values, HALF, IOS26), QuantizeWeights(Quantize(granularity=granularity))).program
    after = run(before, PalettizeWeights(Palettize(4, "unique"))).program
    assert np.array_equal(decoded(after), decoded(before))
    assert "lut 4-bit" in scheme(after)


@pytest.mark.parametrize("nbits", [None, 2])
@pytest.mark.parametrize("groups", [None, 32])
def test_vectors_that_a_mask_keeps_are_all_that_counts(nbits: Any, groups: int | None) -> None:
    pairs = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float16)[np.random.default_rng(7).integers(0, 4, (32, 64))]
    weight = np.moveaxis(pairs, 2, 1).reshape(64, 64) * np.repeat(HALF[:32], 2, axis=0)
    before = after(PruneWeights(Threshold()), weight=weight)
    unique = run(before, PalettizeWeights(Palettize(nbits, "unique", cluster_dim=2, group_size=groups))).program
    assert np.array_equal(decoded(unique), decoded(before))
    assert "lut 2-bit" in scheme(unique)


def test_more_vectors_than_a_table_has_places_leave_the_weight_as_it_was() -> None:
    before = after(PruneWeights(Magnitude(0.5, block_size=2)))
    result = run(before, PalettizeWeights(Palettize(8, "unique", cluster_dim=2)))
    assert reason(result) == "it has more than 256 distinct values in a group, and a table has 256 places"


def test_entries_of_integers_are_rounded_once() -> None:
    """With a mean of 127.496, which is 127.5 in fp16."""
    data = np.repeat([127, 128, 0, 255], [252, 248, 500, 500]).astype(np.uint8)
    integers: Any = {"data": Const.of(ArrayTensor(np.resize(data, (4, 1500)))), "scale": Const.of(ArrayTensor(np.ones((1, 1), np.float16)))}
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 1500))}, opset=IOS18) as f:
        w = f.op("constexpr_blockwise_shift_scale", name="w", type=TensorType(FP16, (4, 1500)), **integers)
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=w, name="lin"))
    two = PalettizeWeights(Palettize(2, lut_function=lambda values, counts: np.array([0, 127.496, 255])))
    assert np.unique(decoded(run(build_program(f), two).program)).tolist() == [0, 127, 255]


@pytest.mark.parametrize("vector", [1, 2])
def test_scales_whose_squares_overflow_weigh_nonetheless(vector: Any) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    weight[0] *= 1e22
    result = run(linear(weight), Pipeline(QUANTIZE_CHANNELS, PalettizeWeights(Palettize(4, cluster_dim=vector))))
    assert [row.skipped for row in result.report.weights] == [None, None]


QUANTIZE_CHANNELS: Final = QuantizeWeights(Quantize())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_scale_that_is_not_finite_is_a_reason_or_an_error(value: float) -> None:
    scale = np.ones((64, 1), np.float16)
    scale[3] = value
    integers: Any = {"data": Const.of(ArrayTensor(np.ones((64, 64), np.int8))), "scale": Const.of(ArrayTensor(scale))}
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, 64))}, opset=IOS18) as f:
        w = f.op("constexpr_blockwise_shift_scale", name="w", type=TensorType(FP16, (64, 64)), **integers)
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=w, name="lin"))
    program = build_program(f)
    result = run(program, PALETTIZE)
    assert reason(result) == "it holds NaN or infinite values"
    assert untouched(result, program)
    with pytest.raises(ConfigError, match="NaN and infinite values cannot be compressed"):
        run(program, PalettizeWeights(Palettize(4, nonfinite="error")))


@pytest.mark.parametrize(
    "weight_pass", [QuantizeLuts(QuantizeLut(min_elements=1)), PruneWeights(Magnitude(0.75)), PALETTIZE, QUANTIZE], ids=repr
)
def test_a_mask_that_does_not_fit_its_elements_is_an_error_that_says_so(weight_pass: WeightPass) -> None:
    tables = isinstance(weight_pass, QuantizeLuts)
    before = after(PRUNE, PALETTIZE) if tables else sparse(drawn(1, 2, 3)[:-8], HALF)
    if tables:
        (op,) = before.ops("constexpr_lut_to_sparse")
        op.set("indices_mask", Const.of(ArrayTensor(np.ones((64, 64), np.uint8), UINT1)))
    with pytest.raises(MLPassesError, match=r"the mask keeps \d+ elements, and \w+ (is|are) \[\d+\]"):
        run(before, weight_pass)


# What no form says

REFUSED: Final = {
    "integers of a table of less than a byte": (
        (PALETTIZE,), QuantizeWeights(Quantize("int4")), "the entries of its tables may be int8 or uint8, not int4",
    ),
    "blocks of a table": (
        (PALETTIZE,), QuantizeWeights(Quantize(granularity="per-block")),
        r"its tables may have a scale for all of them \(per-tensor\) or one each \(per-channel\)",
    ),
    "scales per channel of what is compressed": (
        (PRUNE,), CHAINED, "a scale for each channel is for dense weights: put PalettizeWeights first",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_form_says_is_an_error_that_names_what_may_be_done(what: str) -> None:
    passes, refused, message = REFUSED[what]
    before = after(*passes)
    assert len(refused.plan(before).findings) == 1
    with pytest.raises(ConfigError, match=message):
        run(before, refused)


@pytest.mark.parametrize("refused", [QuantizeWeights(Quantize(precision="fp16")), PalettizeWeights(Palettize(precision="fp16"))], ids=repr)
def test_numbers_that_are_there_stay_fp32(refused: WeightPass) -> None:
    before = after(PRUNE, weight=numbers(64, 64, dtype=np.float32))
    with pytest.raises(ConfigError, match='it is compressed with fp32 numbers, and precision="fp16" makes others only where it comes'):
        run(before, refused)


@pytest.mark.parametrize("behind", [(QuantizeLuts(), PRUNE), (PRUNE, QuantizeLuts()), (QuantizeLuts(),), (PRUNE,)], ids=repr)
def test_a_cast_to_fp32_stays_behind_fp16_numbers(behind: tuple[WeightPass, ...], tmp_path: Path) -> None:
    first = PalettizeWeights(Palettize(4, precision="fp16"))
    saved = after(first, *behind, weight=numbers(64, 64, dtype=np.float32))
    assert scheme(saved).endswith(", cast to fp32")
    assert_decoded_alike(saved, saved.save(tmp_path / "m.mlpackage"))


def of_others(dtype: DType, last: str, parameter: str, **more: Any) -> Program:
    """x · wᵀ with a weight that is the result of an op over a sparse fp16 weight."""
    kept = numbers(64, 64)
    flags = np.abs(kept) > 0.03
    with FunctionBuilder(inputs={"x": TensorType(dtype, (1, 64))}, opset=IOS18) as f:
        sparse = f.op(
            "constexpr_sparse_to_dense", name="s",
            nonzero_data=Const.of(ArrayTensor(kept[flags])), mask=Const.of(ArrayTensor(flags.astype(np.uint8), UINT1)),
        )  # fmt: skip
        operands: dict[str, Any] = {parameter: sparse, **more}
        weight = f.op(last, name="w", **operands)
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=weight, name="lin"))
    return build_program(f)


def test_tables_for_fp16_numbers_of_a_fp32_weight_are_fp16(tmp_path: Path) -> None:
    before = of_others(FP32, "constexpr_cast", "source_val", output_dtype="fp32")
    result = run(before, PALETTIZE)
    values = form(result.program).values
    assert isinstance(values, Indexed)
    assert values.dtype is FP16
    assert scheme(result.program).endswith("lut 4-bit, 1 group, cast to fp32")
    assert_decoded_alike(result.program, result.save(tmp_path / "m.mlpackage"))


@pytest.mark.parametrize("each", PASSES)
def test_chains_that_are_no_form_are_left_alone_with_the_reason(each: Scheme) -> None:
    before = of_others(FP16, "constexpr_blockwise_shift_scale", "data", scale=Const.of(ArrayTensor(np.ones((64, 1), np.float16))))
    result = run(before, PASSES[each])
    assert reason(result) == (
        "it is compressed already, as sparse 44.5%, scaled per-channel: put DecompressWeights before, to compress it anew "
        "(constexpr_blockwise_shift_scale w ends a chain of a kind that is not known)"
    )
    assert untouched(result, before)


# Plans

PIPELINES: Final = {
    "prune, palettize in groups, tables": (PRUNE, PalettizeWeights(Palettize(4, group_size=16)), QuantizeLuts()),
    "unique, tables with zero points": (
        PalettizeWeights(Palettize(mode="unique")), QuantizeLuts(QuantizeLut("uint8", "asymmetric", "per-table", "searched")),
    ),
    "integers of 4 bits with zero points, palettized": (
        QuantizeWeights(Quantize("uint4", "asymmetric")), PalettizeWeights(Palettize(2)), PruneWeights(Magnitude(0.75)),
    ),
    "vectors": (VECTORS, PruneWeights(Magnitude(0.5, block_size=2)), QuantizeLuts()),
    "what turns out not to pay": (PruneWeights(Threshold(1e-4)), PALETTIZE),
}  # fmt: skip


@opsets
@pytest.mark.parametrize("what", PIPELINES)
def test_sizes_are_as_planned(what: str, opset: Opset, tmp_path: Path) -> None:
    program = linear(np.round(numbers(64, 64) * 200).astype(np.float16) / np.float16(200), opset)
    pipeline = Pipeline(*PIPELINES[what])
    plan = pipeline.plan(program).checked()
    result = run(program, pipeline)
    stored = reloaded(result, tmp_path / "m.mlpackage").weights()
    for planned, row in zip(plan.rows, result.report.weights, strict=True):
        of_numbers = row.skipped is not None and planned.least < planned.after
        assert of_numbers or planned.least <= row.after <= planned.after, (planned, row)
    assert [weight.nbytes for weight in stored] == [result.report.weights[-1].after]


def test_the_size_of_a_pipeline_of_three_is_planned_exactly() -> None:
    pipeline = Pipeline(PRUNE, PalettizeWeights(Palettize(4, group_size=16)), QuantizeLuts())
    planned = pipeline.plan(linear(WEIGHT)).rows[-1].after
    # half of the indices, a bit for each element, four tables of sixteen bytes, one scale
    assert planned == 64 * 64 // 2 // 2 + 64 * 64 // 8 + 4 * 16 + 2
    assert run(linear(WEIGHT), pipeline).report.weights[-1].after == planned


def test_the_size_of_pruned_vectors_is_planned_exactly() -> None:
    pipeline = Pipeline(VECTORS, PruneWeights(Magnitude(0.5, block_size=2)))
    # half of the 2,048 indices of 6 bits, a bit for each, a table of 64 vectors
    assert [row.after for row in pipeline.plan(linear(WEIGHT)).rows][-1] == 1024 * 6 // 8 + 2048 // 8 + 64 * 2 * 2
    assert run(linear(WEIGHT), pipeline).report.weights[-1].after == 1024 * 6 // 8 + 2048 // 8 + 64 * 2 * 2


def test_what_would_take_more_bytes_is_left_as_it_is() -> None:
    """A table for each scale: 16 bytes and 32 indices of 4 bits are as many bytes as 32 integers."""
    before = after(QuantizeWeights(Quantize(granularity="per-block", block_size=32)))
    result = run(before, PALETTIZE)
    assert reason(result) == "it would not become smaller: it takes 4,352 bytes, and would take 4,352"
    assert untouched(result, before)


@given(st.integers(0, 50), st.sampled_from(PAIRS + TRIPLES), st.sampled_from((2, 3, 4, 6)), st.sampled_from((0.5, 0.625, 0.9)))
def test_any_numbers_in_any_order_decode_to_zero_where_they_are_pruned(seed: int, order: Order, nbits: int, sparsity: float) -> None:
    draw = np.random.default_rng(seed)
    weight = (draw.standard_normal((32, 64)) * 10.0 ** draw.integers(-6, 4)).astype(np.float16)
    passes: Mapping[Scheme, WeightPass] = {
        "prune": PruneWeights(Magnitude(sparsity)),
        "quantize": QuantizeWeights(Quantize(("int8", "uint8")[seed % 2], ("symmetric", "asymmetric")[seed // 2 % 2])),
        "palettize": PalettizeWeights(Palettize(nbits)),  # type: ignore[arg-type]  # one of its widths
    }
    program = run(linear(weight), Pipeline(*(passes[each] for each in order))).program
    assert np.isfinite(decoded(program)).all()
    if "sparse" in scheme(program):
        assert not decoded(program)[~mask(program)].any()
