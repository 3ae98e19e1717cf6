"""The ops of each form, as text: what takes the place of a weight `%w`."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest
from attrs import evolve

from ir.const import Const
from ir.constexprs import evaluate
from ir.core import Op
from ir.opset import IOS16, IOS17, IOS18, Opset
from ir.tensors import AbstractTensor
from ir.types import FP16, FP32, INT8, UINT4, UINT8
from mlpasses.forms.decoding import decoded
from mlpasses.forms.emission import ops_of
from mlpasses.forms.form import Form, Indexed
from mlpasses.forms.recognition import form_of
from tests.forms.samples import BITS, Spec, dense, emitted, same_form
from tests.oracle import same_bits

NUMBERS = re.compile(r"(\w+\[[\d, ]*\])\((?:\[[^()]*\]|@[\w.]+)\)")


def text(ops: list[Op]) -> str:
    """Ops as they are printed, with the types of their numbers only, and without names that they have from their outputs."""
    return "\n".join(re.sub(r"\[name=\"\w+\"\]$", "", NUMBERS.sub(r"\1", str(op))) for op in ops)


def check(spec: Spec, expected: str, opset: Opset = IOS18) -> None:
    assert text(emitted(spec, opset)) == dedent(expected).strip()


def test_floats_under_a_mask() -> None:
    check(Spec("floats", masked=True), "%w: fp16[6, 4] = constexpr_sparse_to_dense(nonzero_data=fp16[12], mask=uint1[6, 4])")


def test_integers_with_scales() -> None:
    check(Spec("integers"), "%w: fp16[6, 4] = constexpr_blockwise_shift_scale(data=int8[6, 4], scale=fp16[2, 1])")


def test_integers_with_scales_and_offsets() -> None:
    check(
        Spec("integers", data=UINT4, offset="integers"),
        "%w: fp16[6, 4] = constexpr_blockwise_shift_scale(data=uint4[6, 4], scale=fp16[2, 1], offset=uint4[2, 1])",
    )


def test_integers_under_a_mask() -> None:
    check(
        Spec("integers", masked=True, offset="integers"),
        """
        %w_quantized_0: uint1[6, 4], %w_quantized_1: fp16[12] = constexpr_sparse_blockwise_shift_scale(\
data_mask=uint1[6, 4], nonzero_data=int8[12], scale=fp16[2, 1], offset=int8[2, 1])
        %w: fp16[6, 4] = constexpr_sparse_to_dense(nonzero_data=%w_quantized_1, mask=%w_quantized_0)
        """,
    )


def test_indices() -> None:
    check(Spec("indices", tables=(2, 1)), "%w: fp16[6, 4] = constexpr_lut_to_dense(indices=uint4[6, 4], lut=fp16[2, 1, 16, 1])")


def test_indices_of_vectors() -> None:
    check(
        Spec("indices", vector=2, axis=1),
        "%w: fp16[6, 8] = constexpr_lut_to_dense(indices=uint4[6, 4], lut=fp16[1, 1, 16, 2], vector_axis=1)",
    )


def test_indices_under_a_mask() -> None:
    check(
        Spec("indices", masked=True),
        """
        %w_palettized_0: uint1[6, 4], %w_palettized_1: fp16[12] = constexpr_lut_to_sparse(\
indices_mask=uint1[6, 4], indices_nonzero_data=uint4[12], lut=fp16[1, 1, 16, 1])
        %w: fp16[6, 4] = constexpr_sparse_to_dense(nonzero_data=%w_palettized_1, mask=%w_palettized_0)
        """,
    )


def test_indices_of_vectors_under_a_mask_of_vectors() -> None:
    check(
        Spec("indices", masked=True, vector=2),
        """
        %w_palettized_0: uint1[12, 4], %w_palettized_1: fp16[24] = constexpr_lut_to_sparse(\
indices_mask=uint1[6, 4], indices_nonzero_data=uint4[12], lut=fp16[1, 1, 16, 2], vector_axis=0)
        %w: fp16[12, 4] = constexpr_sparse_to_dense(nonzero_data=%w_palettized_1, mask=%w_palettized_0)
        """,
    )


def test_indices_of_integers_that_are_scaled_before() -> None:
    check(
        Spec("indices", entries="scaled", offset="integers", data=UINT8),
        """
        %w_lut: fp16[1, 1, 16, 1] = constexpr_blockwise_shift_scale(\
data=uint8[1, 1, 16, 1], scale=fp16[1, 1, 1, 1], offset=uint8[1, 1, 1, 1])
        %w: fp16[6, 4] = constexpr_lut_to_dense(indices=uint4[6, 4], lut=%w_lut)
        """,
    )


def test_indices_of_integers_that_are_scaled_behind() -> None:
    check(
        Spec("indices", entries="integers"),
        """
        %w_palettized: int8[6, 4] = constexpr_lut_to_dense(indices=uint4[6, 4], lut=int8[1, 1, 16, 1])
        %w: fp16[6, 4] = constexpr_blockwise_shift_scale(data=%w_palettized, scale=fp16[2, 1])
        """,
    )


def test_indices_of_integers_that_are_scaled_behind_under_a_mask() -> None:
    check(
        Spec("indices", masked=True, entries="integers"),
        """
        %w_palettized_0: uint1[6, 4], %w_palettized_1: int8[12] = constexpr_lut_to_sparse(\
indices_mask=uint1[6, 4], indices_nonzero_data=uint4[12], lut=int8[1, 1, 16, 1])
        %w_scaled_0: uint1[6, 4], %w_scaled_1: fp16[12] = constexpr_sparse_blockwise_shift_scale(\
data_mask=%w_palettized_0, nonzero_data=%w_palettized_1, scale=fp16[2, 1])
        %w: fp16[6, 4] = constexpr_sparse_to_dense(nonzero_data=%w_scaled_1, mask=%w_scaled_0)
        """,
    )


def test_a_scale_for_each_channel_behind_a_table() -> None:
    check(
        Spec("indices", behind=True),
        """
        %w_palettized: fp16[6, 4] = constexpr_lut_to_dense(indices=uint4[6, 4], lut=fp16[1, 1, 16, 1])
        %w: fp16[6, 4] = constexpr_blockwise_shift_scale(data=%w_palettized, scale=fp16[2, 1])
        """,
    )


def test_a_scale_behind_a_table_of_integers_that_have_their_own() -> None:
    check(
        Spec("indices", entries="scaled", behind=True),
        """
        %w_lut: fp16[1, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[1, 1, 16, 1], scale=fp16[1, 1, 1, 1])
        %w_palettized: fp16[6, 4] = constexpr_lut_to_dense(indices=uint4[6, 4], lut=%w_lut)
        %w: fp16[6, 4] = constexpr_blockwise_shift_scale(data=%w_palettized, scale=fp16[2, 1])
        """,
    )


def test_a_fp32_weight_in_fp16_numbers() -> None:
    assert text(emitted(Spec("integers"), dtype=FP32)) == dedent("""\
        %w_quantized: fp16[6, 4] = constexpr_blockwise_shift_scale(data=int8[6, 4], scale=fp16[2, 1])
        %w: fp32[6, 4] = constexpr_cast(source_val=%w_quantized, output_dtype="fp32")""")


# Below iOS18


def test_old_integers_have_scales_along_an_axis_and_always_zero_points() -> None:
    check(
        Spec("integers", scales=(1, 2)),
        "%w: fp16[3, 8] = constexpr_affine_dequantize()[axis=1, quantized_data=int8[3, 8], scale=fp16[2], zero_point=int8[2]]",
        IOS16,
    )


def test_old_integers_with_one_scale() -> None:
    check(
        Spec("integers", scales=(1, 1)),
        "%w: fp16[3, 4] = constexpr_affine_dequantize()[axis=0, quantized_data=int8[3, 4], scale=fp16(0.3772), zero_point=int8(0)]",
        IOS17,
    )


def test_old_indices_are_packed_in_bytes() -> None:
    check(
        Spec("indices"),
        "%w: fp16[6, 4] = constexpr_lut_to_dense()[indices=uint8[12], lut=fp16[16], shape=uint32[2]]",
        IOS17,
    )


def test_old_masks_are_packed_in_bytes() -> None:
    check(
        Spec("floats", masked=True),
        "%w: fp16[6, 4] = constexpr_sparse_to_dense()[mask=uint8[3], nonzero_data=fp16[12], shape=uint32[2]]",
        IOS16,
    )


OLD = [
    *(Spec("integers", data=data, offset=offset, scales=scales, rows=rows)
      for data in (INT8, UINT8) for offset in ("none", "integers")
      for scales, rows in (((1, 1), (3, 4)), ((5, 1), (1, 4)), ((1, 5), (3, 1)))),
    *(Spec("indices", nbits=bits, dtype=dtype) for bits in BITS if bits != 3 for dtype in (FP16, FP32)),
    *(Spec("floats", masked=True, dtype=dtype, rows=(3, 5)) for dtype in (FP16, FP32)),
]  # fmt: skip


@pytest.mark.parametrize("spec", OLD, ids=repr)
def test_old_ops_have_the_numbers_of_their_form(spec: Spec) -> None:
    (op,) = emitted(spec, IOS16)
    assert same_bits(evaluate(op)[0].numpy(), decoded(spec.form()))


@pytest.mark.parametrize("spec", OLD, ids=repr)
def test_the_bytes_of_a_form_are_those_of_its_old_op(spec: Spec) -> None:
    (op,) = emitted(spec, IOS16)
    held = (const.tensor for name, const in op.attributes.items() if name not in ("name", "shape", "axis"))
    assert spec.form().nbytes(IOS16) == sum(tensor.nbytes for tensor in held)


@pytest.mark.parametrize("spec", [spec for spec in OLD if spec.values == "integers"], ids=repr)
def test_old_integers_are_read_back(spec: Spec) -> None:
    read = form_of(emitted(spec, IOS16)[0])
    assert isinstance(read, Form)
    assert same_form(read, spec.form())


# The weight's own


def test_the_last_op_has_the_attributes_of_the_const_but_its_value() -> None:
    weight = dense((6, 4))
    weight.set_attribute("origin", Const.of("layer 3"))
    (op,) = ops_of(Spec("integers").form(), weight, IOS18)
    assert {name: const.item() for name, const in op.attributes.items()} == {"name": "w", "origin": "layer 3"}


def test_of_a_constexpr_op_the_name_stays_and_no_attribute_that_was_an_operand() -> None:
    (old,) = emitted(Spec("integers"), IOS16)
    (op,) = ops_of(Spec("integers").form(), old, IOS18)
    assert {name: const.item() for name, const in op.attributes.items()} == {"name": "w"}


def test_an_abstract_form_has_the_types_of_what_it_will_be() -> None:
    spec = Spec("indices", masked=True, entries="scaled")
    form = spec.form()
    assert isinstance(form.values, Indexed)
    abstract = evolve(form, values=evolve(form.values, indices=AbstractTensor(form.values.indices.dtype, form.values.indices.shape)))
    assert text(ops_of(abstract, dense(spec.shape), IOS18)) == text(emitted(spec))


def test_ops_carry_the_names_of_the_weight_and_what_they_do() -> None:
    ops = emitted(Spec("indices", masked=True, entries="scaled", behind=True))
    assert [op.name for op in ops] == ["w_lut", "w_palettized", "w_scaled", "w"]
    assert [len(op.outputs) for op in ops] == [1, 2, 2, 1]
