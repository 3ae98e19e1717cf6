"""Chains that others wrote: read where they say what a form can say, and otherwise left alone, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ir.const import Const
from ir.core import Op, Value
from ir.opset import IOS16
from ir.tensors import ArrayTensor
from ir.types import FP16, FP32, INT8, UINT1, UINT4, DType, TensorType
from mlpasses.forms.form import Floats, Form, Indexed, Scaled
from mlpasses.forms.recognition import form_of
from tests.forms.samples import Spec, emitted, same_form


def literal(array: Any, dtype: DType | None = None) -> Const:
    return Const.of(ArrayTensor(np.asarray(array, None if dtype is None else dtype.numpy), dtype))


def op_of(op_type: str, *results: tuple[DType, tuple[int, ...]], **operands: Any) -> Op:
    """A detached op whose operands are inputs of it."""
    held = {name: each if isinstance(each, Const | Value) else literal(each) for name, each in operands.items()}
    return Op(op_type, held, [(f"{op_type}_{at}", TensorType(*result)) for at, result in enumerate(results)], {"name": Const.of("it")})


def scaled(data: Any, scale: Any = ((2.0,),), dtype: DType = FP16) -> Op:
    return op_of("constexpr_blockwise_shift_scale", (dtype, (4, 4)), data=data, scale=np.asarray(scale, dtype.numpy))


def look_up(lut: Any, **more: Any) -> Op:
    indices = literal(np.zeros((4, 4), np.uint8), UINT4)
    return op_of("constexpr_lut_to_dense", (FP16, (4, 4)), indices=indices, lut=lut, **more)


def read(op: Op) -> Form:
    found = form_of(op)
    assert isinstance(found, Form), found
    return found


def reason(op: Op) -> str:
    found = form_of(op)
    assert isinstance(found, str)
    return found


def test_data_of_consts_are_read_as_literals_are() -> None:
    const = Op("const", {}, [("d", TensorType(INT8, (4, 4)))], {"val": literal(np.ones((4, 4), np.int8))})
    values = read(scaled(const.output)).values
    assert isinstance(values, Scaled)
    assert values.data.numpy().tolist() == np.ones((4, 4)).tolist()


def test_the_axis_of_vectors_of_one_element_means_nothing() -> None:
    values = read(look_up(np.ones((1, 1, 16, 1), np.float16), vector_axis=Const.of(1))).values
    assert isinstance(values, Indexed)
    assert values.vector_axis is None


def test_the_axis_of_vectors_may_be_counted_from_the_back() -> None:
    values = read(look_up(np.ones((1, 1, 16, 2), np.float16), vector_axis=Const.of(-1))).values
    assert isinstance(values, Indexed)
    assert values.vector_axis == 1


def test_a_float_offset_behind_a_table_is_read() -> None:
    op = scaled(look_up(np.ones((1, 1, 16, 1), np.int8)).output)
    op.set("offset", literal(np.full((1, 1), 0.5, np.float16)))
    offset = read(op).offset
    assert offset is not None
    assert offset.numpy().item() == 0.5


def test_a_cast_is_no_layer_of_numbers() -> None:
    inner = op_of("constexpr_sparse_to_dense", (FP16, (3,)), nonzero_data=np.ones(2, np.float16), mask=literal([1, 0, 1], UINT1))
    form = read(op_of("constexpr_cast", (FP32, (3,)), source_val=inner.output, output_dtype=Const.of("fp32")))
    assert isinstance(form.values, Floats)
    assert form.dtype is FP16


def computed() -> Value:
    return Op("relu", {}, [("r", TensorType(FP16, (4, 4)))]).output


def two_masks() -> Op:
    """The elements of one sparse op under the mask of another."""
    one, other = (
        op_of(
            "constexpr_sparse_blockwise_shift_scale", (UINT1, (3,)), (FP16, (2,)),
            data_mask=literal([1, 0, 1], UINT1), nonzero_data=np.ones(2, np.int8), scale=np.ones(1, np.float16),
        )
        for _ in range(2)
    )  # fmt: skip
    return op_of("constexpr_sparse_to_dense", (FP16, (3,)), nonzero_data=one.outputs[1], mask=other.outputs[0])


def elements_of(op: Op) -> Op:
    return op_of("constexpr_sparse_to_dense", (FP16, (3,)), nonzero_data=op.outputs[1], mask=op.outputs[0])


UNREADABLE = {
    "an op of another kind": (op_of("constexpr_from_the_future", (FP16, (1,)), x=np.ones(1)), "ends a chain of a kind that is not known"),
    "scales of scaled integers": (
        scaled(scaled(np.ones((4, 4), np.int8)).output), "constexpr_blockwise_shift_scale it ends a chain of a kind that is not known"
    ),
    "two scales behind a table": (
        scaled(scaled(look_up(np.ones((1, 1, 16, 1), np.float16)).output).output), "ends a chain of a kind that is not known"
    ),
    "a table of a table": (
        look_up(look_up(np.ones((1, 1, 16, 1), np.float16)).output),
        "constexpr_lut_to_dense it yields the table of constexpr_lut_to_dense it",
    ),
    "data that are computed": (scaled(computed()), "ends a chain of a kind that is not known"),
    "a scale that is computed": (scaled(np.ones((4, 4), np.int8)), "an operand of its chain is no constant"),
    "no data": (op_of("constexpr_blockwise_shift_scale", (FP16, (1,)), scale=np.ones(1, np.float16)), "has no data"),
    "two masks": (two_masks(), "mask and elements of constexpr_sparse_to_dense it are not of one op"),
    "elements of an op of another kind": (
        elements_of(op_of("constexpr_from_the_future", (UINT1, (3,)), (FP16, (2,)), x=np.ones(1))),
        "constexpr_from_the_future it yields no mask that is known",
    ),
}  # fmt: skip
UNREADABLE["a scale that is computed"][0].set("scale", computed())


@pytest.mark.parametrize("spec", [Spec("floats", masked=True), Spec("indices")], ids=repr)
def test_ops_as_below_ios18_are_read(spec: Spec) -> None:
    form = spec.form()
    old = read(emitted(spec, IOS16)[0])
    assert same_form(old, form)


@pytest.mark.parametrize(("spec", "parameter"), [(Spec("floats", masked=True), "mask"), (Spec("indices"), "indices")], ids=repr)
def test_bytes_that_are_not_those_of_the_shape_have_a_reason(spec: Spec, parameter: str) -> None:
    op = emitted(spec, IOS16)[0]
    op.set_attribute(parameter, Const.of(op.attributes[parameter].numpy()[:-1].copy()))
    assert parameter in reason(op)


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_no_form_says_has_a_reason(what: str) -> None:
    op, part = UNREADABLE[what]
    assert part in reason(op)


def test_old_integers_whose_zero_points_are_of_another_type_are_to_be_raised() -> None:
    (op,) = emitted(Spec("integers"), IOS16)
    op.set_attribute("zero_point", literal(np.zeros(2, np.uint8)))
    assert "scale and zero point of constexpr_affine_dequantize w differ in type or shape: put RaiseOpset before" in reason(op)


def test_a_chain_of_any_length_that_scales_what_has_a_scale_is_none() -> None:
    mask, scale = literal(np.ones((4, 4), np.uint8), UINT1), literal(np.ones((4, 4), np.float16))
    kept: Any = literal(np.ones(16, np.int8))
    for _ in range(3000):
        op = op_of("constexpr_sparse_blockwise_shift_scale", (UINT1, (4, 4)), (FP16, (16,)), data_mask=mask, nonzero_data=kept, scale=scale)
        kept = op.outputs[1]
    dense = op_of("constexpr_sparse_to_dense", (FP16, (4, 4)), nonzero_data=kept, mask=op.outputs[0])
    assert "scales what has a scale" in reason(dense)
