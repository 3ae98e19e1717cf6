"""Where the scale of a table of integers stands, by opset: before the look-up or behind it, as text."""

from __future__ import annotations

import pytest

from ir.opset import IOS18, IOS26, Opset
from mlpasses.forms.canonical import canonical
from mlpasses.forms.emission import ops_of
from tests.forms.samples import Spec, dense
from tests.forms.test_emission import text

IN_FRONT = """\
%w_lut: fp16[1, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[1, 1, 16, 1], scale=fp16[1, 1, 1, 1])
%w: fp16[3, 4] = constexpr_lut_to_dense(indices=uint4[3, 4], lut=%w_lut)"""
BEHIND = """\
%w_palettized: int8[3, 4] = constexpr_lut_to_dense(indices=uint4[3, 4], lut=int8[1, 1, 16, 1])
%w: fp16[3, 4] = constexpr_blockwise_shift_scale(data=%w_palettized, scale=fp16[1, 1])"""
SPECS = [Spec("indices", entries="scaled", scales=(1, 1)), Spec("indices", entries="integers", scales=(1, 1))]


def written(spec: Spec, opset: Opset) -> str:
    return text(ops_of(canonical(spec.form(), opset), dense(spec.shape), opset))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.entries)
def test_one_scale_is_before_the_look_up_below_ios26(spec: Spec) -> None:
    assert written(spec, IOS18) == IN_FRONT


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.entries)
def test_one_scale_is_behind_the_look_up_from_ios26_on(spec: Spec) -> None:
    assert written(spec, IOS26) == BEHIND


CHANNELS = Spec("indices", entries="integers", scales=(4, 1), rows=(2, 4))


def test_a_scale_for_each_channel_makes_a_table_for_each_below_ios26() -> None:
    assert written(CHANNELS, IOS18) == (
        "%w_lut: fp16[4, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[4, 1, 16, 1], scale=fp16[4, 1, 1, 1])\n"
        "%w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=%w_lut)"
    )


def test_a_scale_for_each_channel_is_behind_their_table_from_ios26_on() -> None:
    assert written(CHANNELS, IOS26) == (
        "%w_palettized: int8[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=int8[1, 1, 16, 1])\n"
        "%w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=%w_palettized, scale=fp16[4, 1])"
    )


@pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)
def test_a_scale_for_each_table_is_before_the_look_up(opset: Opset) -> None:
    assert written(Spec("indices", entries="integers", tables=(4, 1), scales=(4, 1), rows=(2, 4)), opset) == (
        "%w_lut: fp16[4, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[4, 1, 16, 1], scale=fp16[4, 1, 1, 1])\n"
        "%w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=%w_lut)"
    )


@pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)
def test_scales_for_more_than_a_table_leave_the_tables(opset: Opset) -> None:
    assert written(Spec("indices", entries="integers", tables=(4, 1), scales=(2, 1), rows=(2, 4)), opset) == (
        "%w_lut: fp16[4, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[4, 1, 16, 1], scale=fp16[2, 1, 1, 1])\n"
        "%w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=%w_lut)"
    )


@pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(Spec("indices", entries="integers", tables=(2, 1), scales=(3, 1)), id="blocks do not nest"),
        pytest.param(Spec("indices", behind=True), id="entries are floats"),
        pytest.param(Spec("indices"), id="there is no scale"),
        pytest.param(Spec("integers"), id="there is no table"),
        pytest.param(Spec("floats", masked=True), id="there are no integers"),
    ],
)
def test_what_has_one_order_only_stays(spec: Spec, opset: Opset) -> None:
    form = spec.form()
    assert canonical(form, opset) is form


def test_scales_of_the_elements_of_a_vector_stay_behind_its_table() -> None:
    form = Spec("indices", entries="integers", scales=(3, 1), vector=2, axis=0, rows=(1, 4)).form()
    assert canonical(form, IOS18) is form
