"""`QuantizeWeights`: the forms that it writes, what it reports, and its config."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import evolve

from ir.opset import IOS16, IOS17, IOS18
from ir.types import FP16, FP32, INT8, UINT8, TensorType
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Quantize
from mlpasses.errors import ConfigError
from mlpasses.manager import run
from tests.compress.models import SMALL, constexprs, decoded, linear, numbers, the_constexpr, untouched, zoo


def test_below_ios18_operands_are_attributes() -> None:
    op = the_constexpr(run(linear(opset=IOS17), QuantizeWeights(SMALL)).program)
    assert op.op_type == "constexpr_affine_dequantize"
    assert not op.operands
    assert op.attributes["quantized_data"].type is TensorType(INT8, (8, 16))
    assert op.attributes["zero_point"].type is TensorType(INT8, (8,))
    assert op.attributes["scale"].type is TensorType(FP16, (8,))
    assert op.attributes["axis"].item() == 0


def test_from_ios18_operands_are_inputs_and_a_zero_offset_is_left_out() -> None:
    op = the_constexpr(run(linear(opset=IOS18), QuantizeWeights(SMALL)).program)
    assert op.op_type == "constexpr_blockwise_shift_scale"
    assert {name: operand.type for name, (operand,) in op.operands.items()} == {
        "data": TensorType(INT8, (8, 16)),
        "scale": TensorType(FP16, (8, 1)),
    }


def test_an_offset_has_the_type_of_the_data_and_the_shape_of_the_scale() -> None:
    op = the_constexpr(run(linear(), QuantizeWeights(Quantize("uint8", "asymmetric", min_elements=64))).program)
    assert op["offset"].type is TensorType(UINT8, (8, 1))


def test_one_scale_for_a_whole_weight_is_a_scalar_below_ios18() -> None:
    op = the_constexpr(run(linear(opset=IOS16), QuantizeWeights(evolve(SMALL, granularity="per-tensor"))).program)
    assert op.attributes["scale"].type is TensorType(FP16, ())
    assert op.attributes["zero_point"].type is TensorType(INT8, ())


def test_one_scale_for_a_whole_weight_has_its_rank_from_ios18() -> None:
    op = the_constexpr(run(linear(), QuantizeWeights(evolve(SMALL, granularity="per-tensor"))).program)
    assert op["scale"].type is TensorType(FP16, (1, 1))


def test_the_scale_has_the_type_of_the_weight() -> None:
    op = the_constexpr(run(linear(numbers(8, 16, dtype=np.float32)), QuantizeWeights(SMALL)).program)
    assert op["scale"].type is TensorType(FP32, (8, 1))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dense_weight", (24, 1)),
        ("right_y", (1, 24)),
        ("right_t_y", (24, 1)),
        ("left_x", (24, 1)),
        ("left_t_x", (1, 24)),
        ("batched_y", (1, 1, 16)),
        ("conv_weight", (16, 1, 1, 1)),
        ("conv1d_weight", (16, 1, 1)),
        ("grouped_weight", (16, 1, 1, 1)),
        ("back_weight", (1, 16, 1, 1)),
        ("table_x", (24, 1)),
        ("nd_x", (24, 1)),
        ("along_x", (24, 1)),
        ("einsum_values_1", (1, 1, 1, 16)),
        ("lstm_weight_ih", (32, 1)),
        ("lstm_weight_hh_back", (32, 1)),
        ("gru_weight_ih", (24, 1)),
        ("rnn_weight_hh", (8, 1)),
    ],
)
def test_channels_are_those_of_the_consumer(name: str, shape: tuple[int, ...]) -> None:
    result = run(zoo(IOS18), QuantizeWeights(SMALL)).program
    scale = next(op for op in constexprs(result) if op.output.name == name)["scale"]
    assert isinstance(scale.type, TensorType)
    assert scale.type.shape == shape


def test_the_value_keeps_name_type_and_consumers() -> None:
    program = linear()
    result = run(program, QuantizeWeights(SMALL)).program
    op = the_constexpr(result)
    assert op.output.name == "w"
    assert op.output.type is TensorType(FP16, (8, 16))
    assert [user.name for user in op.output.users] == ["lin"]


def test_the_op_keeps_the_name_attribute_of_the_const() -> None:
    assert the_constexpr(run(linear(), QuantizeWeights(SMALL)).program).attributes["name"].item() == "w"


def test_a_const_without_a_name_attribute_yields_an_op_without_one() -> None:
    program = linear()
    next(iter(program.ops("const"))).unset_attribute("name")
    assert "name" not in the_constexpr(run(program, QuantizeWeights(SMALL)).program).attributes


def test_the_program_handed_in_does_not_change() -> None:
    program = linear()
    before = str(program)
    run(program, QuantizeWeights(SMALL))
    assert str(program) == before


def test_a_second_run_finds_nothing_to_do() -> None:
    once = run(zoo(IOS18), QuantizeWeights(SMALL)).program
    twice = run(once, QuantizeWeights(SMALL))
    assert untouched(twice, once)
    assert twice.report.passes[0].changes == 0


# The report


def test_a_row_says_what_became_of_a_weight() -> None:
    weight = numbers(8, 16)
    (row,) = run(linear(weight), QuantizeWeights(SMALL)).report.weights
    assert (row.name, row.op_type, row.shape, row.scheme) == ("w", "linear", (8, 16), "int8 per-channel symmetric")
    assert (row.before, row.after, row.skipped) == (256, 128 + 16, None)


def test_zero_points_count_where_they_are_stored() -> None:
    rows = [run(linear(opset=opset), QuantizeWeights(SMALL)).report.weights[0].after for opset in (IOS17, IOS18)]
    assert rows == [128 + 16 + 8, 128 + 16]


def test_sqnr_and_error_are_those_of_the_decoded_weight() -> None:
    weight = numbers(8, 16)
    result = run(linear(weight), QuantizeWeights(SMALL))
    (row,) = result.report.weights
    error = weight.astype(np.float64) - decoded(result.program).astype(np.float64)
    assert row.sqnr == pytest.approx(10 * np.log10(np.square(weight.astype(np.float64)).sum() / np.square(error).sum()))
    assert row.max_error == np.abs(error).max()


# The config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int9"}, "dtype of Quantize has to be int8, uint8, int4 or uint4, not 'int9'"),
        ({"mode": "linear"}, "mode of Quantize has to be symmetric or asymmetric, not 'linear'"),
        ({"granularity": "per_channel"}, "granularity of Quantize has to be per-tensor, per-channel or per-block, not 'per_channel'"),
        ({"min_elements": -1}, "min_elements of Quantize has to be an integer of at least 0, not -1"),
        ({"min_elements": True}, "min_elements of Quantize has to be an integer of at least 0, not True"),
        ({"axis": "x"}, "axis of Quantize has to be an integer, not 'x'"),
        ({"axis": True}, "axis of Quantize has to be an integer, not True"),
        ({"nonfinite": "drop"}, "nonfinite of Quantize has to be skip or error, not 'drop'"),
    ],
)
def test_a_wrong_option_is_refused_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Quantize(**options)
    assert str(error.value) == message


def test_block_sizes_may_be_a_list_as_in_a_recipe() -> None:
    wanted: Any = [0, 32]
    assert Quantize("int4", granularity="per-block", block_size=wanted) == Quantize("int4", granularity="per-block", block_size=(0, 32))
