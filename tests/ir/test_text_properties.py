"""The text form, over everything that programs can hold: `parse(print(p)) == p`, and no text does worse than a ParseError."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.compare import first_difference
from ir.const import Const
from ir.core import Function, Program
from ir.diagnostics import ParseError
from ir.tensors import ArrayTensor, Tensor
from ir.text import parse, parse_const, parse_fragment, parse_type, print_const, print_type, to_text
from ir.text.numbers import float_bits, float_text
from ir.types import BF16, DTYPES, FP8E4M3FN, FP8E5M2, FP16, DType, Type
from ir.verify.structure import verify
from tests import strategies as mil

WILD = mil.Wildness(names=mil.wild_names, text=mil.wild_text, shadowing=True)
FLOATS = [dtype for dtype in DTYPES if dtype.is_float]
SCRAPS = (
    "program", "func", "%x", "%^x", '%"', "{", "}", "(", ")", "[", "]", "<", ">", "=", ",", ":", "return", "block", "const(", "fp16[2]",
    "list<", "int32", "[[[[", "]]]]", '"', '"\\', "nan:0x7e01", "inf", "1e999", "99999999999999999999", "@", "@w", 'base64"AA=="', "doc",
    "rank", "unnamed", "stage 0 {", "//", "\n", "é", "?", "*", "true", "attribute", "metadata",
)  # fmt: skip
EVERYTHING = """\
program spec_version 9 format_version 2 doc "a \\"program\\"\\n"
attribute buildInfo = dict<string, string>({"a": "b", "c": "\\ud800"})
attribute "odd name" = tuple<fp16, list<int32, 2>>(nan:0x7e01, [1, 2]) doc "why"
metadata "author" = "me"

func main<CoreML8>(%x: fp16[4] {layout = "nchw"}, %s: state<fp16[4]>) {
  %w: fp16[40] = const(@w)
  %k: uint4[3] = const(base64"/xY=")[name="other"]
  %e: int8[0, 3] = const([])
  %v: fp16[?] = const(fp16[?](fp16[2]([1.0, -inf])))
  %a: fp16[2], %"b c": fp16[2] = split(x=%x, num_splits=2, axis=0) unnamed
  write_state(input=%s, data=%x)
  %r: fp16[4] = while_loop(loop_vars=(%x), none=(), "return"=[[1, 2], [3, 4]]) block(%x: fp16[4])[hot=0.5] {
    %y: fp16[4] = add(x=%x, y=%^x)  // the outer x
    return %y, %^x
  } block {
    return
  }
  return %r, %"b c"
}

func "other one"<CoreML8>(%x: fp16[?, *] rank -1)[weight=fp16[40](@w)] block CoreML7 {
  return %x
} block CoreML8[note=true] {
  return %x
}

stage 0/1 spec_version 6 {
  func main<CoreML5>() {
    return
  }
}
"""
RESOURCES: dict[str, Tensor] = {"w": ArrayTensor(np.zeros(40, np.float16))}


@given(mil.programs())
@settings(max_examples=30, deadline=None)
def test_drawn_programs_are_structurally_valid(program: Program) -> None:
    verify(program)


@given(mil.programs(WILD))
@settings(max_examples=100, deadline=None)
def test_a_program_is_parsed_back_from_its_text(program: Program) -> None:
    printed = to_text(program)
    back = parse(printed.text, printed.resources)
    assert first_difference(program, back) is None
    assert to_text(back) == printed


@given(mil.programs(WILD))
@settings(max_examples=50, deadline=None)
def test_a_self_contained_text_needs_no_resources(program: Program) -> None:
    printed = to_text(program, inline=True)
    assert not printed.resources
    assert first_difference(program, parse(printed.text)) is None


@given(mil.programs(WILD))
@settings(max_examples=30, deadline=None)
def test_a_resource_is_the_very_tensor(program: Program) -> None:
    printed = to_text(program)
    again = to_text(parse(printed.text, printed.resources))
    assert all(again.resources[name] is tensor for name, tensor in printed.resources.items())


@given(mil.consts(mil.wild_text))
@settings(max_examples=200, deadline=None)
def test_a_literal_is_parsed_back_from_its_text(const: Const) -> None:
    holder = Program()
    holder.attributes["a"] = const
    printed = to_text(holder)
    assert parse(printed.text, printed.resources).attributes["a"] == const
    if not printed.resources:
        assert parse_const(print_const(const)) == const


@given(mil.types(mil.plain_text))
@settings(max_examples=100, deadline=None)
def test_a_type_is_parsed_back_from_its_text(type: Type) -> None:  # noqa: A002
    holder = Program([Function("f", [("x", type)])])
    printed = to_text(holder)
    assert parse(printed.text, printed.resources).functions["f"].inputs[0].type is type
    if not printed.resources:  # an attribute of a type may be a weight
        assert parse_type(print_type(type)) is type


def test_the_text_that_is_mutated_is_valid() -> None:
    program = parse(EVERYTHING, RESOURCES)
    assert to_text(program).text == EVERYTHING.replace("  // the outer x", "").replace("=(%x)", "=%x")


@given(mil.wild_text)
def test_a_string_is_parsed_back_from_its_text(text: str) -> None:
    assert parse_const(print_const(Const.of(text))).item() == text


@pytest.mark.parametrize("dtype", [FP16, BF16, FP8E4M3FN, FP8E5M2], ids=str)
def test_every_narrow_float_is_parsed_back_from_its_text(dtype: DType) -> None:
    assert all(float_bits(float_text(bits, dtype), dtype) == bits for bits in range(1 << dtype.bits))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@given(data=st.data())
@settings(deadline=None)
def test_every_float_is_parsed_back_from_its_text(dtype: DType, data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, (1 << dtype.bits) - 1))
    assert float_bits(float_text(bits, dtype), dtype) == bits


@given(mil.mutations(EVERYTHING, SCRAPS))
@settings(max_examples=200, deadline=None)
def test_only_parse_errors_come_out_of_mutated_text(text: str) -> None:
    _check_what_comes_out(text, RESOURCES)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_only_parse_errors_come_out_of_mutated_programs(data: st.DataObject) -> None:
    printed = to_text(data.draw(mil.programs()))
    _check_what_comes_out(data.draw(mil.mutations(printed.text, SCRAPS)), printed.resources)


def _check_what_comes_out(text: str, resources: Mapping[str, Tensor]) -> None:
    try:
        program = parse(text, resources)
    except ParseError as error:
        line, column = error.line, error.column
    else:
        again = to_text(program)
        assert first_difference(program, parse(again.text, again.resources)) is None
        return
    lines = text.split("\n")
    assert 1 <= line <= len(lines)
    assert 1 <= column <= len(lines[line - 1]) + 1


@given(st.lists(st.sampled_from(SCRAPS), max_size=30).map(" ".join) | mil.wild_text)
@settings(max_examples=200, deadline=None)
def test_only_parse_errors_come_out_of_scraps(text: str) -> None:
    for read in (parse, parse_fragment, parse_const, parse_type):
        with contextlib.suppress(ParseError):
            read(text)


@given(mil.programs())
@settings(max_examples=30, deadline=None)
def test_every_part_has_a_repr(program: Program) -> None:
    for op in program.ops():
        assert repr(op)
        assert repr(op.block)
    for function in program.all_functions():
        assert repr(function).startswith("func ")
    assert str(program).startswith("program ")
