"""The text form, fact by fact: how things read, what comes back, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
import pytest

from ir.compare import first_difference
from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.diagnostics import MLPassesError, ParseError, UnsupportedModelError
from ir.mil import schema
from ir.mil.lift import lift_model
from ir.mil.load import load_program
from ir.tensors import ArrayTensor, MappedFile, MappedTensor, PackedTensor
from ir.text import (
    parse,
    parse_block,
    parse_const,
    parse_fragment,
    parse_function,
    parse_type,
    print_block,
    print_const,
    print_function,
    print_neighbourhood,
    print_op,
    print_type,
    to_text,
)
from ir.types import (
    BF16,
    BOOL,
    FP8E4M3FN,
    FP8E5M2,
    FP16,
    FP32,
    FP64,
    INT4,
    INT8,
    INT32,
    INT64,
    STRING,
    UINT1,
    UINT3,
    UINT4,
    UINT6,
    UINT64,
    UNKNOWN,
    VARIADIC,
    DictionaryType,
    ListType,
    StateType,
    TensorType,
    TupleType,
    Type,
)

CORPUS: Final = Path(__file__).parents[3] / "shared" / "corpus"
HALF4: Final = TensorType(FP16, (4,))


def body(text: str, **resources: Any) -> list[Op]:
    return list(parse_fragment(text, {name: ArrayTensor(array) for name, array in resources.items()}).main.body)


def only(text: str, **resources: Any) -> Op:
    return body(text, **resources)[-1]


def program_of(*ops: Op, inputs: tuple[Value, ...] = (), returned: tuple[Value, ...] = ()) -> Program:
    block = Block()
    for op in ops:
        block.append(op)
    block.set_outputs(returned)
    function = Function("main", [(v.name, v.type) for v in inputs], "CoreML8")
    function.add_block("CoreML8", block)
    return Program([function], spec_version=9)


def named(name: str, **attributes: Const) -> dict[str, Const]:
    return {"name": Const.of(name), **attributes}


def error_of(read: Callable[[str], object], text: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        read(text)
    return caught.value


# Ops


def test_an_op_reads_like_mil() -> None:
    x = Block([("x", HALF4)]).inputs[0]
    op = Op("cast", {"dtype": Const.of("fp16"), "x": x}, [("a", HALF4)], named("a"))
    assert repr(op) == '%a: fp16[4] = cast(x=%x, dtype="fp16")'


def test_parameters_come_in_the_order_of_the_tables_and_unknown_ones_after_them_by_name() -> None:
    op = only('inputs %x: fp16[4]\n%y: fp16[4] = add(zeta=1, y=%x, "a b"=2, x=%x)')
    assert repr(op) == '%y: fp16[4] = add(x=%x, y=%x, "a b"=2, zeta=1)'


def test_parameters_of_an_op_without_a_row_come_by_name() -> None:
    assert repr(only("%y: fp16[4] = made_up(b=1, a=2)")) == "%y: fp16[4] = made_up(a=2, b=1)"


def test_attributes_come_by_name() -> None:
    assert repr(only("%y: fp16[4] = made_up()[b=1, a=2]")) == "%y: fp16[4] = made_up()[a=2, b=1]"


def test_a_parameter_holds_none_one_or_several_operands() -> None:
    op = only("inputs %x: fp16[4]\n%y: fp16[4] = made_up(none=(), one=(%x), several=(%x, 3, %x))")
    assert [len(held) for _, held in sorted(op.operands.items())] == [0, 1, 3]
    assert repr(op) == "%y: fp16[4] = made_up(none=(), one=%x, several=(%x, 3, %x))"


def test_a_tuple_of_one_is_another_thing_than_one_operand() -> None:
    op = only("%y: fp16[4] = made_up(a=tuple<int32>(3), b=(3))")
    assert op["a"] == Const.tuple_of([Const.of(3)])
    assert op["b"] == Const.of(3)


def test_an_op_may_have_no_outputs_and_several() -> None:
    ops = body("inputs %x: fp16[4], %s: state<fp16[4]>\nwrite_state(input=%s, data=%x)\n%a: fp16[2], %b: fp16[2] = split(x=%x)")
    assert [repr(op) for op in ops] == ["write_state(input=%s, data=%x)", "%a: fp16[2], %b: fp16[2] = split(x=%x)"]


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ({"name": Const.of("y")}, ""),
        ({}, " unnamed"),
        ({"name": Const.of("other")}, '[name="other"]'),
        ({"name": Const.of("y").with_doc("said")}, '[name="y" doc "said"]'),
        ({"name": Const.of(["y"])}, '[name=["y"]]'),
    ],
)
def test_the_attribute_name_is_shown_where_it_is_not_the_first_outputs(attributes: dict[str, Const], shown: str) -> None:
    op = Op("relu", {}, [("y", HALF4)], attributes)
    assert repr(op) == f"%y: fp16[4] = relu(){shown}"
    assert only(repr(op)).attributes == attributes


@pytest.mark.parametrize(("attributes", "shown"), [({}, ""), ({"name": Const.of("w")}, '[name="w"]')])
def test_an_op_without_outputs_shows_the_name_that_it_has(attributes: dict[str, Const], shown: str) -> None:
    op = Op("write_state", {}, [], attributes)
    assert repr(op) == f"write_state(){shown}"
    assert only(repr(op)).attributes == attributes


def test_a_const_shows_its_value_without_the_type_that_its_output_has() -> None:
    assert repr(only("%c: fp16[2] = const([1, 0.5])")) == "%c: fp16[2] = const([1.0, 0.5])"


def test_a_const_whose_value_has_another_type_says_so() -> None:
    op = Op("const", {}, [("c", TensorType(FP16))], named("c", val=Const.of(3)))
    assert repr(op) == "%c: fp16 = const(int32(3))"
    assert only(repr(op)).attributes["val"] == Const.of(3)


def test_a_const_whose_value_has_unknown_dimensions_says_both_shapes() -> None:
    kind = TensorType(FP16, (UNKNOWN,))
    const = Const(kind, ArrayTensor(np.ones(2, np.float16)))
    op = Op("const", {}, [("c", kind)], named("c", val=const))
    assert repr(op) == "%c: fp16[?] = const(fp16[?](fp16[2]([1.0, 1.0])))"
    assert only(repr(op)).attributes["val"] == const


def test_a_const_with_operands_or_without_a_value_reads_like_any_op() -> None:
    text = "%c: int32 = const(x=1)[val=2]\n%d: int32 = const()\n%e: int32, %f: int32 = const()[val=2]"
    assert "\n".join(map(repr, body(text))) == text


def test_words_of_the_language_and_odd_names_are_quoted() -> None:
    text = '%"a b": fp16[4] = "return"("true"=1, "x y"=2)["rank"=3]'
    assert repr(only(text)) == text


def test_names_may_be_numbers_in_the_text() -> None:
    assert [value.name for value in parse_fragment("%0: int32 = const(1)\n%1: int32 = identity(x=%0)").main.outputs] == ["1"]


def test_a_name_in_quotes_is_the_same_name() -> None:
    assert repr(only('inputs %"x": fp16[4]\n%y: fp16[4] = relu(x=%x)')) == "%y: fp16[4] = relu(x=%x)"
    assert repr(only('inputs %x: fp16[4]\n%y: fp16[4] = relu(x=%"x")')) == "%y: fp16[4] = relu(x=%x)"


# Blocks and scopes

LOOP: Final = """\
%r: fp16[4] = while_loop(loop_vars=%x) block(%x: fp16[4])[hot=true] {
  %y: fp16[4] = add(x=%x, y=%^x)
  %z: fp16[4] = cond(pred=%y) block {
    %x: fp16[4] = add(x=%x, y=%^x)
    return %x, %^x, %^^x
  }
  return %z
} block {
  return
}"""


def test_nested_blocks_come_back() -> None:
    op = only(f"inputs %x: fp16[4]\n{LOOP}")
    assert repr(op).replace(" unnamed", "") == LOOP
    outer = op["loop_vars"]
    (first, second) = op.blocks
    assert first.attributes == {"hot": Const.of(True)}
    assert second.outputs == ()
    add, cond = first
    assert add["x"] is first.inputs[0]
    assert add["y"] is outer
    inner = cond.blocks[0]
    assert inner.first is not None
    assert inner.first["x"] is first.inputs[0]  # not defined yet: the x of the block around it
    assert inner.first["y"] is outer
    assert list(inner.outputs) == [inner.first.output, first.inputs[0], outer]


def test_sibling_blocks_may_use_the_same_names() -> None:
    text = "%r: int32 = cond() block {\n  %a: int32 = const(1)\n  return %a\n} block {\n  %a: int32 = const(2)\n  return %a\n}"
    assert repr(only(text)) == text


def test_a_nested_value_is_not_visible_outside() -> None:
    error = error_of(parse_fragment, "%r: int32 = cond() block {\n  %a: int32 = const(1)\n  return %a\n}\n%s: int32 = relu(x=%a)")
    assert str(error).startswith("5:20: %a is not defined here")


def test_an_op_does_not_see_its_own_outputs_in_its_blocks() -> None:
    assert "%r is not defined here" in str(error_of(parse_fragment, "%r: int32 = cond() block {\n  return %r\n}"))


def test_a_value_used_out_of_scope_is_marked_and_refused() -> None:
    stray = Op("relu", {}, [("stray", HALF4)])
    text = to_text(program_of(Op("relu", {"x": stray.output}, [("y", HALF4)]))).text
    assert "relu(x=%?stray)" in text
    assert "used outside of where it is defined" in str(error_of(parse, text))


def test_a_block_by_itself_shows_outer_values_by_their_names() -> None:
    op = only(f"inputs %x: fp16[4]\n{LOOP}")
    assert "add(x=%x, y=%^x)" in print_block(op.blocks[0])
    outer = op["loop_vars"]
    assert isinstance(outer, Value)
    again = parse_block(print_block(op.blocks[0]), [outer])
    assert first_difference(again, op.blocks[0]) is None
    assert again.first is not None
    assert again.first["y"] is outer


def test_a_block_that_cannot_be_parsed_leaves_no_uses() -> None:
    value = Block([("x", HALF4)]).inputs[0]
    error_of(lambda text: parse_block(text, [value]), "block {\n %y: fp16[4] = relu(x=%x)\n %y: fp16[4] = relu(x=%x)\n return\n}")
    assert not value.is_used


# Functions and programs


def test_a_function_comes_back() -> None:
    text = 'func "odd name"<CoreML8>(%x: fp16[4])[a=1] {\n  return %x\n}'
    assert print_function(parse_function(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "func f<CoreML8>()",
        "func f<CoreML8>() block CoreML7 {\n  return\n}",
        "func f<CoreML8>() block CoreML7[a=1] {\n  return\n} block CoreML8 {\n  return\n}",
        "func f<CoreML8>() block CoreML8(%x: fp16[4]) {\n  return %x\n}",
        "func f<CoreML8>() {\n  return\n}",
    ],
)
def test_specializations_come_back(text: str) -> None:
    assert print_function(parse_function(text)) == text


def test_specializations_do_not_see_one_another() -> None:
    text = "func f<CoreML8>() block CoreML7 {\n  %a: int32 = const(1)\n  return %a\n} block CoreML8 {\n  return %a\n}"
    assert str(error_of(parse_function, text)).startswith("5:10: %a is not defined here")


WHOLE: Final = """\
program spec_version 8 format_version 2 doc "d"
attribute buildInfo = dict<string, string>({"b": "1", "a": "2"})
metadata "k" = "v"

func a<CoreML7>() {
  return
}

func b<CoreML7>() {
  return
}

stage 0 spec_version 6 {
  func main<CoreML5>() {
    return
  }
}

stage 1/0 spec_version 7 doc "inner" {
  attribute x = 1

  func main<CoreML6>() {
    return
  }

  stage 2 spec_version 6 {
  }
}
"""


def test_a_program_with_stages_comes_back() -> None:
    program = parse(WHOLE)
    assert str(program) == WHOLE
    assert program.stages[(1, 0)].attributes == {"x": Const.of(1)}
    assert program.stages[(1, 0)].stages[(2,)].spec_version == 6
    assert (program.doc, program.format_version, program.metadata) == ("d", 2, {"k": "v"})


def test_the_order_of_maps_does_not_show() -> None:
    shuffled = Program(spec_version=8, format_version=2, doc="d")
    original = parse(WHOLE)
    for position in reversed(original.stages):
        shuffled.stages[position] = original.stages[position]
    for function in reversed(list(original.functions.values())):
        shuffled.add_function(function.clone())
    shuffled.attributes, shuffled.metadata = dict(original.attributes), dict(original.metadata)
    assert str(shuffled) == WHOLE


def test_a_comment_and_any_spacing_mean_nothing() -> None:
    text = "program // this one\nspec_version\t9 func main<CoreML8>(%x:fp16[ 4 ,?]){return%x}// end"
    assert str(parse(text)) == "program spec_version 9\n\nfunc main<CoreML8>(%x: fp16[4, ?]) {\n  return %x\n}\n"


# Fragments


def test_a_fragment_returns_what_its_last_op_yields() -> None:
    outputs = parse_fragment("%a: int32 = const(1)\n%b: int32, %c: int32 = made_up(x=%a)").main.outputs
    assert [value.name for value in outputs] == ["b", "c"]


def test_a_fragment_returns_what_it_says() -> None:
    outputs = parse_fragment("%a: int32 = const(1)\n%b: int32 = const(2)\nreturn %a, %a").main.outputs
    assert [value.name for value in outputs] == ["a", "a"]


def test_a_fragment_may_declare_inputs_on_several_lines_or_be_empty() -> None:
    assert [v.name for v in parse_fragment("inputs %x: fp16[4], %y: int32\ninputs %z: bool").main.inputs] == ["x", "y", "z"]
    assert parse_fragment("").main.outputs == ()


def test_a_fragment_is_a_program_for_its_opset() -> None:
    program = parse_fragment("%a: int32 = const(1)", opset="CoreML6")
    assert (program.spec_version, program.main.opset, list(program.main.specializations)) == (7, "CoreML6", ["CoreML6"])


def test_a_fragment_has_to_declare_what_it_uses() -> None:
    error = error_of(parse_fragment, "inputs %data: fp16[4]\n%y: fp16[4] = relu(x=%dat)")
    assert str(error) == "2:22: %dat is not defined here; did you mean %data?"


# Types


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (TensorType(FP16), "fp16"),
        (TensorType(FP16, (1, UNKNOWN, VARIADIC)), "fp16[1, ?, *]"),
        (TensorType(FP32, (), -1), "fp32[] rank -1"),
        (TensorType(FP32, (2,), 3), "fp32[2] rank 3"),
        (TensorType(FP32, (2,), None, (("a b", Const.of("x")), ("c", Const.of(1)))), 'fp32[2] {"a b" = "x", c = 1}'),
        (TensorType(INT8, (), 2, (("c", Const.of(1)),)), "int8[] rank 2 {c = 1}"),
        (ListType(TensorType(FP32, (4,)), UNKNOWN), "list<fp32[4], ?>"),
        (ListType(TensorType(FP32), 3), "list<fp32, 3>"),
        (TupleType([TensorType(FP32), TensorType(STRING)]), "tuple<fp32, string>"),
        (TupleType(), "tuple<>"),
        (DictionaryType(TensorType(STRING), TupleType([TensorType(BOOL)])), "dict<string, tuple<bool>>"),
        (StateType(TensorType(FP16, (1, 8))), "state<fp16[1, 8]>"),
    ],
    ids=str,
)
def test_a_type_reads_so_and_comes_back(kind: Type, text: str) -> None:
    assert print_type(kind) == text
    assert parse_type(text) is kind


# Literals

NAN: Final = np.array([0x7E00, 0x7E01, 0xFE00, 0x7C01], np.uint16).view(np.float16)


def _tensor(kind: TensorType, payload: bytes) -> Const:
    return Const(kind, PackedTensor(payload, kind.dtype, kind.static_shape))


@pytest.mark.parametrize(
    ("const", "text"),
    [
        (Const.of("same"), '"same"'),
        (Const.of('a"\\\n\t\r\x00é\u2028\ud800😀'), '"a\\"\\\\\\n\\t\\r\\u0000é\\u2028\\ud800😀"'),
        (Const.of(["a", ""]), '["a", ""]'),
        (Const.of(True), "true"),
        (Const.of([[True], [False]]), "[[true], [false]]"),
        (Const.of(-3), "-3"),
        (Const.of([1, 2]), "[1, 2]"),
        (Const.of([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        (Const.of([7]), "[7]"),
        (Const.of(0.1), "0.1"),
        (Const.of([1.0, 1e-7, 1e30]), "[1.0, 1e-07, 1e+30]"),
        (Const.of(float("nan")), "nan"),
        (Const.of([float("inf"), -float("inf")]), "[inf, -inf]"),
        (Const.of(0.1, FP16), "fp16(0.1)"),
        (Const.of(-0.0, FP16), "fp16(-0.0)"),
        (Const.of(65504, FP16), "fp16(65504.0)"),
        (Const.of(NAN), "fp16[4]([nan, nan:0x7e01, nan:0xfe00, nan:0x7c01])"),
        (Const.of(6e-8, FP16), "fp16(6e-08)"),
        (Const.of(5e-324, FP64), "fp64(5e-324)"),
        (Const.of(0.1, FP64), "fp64(0.1)"),
        (Const.of(np.array(0x7F800001, np.uint32).view(np.float32)), "nan:0x7f800001"),
        (Const.of(np.array(0xFFF8000000000001, np.uint64).view(np.float64)), "fp64(nan:0xfff8000000000001)"),
        (Const.of(np.array(0.1, ml_dtypes.bfloat16)), "bf16(0.1)"),
        (Const.of(np.array(0.1, ml_dtypes.float8_e4m3fn)), "fp8e4m3fn(0.1)"),
        (Const.of(np.array(448, ml_dtypes.float8_e4m3fn)), "fp8e4m3fn(448.0)"),
        (_tensor(TensorType(FP8E4M3FN, (2,)), b"\x7f\xff"), "fp8e4m3fn[2]([nan, nan:0xff])"),
        (_tensor(TensorType(FP8E5M2, (3,)), b"\x7c\xfd\x7e"), "fp8e5m2[3]([inf, nan:0xfd, nan])"),
        (_tensor(TensorType(BF16, (2,)), b"\x80\x7f\xc1\x7f"), "bf16[2]([inf, nan:0x7fc1])"),
        (Const.of(2**64 - 1, UINT64), "uint64(18446744073709551615)"),
        (Const.of(-(2**63), INT64), "int64(-9223372036854775808)"),
        (Const.of([-8, 7], INT4), "int4[2]([-8, 7])"),
        (Const.of([1, 0, 1], UINT1), "uint1[3]([1, 0, 1])"),
        (Const.of([[5], [7]], UINT3), "uint3[2, 1]([[5], [7]])"),
        (Const.of(63, UINT6), "uint6(63)"),
        (_tensor(TensorType(UINT4, (1,)), b"\xf3"), 'uint4[1](base64"8w==")'),
        (Const.of(np.zeros((0,), np.int32)), "int32[0]([])"),
        (Const.of(np.zeros((3, 0, 2), np.float16)), "fp16[3, 0, 2]([])"),
        (Const(TensorType(STRING, (0,)), ArrayTensor(np.empty(0, object), STRING)), "string[0]([])"),
        (Const.of([[[1]]], INT8), "int8[1, 1, 1]([[[1]]])"),
        (Const.of(3).with_doc("three"), '3 doc "three"'),
        (Const.tuple_of([Const.of(1), Const.of("a")]), 'tuple<int32, string>(1, "a")'),
        (Const.tuple_of([Const.of(1)]), "tuple<int32>(1)"),
        (Const.tuple_of([]), "tuple<>()"),
        (Const.list_of([Const.of(1, FP16)], TensorType(FP16)), "list<fp16, 1>([1.0])"),
        (Const.list_of([Const.of(1)], TensorType(FP16)), "list<fp16, 1>([int32(1)])"),
        (Const.list_of([], TensorType(FP16), UNKNOWN), "list<fp16, ?>([])"),
        (Const.list_of([Const.of([1]).with_doc("d")], TensorType(INT32, (1,))), 'list<int32[1], 1>([[1] doc "d"])'),
        (Const(TupleType([TensorType(FP16)]), (Const.of(1, FP16), Const.of(2))), "tuple<fp16>(1.0, 2)"),
        (Const.dict_of([(Const.of("a"), Const.of(1))], TensorType(STRING), TensorType(INT32)), 'dict<string, int32>({"a": 1})'),
        (Const.dict_of([], TensorType(STRING), TensorType(INT32)), "dict<string, int32>({})"),
        (Const(TensorType(INT32, (2,), -1), Const.of([1, 2]).tensor), "int32[2] rank -1(int32[2]([1, 2]))"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_literal_reads_so_and_comes_back(const: Const, text: str) -> None:
    assert print_const(const) == text
    assert parse_const(text) == const


@pytest.mark.parametrize(
    ("text", "same"),
    [("fp16(1)", "fp16(1.0)"), ("fp16(0.33333333)", "fp16(0.3333)"), ("[0.5, 1]", "[0.5, 1.0]"), ("bf16(1.5e0)", "bf16(1.5)")],
)
def test_other_ways_to_write_a_float(text: str, same: str) -> None:
    assert print_const(parse_const(text)) == same


def test_a_literal_prints_alike_wherever_it_is_stored(tmp_path: Path) -> None:
    array = np.array([1, 2, 3], np.uint8)
    packed = PackedTensor(b"\x01\x02\x03", ArrayTensor(array).dtype, (3,))
    assert print_const(Const.of(packed)) == print_const(Const.of(array))


# Resources


def test_large_and_mapped_tensors_are_resources_named_after_their_value(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(bytes(8))
    mapped = MappedTensor(MappedFile(tmp_path / "w"), 0, FP16, (4,))
    large = ArrayTensor(np.zeros(33, np.float16))
    small = ArrayTensor(np.zeros(32, np.float16))
    const = Op("const", {}, [("w", HALF4)], named("w", val=Const.of(mapped)))
    lut = Op("lut", {"a": Const.of(large), "b": Const.of(small)}, [("y", HALF4)], named("y", lut=Const.of(ArrayTensor(np.ones(40)))))
    printed = to_text(program_of(const, lut))
    assert "%w: fp16[4] = const(@w)\n" in printed.text
    assert "lut(a=fp16[33](@y.a), b=fp16[32]([0.0, " in printed.text
    assert printed.text.count("@") == 3
    assert "[lut=fp64[40](@y.lut)]" in printed.text
    assert printed.resources["w"] is mapped
    assert printed.resources["y.a"] is large


def test_one_tensor_has_one_name_and_comes_back_as_one_object() -> None:
    tensor = ArrayTensor(np.zeros(64, np.float16))
    ops = [Op("const", {}, [(name, TensorType(FP16, (64,)))], named(name, val=Const.of(tensor))) for name in ("a", "b")]
    printed = to_text(program_of(*ops))
    assert printed.text.count("const(@a)") == 2
    values = [op.attributes["val"].tensor for op in parse(printed.text, printed.resources).ops("const")]
    assert values == [tensor, tensor]


def test_two_tensors_of_values_with_one_name_have_two_names() -> None:
    kind = TensorType(FP16, (64,))
    functions = []
    for number in range(3):
        block = Block()
        block.append(Op("const", {}, [("w", kind)], {"val": Const.of(np.full(64, number, np.float16))}))
        function = Function(f"f{number}", (), "CoreML8")
        function.add_block("CoreML8", block)
        functions.append(function)
    printed = to_text(Program(functions))
    assert list(printed.resources) == ["w", "w.2", "w.3"]
    assert first_difference(parse(printed.text, printed.resources), Program([f.clone() for f in functions])) is None


def test_missing_resources_are_all_named() -> None:
    text = "%a: fp16[40] = const(@a)\n%b: fp16[40] = const(@b)\n%c: fp16[40] = const(@\"odd one\")"
    error = error_of(lambda t: parse_fragment(t, {"b": ArrayTensor(np.zeros(40, np.float16))}), text)
    assert str(error) == "1:22: no tensor was given for a, odd one: pass them as resources"


def test_a_resource_of_another_type_or_shape_is_refused() -> None:
    error = error_of(lambda t: parse_fragment(t, {"w": ArrayTensor(np.zeros((4, 10), np.float16))}), "%w: fp16[40] = const(@w)")
    assert str(error) == "1:22: the resource w is fp16[4, 10], but fp16[40] is due"


def test_a_self_contained_text_holds_the_bytes() -> None:
    fragment = parse_fragment("%w: uint3[40] = const(@w)\n%s: string[33] = const(@s)", {
        "w": ArrayTensor(np.arange(40, dtype=np.uint8) % 8, UINT3),
        "s": ArrayTensor(np.full(33, "é", object), STRING),
    })  # fmt: skip
    printed = to_text(fragment, inline=True)
    assert not printed.resources
    assert 'base64"' in printed.text
    assert first_difference(parse(printed.text), fragment) is None


def test_printing_reads_no_weights() -> None:
    class Unreadable(PackedTensor):
        def payload(self) -> memoryview:
            raise AssertionError("the payload was read")

    op = Op("const", {}, [("w", TensorType(FP16, (64,)))], named("w", val=Const.of(Unreadable(bytes(128), FP16, (64,)))))
    assert repr(op) == "%w: fp16[64] = const(@w)"


# Errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%y fp16[4] = relu()", "1:4: expected : and a type after %y, but there is fp16[4]"),
        ("%y: half = relu()", "1:5: expected a type, like fp16[1, 3] or list<int32, ?>, but there is half"),
        ("%y: fp16[4] relu()", "1:13: expected = after an op's outputs, but there is relu"),
        ("%y: fp16[4] = relu", "1:19: expected ( after the type of an op, but the text ends"),
        ("%y: fp16[4] = return()", "1:15: return has a meaning of its own here: as an op, like"),
        ("%y: fp16[4] = relu(x=%x", "1:22: %x is not defined here"),
        ("%y: fp16[4] = relu(x=1", "1:23: expected , or ) after an operand, but the text ends"),
        ("%y: fp16[4] = relu(x=1, x=2)", "1:25: the op has a parameter x already"),
        ("%y: fp16[4] = relu(x=1,)", "1:24: expected the name of a parameter, but there is )"),
        ("%y: fp16[4] = relu()[a=1, a=2]", "1:27: there is an attribute a already"),
        ("%y: fp16[4] = relu()[]", "1:22: expected the name of an attribute, but there is ]"),
        ("%y: fp16[4] = relu()[name=1] unnamed", "1:30: an op with an attribute name is not unnamed"),
        ("%y: int32 = const(1)\n%y: int32 = const(2)", "2:1: the name y is taken by const y"),
        ("%y: int32, %y: int32 = split()", "1:1: two outputs of split y have one name"),
        ("inputs %x: int32, %x: int32", "1:1: function main: two inputs are called x"),
        ("%y: int32 = cond() block(%a: int32, %a: int32) { return }", "1:25: the block's inputs: two inputs are called a"),
        ("%y: int32 = cond() block { relu() }", "1:35: expected an op, like %y: fp16[4] = relu(x=%x), or return, but there is }"),
        ("return %^x", "1:8: %^x is not defined here"),
        ("inputs %x: int32\nreturn %^x", "2:8: %^x names a value behind 1 others of the name, but there are no more than 1"),
        ("return %x extra", "1:8: %x is not defined here"),
        ("return extra", "1:8: expected the end of the text after the fragment, but there is extra"),
        ("%y: fp16[a] = relu()", "1:9: expected = after an op's outputs, but there is ["),
        ("%y: fp16[1 2] = relu()", "1:5: a dimension is a number, ? or *, not '1 2'"),
        ("%y: list<int32> = relu()", "1:15: expected , before the length of a list, which is a number or ?, but there is >"),
        ('%y: string = const("abc)', "1:20: the string does not end on its line"),
        ('%y: string = const("a\\q")', "1:20: the string does not end on its line, or has an escape that there is not"),
        ('%y: string = const("\\U00110000")', "1:20: the string does not end on its line, or has an escape that there is not"),
        ("%y: int8 = const(128)", "1:18: 128 does not fit int8, which goes from -128 to 127"),
        ("%y: uint3 = const(-1)", "1:19: -1 does not fit uint3, which goes from 0 to 7"),
        ("%y: int32 = const(1.0)", "1:19: expected an element of int32, but there is 1.0"),
        ("%y: bool = const(1)", "1:18: expected an element of bool, but there is 1"),
        ("%y: fp16 = const(70000)", "1:18: 70000 is no fp16"),
        ("%y: fp32 = const(1e400)", "1:18: 1e400 is no fp32"),
        ("%y: fp8e4m3fn = const(inf)", "1:23: inf is no fp8e4m3fn"),
        ("%y: fp16 = const(nan:0x3c00)", "1:18: nan:0x3c00 is no fp16"),
        ("%y: fp16 = const(nan:0x17e00)", "1:18: nan:0x17e00 is no fp16"),
        ("%y: int32[2] = const(1)", "1:22: expected [ and 2 elements along dimension 0 of [2], but there is 1"),
        ("%y: int32[2] = const([1])", "1:22: 2 elements are due along dimension 0 of [2], 1 are written"),
        ("%y: int32[2, 1] = const([[1], [2, 3]])", "1:31: 1 elements are due along dimension 1 of [2, 1], 2 are written"),
        ("%y: int32[2] = const([])", "1:23: expected an element, but there is ]"),
        ("%y: int32[0] = const([1])", "1:23: expected ] at the end of the empty int32[0]"),
        ("%y: int32[?] = const([1])", "1:22: a literal of type int32[?] has no shape of its own"),
        ("%y: int32[1000000000000] = const([1])", "1:34: 1000000000000 elements are due along dimension 0"),
        ("%y: int32[99999999999, 99999999999, 0] = const([])", "no array can have the shape"),
        ("%y: int32 = relu(x=[1, [2]])", "1:25: expected , or ] after an element, but there is 2"),
        ("%y: int32 = relu(x=[[1], 2])", "1:26: expected [ and 1 elements along dimension 1"),
        ("%y: int32 = relu(x=[])", "1:20: the element type of [] cannot be told: write it like int32[0]([])"),
        ("%y: int32 = relu(x=[1, 2", "1:25: expected , or ] after an element, but the text ends"),
        ('%y: int32 = relu(x=[1, "a"])', "1:24: expected an element of int32, but there is \"a\""),
        ("%y: int32 = relu(x=3000000000)", "1:20: 3000000000 does not fit int32"),
        ('%y: int8[4] = const(base64"AAA=")', "1:27: int8[4] takes 4 bytes, 2 are written"),
        ('%y: int8[4] = const(base64"A")', "1:27: this is no base64"),
        ('%y: string[1] = const(base64"AAAA")', "1:29: strings are not written as bytes"),
        ("%y: int32 = relu(x=state<int32>(1))", "1:33: there are no literals of type state<int32>"),
        ("%y: int32 = relu(x=list<int32, 1>(1))", "1:35: expected [ at the start of a literal of type list<int32, 1>"),
        ("%y: int32 = relu(x=dict<int32, int32>({1 2}))", "1:42: expected : between a key and its value, but there is 2"),
        ("%y: int32 = relu(x=@w)", "1:20: expected a literal, but there is @w"),
        (f"%y: int32[{'9' * 41}] = relu()", "1:5: a dimension is a number"),
        (f"%y: list<int32, {'9' * 5000}> = relu()", "1:17: expected the length of a list"),
        ("\n\n   %é", "3:4: expected %name: type among an op's outputs, but there is %"),
    ],
)  # fmt: skip
def test_an_error_says_what_was_found_where(text: str, message: str) -> None:
    assert message in str(error_of(parse_fragment, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: expected program at the start (parse_fragment reads bare ops"),
        ("program spec_version nine", "1:22: expected a number as the specification version, but there is nine"),
        ("program spec_version 9 spec_version 9", "1:24: spec_version is said twice"),
        ("program relu()", "1:9: expected attribute, metadata, func or stage, but there is relu"),
        ("program func f<A>() func f<A>()", "1:26: the program has a function f already"),
        ("program func f<A>() block A { return } block A { return }", "1:46: function f has a block for A already"),
        ("program attribute a = 1 attribute a = 2", "1:35: the program has an attribute a already"),
        ('program metadata "a" = "1" metadata "a" = "2"', "1:37: the program has metadata 'a' already"),
        ("program stage 0 { } stage 0 { }", "1:27: there is a stage 0 already"),
        ("program stage 0 {", "1:18: expected attribute, metadata, func or stage, but the text ends"),
    ],
)
def test_an_error_in_a_program_says_what_was_found_where(text: str, message: str) -> None:
    assert message in str(error_of(parse, text))


DEEP: Final = 5000


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_type, "list<" * DEEP),
        (parse_type, "tuple<" * DEEP),
        (parse_type, "fp16[1] {a = fp16[1] {a = " * DEEP),
        (parse_const, "tuple<tuple<int32>>(" * DEEP),
        (parse_const, "[" * DEEP),
        (parse_const, "[" * DEEP + "1" + "]" * DEEP),
        (parse_const, f"int32[{'1, ' * DEEP}1](" + "[" * DEEP),
        (parse_fragment, "cond() block { " * DEEP),
        (parse, "program " + "stage 0 { " * DEEP),
    ],
)
def test_deep_nesting_is_an_error(read: Callable[[str], object], text: str) -> None:
    assert isinstance(error_of(read, text), ParseError)


def _nested(levels: int) -> Program:
    block = Block()
    for _ in range(levels):
        outer = Block()
        outer.append(Op("cond", {}, [], {}, [block]))
        block = outer
    function = Function("main", (), "CoreML8")
    function.add_block("CoreML8", block)
    return Program([function])


def test_the_deepest_text_that_is_printed_is_parsed() -> None:
    program = _nested(99)
    assert first_difference(parse(to_text(program).text), program) is None


def test_what_nests_deeper_is_not_printed() -> None:
    with pytest.raises(MLPassesError, match="nest deeper than 100 levels"):
        to_text(_nested(100))


def test_types_and_literals_are_parsed_as_deep_as_they_are_printed() -> None:
    kind: Type = TensorType(INT32)
    const = Const.of(1)
    for _ in range(100):
        kind, const = ListType(kind, 1), Const.tuple_of([const])
    assert parse_type(print_type(kind)) is kind
    with pytest.raises(MLPassesError, match="nest deeper"):
        print_type(ListType(kind, 1))
    with pytest.raises(MLPassesError, match="nest deeper"):
        print_const(Const.tuple_of([const]))


MANY: Final = 200_000


@pytest.mark.parametrize(
    "text",
    [
        " " * MANY, "//" * MANY, '\\"' * MANY, '"' * MANY, '%"\\' * MANY, "fp16[1," * MANY, "fp16[" + "1," * MANY, "nan:0x" * MANY,
        "1" * MANY, "-" * MANY, "@" * MANY, "%^" * MANY, "1e" * MANY, "%y: int32 = relu(x=[" + "1," * MANY, "\n" * MANY + '"',
    ],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    """A quadratic step would take minutes here."""
    for read in (parse_fragment, parse_const):
        with suppress(ParseError):
            read(text)


# Parts of programs in messages


def test_the_neighbourhood_of_an_op_points_at_it() -> None:
    text = "\n".join(["inputs %x: fp16[4]", *(f"%v{i}: fp16[4] = add(x=%x, y=fp16(1.0))" for i in range(9))])
    op = body(text)[4]
    assert print_neighbourhood(op, before=2, after=1) == (
        "in main<CoreML8>:\n"
        "    %v2: fp16[4] = add(x=%x, y=fp16(1.0))\n"
        "    %v3: fp16[4] = add(x=%x, y=fp16(1.0))\n"
        "--> %v4: fp16[4] = add(x=%x: fp16[4], y=fp16(1.0))\n"
        "    %v5: fp16[4] = add(x=%x, y=fp16(1.0))"
    )


def test_the_neighbourhood_names_the_blocks_around_and_leaves_nested_ones_out() -> None:
    op = only(f"inputs %x: fp16[4]\n{LOOP}").blocks[0].last
    assert op is not None
    assert print_neighbourhood(op) == (
        "in main<CoreML8>, block 0 of while_loop r:\n"
        "    %y: fp16[4] = add(x=%x, y=%x)\n"
        "--> %z: fp16[4] = cond(pred=%y: fp16[4])"
    )


def test_a_detached_op_has_a_neighbourhood() -> None:
    assert print_neighbourhood(Op("relu", {}, [("y", HALF4)])) == "--> %y: fp16[4] = relu() unnamed"
    assert print_op(Op("relu", {}, [("y", HALF4)])) == "%y: fp16[4] = relu() unnamed"


# The corpus


class NoWeights:
    """Stands for a weight file that is absent: tensors of the right type and shape that nobody reads."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.file = MappedFile(path)

    def tensor(self, offset: int, dtype: Any, shape: tuple[int, ...]) -> MappedTensor:
        return MappedTensor(self.file, offset, dtype, shape)


def _load(path: Path, scratch: Path) -> Program:
    if path.parent.name != "graph-only":
        return load_program(path)
    model = schema.new_model()
    model.ParseFromString(next(path.rglob("*.mlmodel")).read_bytes())
    absent: Any = NoWeights(scratch / "weight.bin")
    return lift_model(model, lambda name: absent)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
@pytest.mark.parametrize("path", sorted(CORPUS.rglob("*.mlpackage")), ids=lambda path: path.stem)
def test_a_real_program_is_parsed_back_from_its_text(path: Path, tmp_path: Path) -> None:
    try:
        program = _load(path, tmp_path)
    except UnsupportedModelError:
        pytest.skip("no ML Program")
    printed = to_text(program)
    back = parse(printed.text, printed.resources)
    assert first_difference(program, back) is None
    assert to_text(back) == printed
