"""Matching: what a pattern accepts and what it does not, side by side. A rule that matches turns its root into `tanh`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ir.const import Const
from ir.core import Op, Value
from ir.types import BF16, BOOL, FP16, FP32, INT8, INT32, STRING, UNKNOWN, DType, TensorType
from mlpasses.rewrite import Constant, Match, RewriteError, Rewriter, Rule, any_value, const, many, optional, p, rewrite, rule
from mlpasses.rewrite.match import Matcher
from mlpasses.rewrite.patterns import AnyValue, ConstPattern
from mlpasses.rewrite.values import equals, type_fits, value_fits
from tests.rewrite.checks import program_of

BINARY = """
inputs %x: fp16[4], %z: fp16[4]
%a: fp16[4] = relu(x=%x)
%b: fp16[4] = exp(x=%z)
"""


def matches(pattern: Any, text: str, root: str = "y", opset: str = "CoreML8", commutes: bool = False) -> list[Match]:
    """All matches of a pattern with the op of this name as its root."""
    made = ruled(pattern, commutes)
    program = program_of(text, opset)
    op = next(op for op in program.ops() if op.outputs and op.outputs[0].name == root)
    return [match for each in made.roots for match in Matcher().matches(each, op, made.info)]


def ruled(pattern: Any, commutes: bool = False) -> Rule:
    @rule(pattern, commutes=commutes)
    def some(m: Match, rw: Rewriter) -> None: ...

    return some


def one(pattern: Any, text: str, **options: Any) -> Match:
    found = matches(pattern, text, **options)
    assert len(found) == 1
    return found[0]


def name_of(found: Any) -> str:
    assert isinstance(found, Value)
    return found.name


class TestCaptures:
    def test_a_name_captures_any_operand(self) -> None:
        m = one(p.add(x="l", y="r"), BINARY + "%y: fp16[4] = add(x=%a, y=fp16[4]([1, 2, 3, 4]))")
        assert name_of(m.l) == "a"
        assert isinstance(m.r, Const)

    def test_the_same_name_twice_is_the_same_value(self) -> None:
        pattern = p.add(x="v", y="v")
        assert matches(pattern, BINARY + "%y: fp16[4] = add(x=%a, y=%a)")
        assert not matches(pattern, BINARY + "%y: fp16[4] = add(x=%a, y=%b)")

    def test_the_same_name_twice_may_be_equal_constants(self) -> None:
        consts = "%c: fp16[1] = const([{}])\n%d: fp16[1] = const([{}])\n%y: fp16[1] = add(x=%c, y=%d)"
        assert matches(p.add(x="v", y="v"), consts.format(0.5, 0.5))
        assert not matches(p.add(x="v", y="v"), consts.format(0.5, 0.25))

    def test_an_underscore_captures_nothing_and_may_differ(self) -> None:
        assert matches(p.add(x="_", y="_"), BINARY + "%y: fp16[4] = add(x=%a, y=%b)")

    def test_an_unknown_capture_is_an_error_that_lists_the_known_ones(self) -> None:
        m = one(p.relu(x="x"), "inputs %x: fp16[4]\n%y: fp16[4] = relu(x=%x)")
        with pytest.raises(AttributeError, match="the pattern captures x, and not 'bias'"):
            _ = m.bias

    def test_an_op_is_known_by_its_type_where_that_occurs_once(self) -> None:
        m = one(p.add(x=p.relu(x="l"), y=p.exp(x="r")), BINARY + "%y: fp16[4] = add(x=%a, y=%b)")
        assert {label: op.op_type for label, op in m.ops.items()} == {"add": "add", "relu": "relu", "exp": "exp"}
        assert m.root is m.ops["add"]
        assert [op.op_type for op in m.matched] == ["add", "relu", "exp"]

    def test_an_op_is_known_by_its_label(self) -> None:
        m = one(p.relu(x=p.relu(x="x").named("inner")), "inputs %x: fp16[4]\n%a: fp16[4] = relu(x=%x)\n%y: fp16[4] = relu(x=%a)")
        assert m.ops["inner"].output.name == "a"
        assert "relu" not in m.ops

    def test_a_label_twice_is_the_same_op(self) -> None:
        inner = p.any_of("relu", "exp")(x="_").named("d")
        assert matches(p.mul(x=inner, y=p.sigmoid(x=inner)), BINARY + "%s: fp16[4] = sigmoid(x=%a)\n%y: fp16[4] = mul(x=%a, y=%s)")
        assert not matches(p.mul(x=inner, y=p.sigmoid(x=inner)), BINARY + "%s: fp16[4] = sigmoid(x=%b)\n%y: fp16[4] = mul(x=%a, y=%s)")

    def test_many_captures_all_operands_of_a_variadic_parameter(self) -> None:
        text = BINARY + "%y: fp16[12] = concat(values=(%a, %b, %x), axis=0, interleave=false)"
        assert [name_of(each) for each in one(p.concat(values=many("parts"), axis=0), text).parts] == ["a", "b", "x"]

    def test_a_list_matches_so_many_operands(self) -> None:
        text = BINARY + "%y: fp16[8] = concat(values=(%a, %b), axis=0, interleave=false)"
        assert name_of(one(p.concat(values=["l", p.exp(x="_")], axis=0), text).l) == "a"
        assert not matches(p.concat(values=["l", p.relu(x="_")], axis=0), text)
        assert not matches(p.concat(values=["l", "m", "r"], axis=0), text)


class TestConstants:
    LINEAR = """
        inputs %x: fp16[2, 2]
        %b: fp16[2] = const([1, 2])
        %y: fp16[2, 2] = linear(x=%x, weight=fp16[2, 2]([[1, 2], [3, 4]]), bias={})
        """

    def test_const_is_a_const_op_or_a_literal_and_no_computed_value(self) -> None:
        pattern = p.linear(x="x", weight="w", bias=const("b"))
        for bias in ("%b", "fp16[2]([1, 2])"):
            captured = one(pattern, self.LINEAR.format(bias)).b
            assert isinstance(captured, Constant)
            np.testing.assert_array_equal(captured.numpy(), [1, 2])
        text = "inputs %x: fp16[4], %z: fp16[4]\n%y: fp16[4] = add(x=%x, y=%z)"
        assert not matches(p.add(x="x", y=const("c")), text)

    def test_a_captured_constant_has_the_name_of_its_value_or_of_its_parameter(self) -> None:
        pattern = p.linear(x="x", weight=const("w"), bias=const("b"))
        m = one(pattern, self.LINEAR.format("%b"))
        assert (m.b.name, m.w.name, m.b.type) == ("b", "weight", TensorType(FP16, (2,)))

    def test_a_number_is_a_constant_of_that_value(self) -> None:
        text = "inputs %x: fp16[4]\n%y: fp16[4] = mul(x=%x, y=fp16({}))"
        assert matches(p.mul(x="x", y=0.5), text.format(0.5))
        assert not matches(p.mul(x="x", y=0.5), text.format(0.25))

    @pytest.mark.parametrize(
        ("wanted", "value", "dtype", "fits"),
        [
            (1, 1.0, FP16, True), (1.0, 1, INT32, True), (True, 1, INT32, False), (1, True, BOOL, False), (True, True, BOOL, True),
            (0.1, 0.1, FP16, True), (0.1, 0.1, BF16, True), (0.1, 0.1001, FP16, False), (0.5, 0, INT32, False), (0, -0.0, FP32, True),
            (1e6, float("inf"), FP16, False), (float("inf"), float("inf"), FP16, True), (3, 3, INT8, True), (300, 44, INT8, False),
            ("a", "a", STRING, True), ("a", "b", STRING, False), ("1", 1, INT32, False), (1, [[1]], INT32, True), (1, [1, 1], INT32, False),
            ((1, 2), [1, 2], INT32, True), ((1, 2), [[1, 2]], INT32, False), ((1, 2), [2, 1], INT32, False), ((), [], INT32, True),
            (2**40, 2**40, INT32, False),
        ],
    )  # fmt: skip
    def test_values_are_compared_after_rounding_and_by_kind(self, wanted: Any, value: Any, dtype: DType, fits: bool) -> None:
        if dtype is INT32 and np.max(value, initial=0) > 2**31:
            value = 0
        assert equals(Const.of(value, dtype), wanted) is fits

    def test_a_tolerance_is_relative(self) -> None:
        assert equals(Const.of(0.0447, FP32), 0.044715, rtol=1e-3)
        assert not equals(Const.of(0.0446, FP32), 0.044715, rtol=1e-3)

    def test_filled_wants_each_element_and_any_shape(self) -> None:
        assert value_fits(ConstPattern(filled=1.0), Const.of(np.ones((2, 3), np.float16)))
        assert not value_fits(ConstPattern(filled=1.0), Const.of(np.array([1, 2], np.float16)))
        assert not value_fits(ConstPattern(filled=1.0), Const.of(np.ones(0, np.float16)))

    def test_scalar_wants_one_element(self) -> None:
        assert value_fits(ConstPattern(scalar=True), Const.of(np.ones((1, 1), np.float16)))
        assert not value_fits(ConstPattern(scalar=True), Const.of(np.ones(2, np.float16)))


class TestTypes:
    @pytest.mark.parametrize(
        ("pattern", "kind", "fits"),
        [
            (any_value(dtype=FP16), TensorType(FP16, (1,)), True), (any_value(dtype=FP16), TensorType(FP32, (1,)), False),
            (any_value(dtype=("fp16", "fp32")), TensorType(FP32), True), (any_value(rank=1), TensorType(FP16, (UNKNOWN,)), True),
            (any_value(rank=2), TensorType(FP16, (1,)), False), (any_value(rank=2), TensorType(FP16, (), -1), False),
            (any_value(shape=(1, None)), TensorType(FP16, (1, UNKNOWN)), True),
            (any_value(shape=(1, 2)), TensorType(FP16, (1, UNKNOWN)), False),
            (any_value(shape=(1,)), TensorType(FP16, (1, 1)), False),
        ],
    )  # fmt: skip
    def test_a_type_is_what_the_pattern_restricts_it_to(self, pattern: AnyValue, kind: TensorType, fits: bool) -> None:
        assert type_fits(pattern, kind) is fits


class TestParameters:
    LINEAR = "inputs %x: fp16[2, 2]\n%y: fp16[2, 2] = linear(x=%x, weight=fp16[2, 2]([[1, 2], [3, 4]]){})"

    def test_what_is_not_mentioned_has_to_be_absent(self) -> None:
        pattern = p.linear(x="x", weight="w")
        assert matches(pattern, self.LINEAR.format(""))
        assert not matches(pattern, self.LINEAR.format(", bias=fp16[2]([1, 2])"))

    def test_an_ellipsis_leaves_the_others_free(self) -> None:
        assert matches(p.linear(..., x="x"), self.LINEAR.format(", bias=fp16[2]([1, 2])"))

    def test_none_wants_it_absent_beside_an_ellipsis(self) -> None:
        assert matches(p.linear(..., bias=None), self.LINEAR.format(""))
        assert not matches(p.linear(..., bias=None), self.LINEAR.format(", bias=fp16[2]([1, 2])"))

    def test_a_default_that_is_spelled_out_is_no_more_than_an_absent_one(self) -> None:
        matmul = "inputs %x: fp16[2, 2], %z: fp16[2, 2]\n%y: fp16[2, 2] = matmul(x=%x, y=%z{})"
        pattern = p.matmul(x="x", y="z")
        assert matches(pattern, matmul.format(""))
        assert matches(pattern, matmul.format(", transpose_x=false, transpose_y=false"))
        assert not matches(pattern, matmul.format(", transpose_x=true"))

    def test_an_absent_parameter_stands_for_its_default(self) -> None:
        softmax = "inputs %x: fp16[2, 2]\n%y: fp16[2, 2] = softmax(x=%x{})"
        assert matches(p.softmax(x="x", axis=-1), softmax.format(""))
        assert not matches(p.softmax(x="x", axis=0), softmax.format(""))
        assert one(p.softmax(x="x", axis=const("axis")), softmax.format("")).axis.item() == -1

    def test_a_default_has_the_element_type_of_what_it_goes_with(self) -> None:
        m = one(p.rsqrt(x="x", epsilon="eps"), "inputs %x: fp16[2]\n%y: fp16[2] = rsqrt(x=%x)")
        assert m.eps.type is TensorType(FP16)

    def test_a_default_that_depends_on_the_rank_is_known(self) -> None:
        conv = "inputs %x: fp16[1, 2, 4, 4]\n%y: fp16[1, 2, 4, 4] = conv(x=%x, weight=fp16[2, 2, 1, 1]([[[[1]], [[1]]], [[[1]], [[1]]]]){})"
        assert matches(p.conv(x="x", weight="w"), conv.format(", strides=int32[2]([1, 1])"))
        assert one(p.conv(..., strides=const("s")), conv.format("")).s.numpy().tolist() == [1, 1]

    def test_an_optional_parameter_without_a_default_is_captured_as_none(self) -> None:
        pattern = p.linear(x="x", weight="w", bias=optional(const("b")))
        assert one(pattern, self.LINEAR.format("")).b is None
        assert one(pattern, self.LINEAR.format(", bias=fp16[2]([1, 2])")).b.numpy().tolist() == [1, 2]

    def test_a_parameter_without_a_default_has_to_be_there(self) -> None:
        assert not matches(p.linear(x="x", weight="w", bias="b"), self.LINEAR.format(""))

    def test_parameters_that_are_attributes_in_an_older_form_match_too(self) -> None:
        text = (
            "%y: fp16[2] = constexpr_affine_dequantize()"
            "[quantized_data=uint8[2]([1, 2]), zero_point=uint8(0), scale=fp16(0.5), axis=0]"
        )
        pattern = p.constexpr_affine_dequantize(quantized_data=const("q"), zero_point=0, scale=const("s"), axis=const("axis"))
        assert one(pattern, text, opset="CoreML6").q.numpy().tolist() == [1, 2]
        assert not matches(p.constexpr_affine_dequantize(quantized_data="q", scale="s", axis="a"), text, opset="CoreML6")

    def test_an_op_without_a_row_is_matched_by_what_it_has(self) -> None:
        text = "inputs %x: fp16[4]\n%y: fp16[4] = custom(q=%x, k=%x)"
        assert matches(p.op("custom", q="q", k="k"), text)
        assert not matches(p.op("custom", q="q"), text)


class TestStructure:
    def test_any_of_several_types(self) -> None:
        pattern = p.any_of("relu", "exp")(x="x")
        assert matches(pattern, BINARY, root="a")
        assert matches(pattern, BINARY, root="b")
        assert not matches(pattern, "inputs %x: fp16[4]\n%y: fp16[4] = abs(x=%x)")

    def test_alternatives_are_tried_in_order_and_leave_the_captures_of_others_none(self) -> None:
        pattern = p.sigmoid(x=p.one_of(p.relu(x="r"), p.exp(x="e")))
        m = one(pattern, BINARY + "%y: fp16[4] = sigmoid(x=%b)")
        assert m.r is None
        assert name_of(m.e) == "z"

    def test_alternatives_at_the_root(self) -> None:
        assert matches(p.one_of(p.relu(x="x"), p.exp(x="x")), BINARY, root="b")

    def test_a_result_is_the_only_one_unless_said(self) -> None:
        text = "inputs %x: fp16[4]\n%p: fp16[2], %q: fp16[2] = split(x=%x, num_splits=2, axis=0)\n%y: fp16[2] = relu(x=%q)"
        assert matches(p.relu(x=p.split(..., x="x").out(1)), text)
        assert not matches(p.relu(x=p.split(..., x="x").out(0)), text)
        assert not matches(p.relu(x=p.split(..., x="x")), text)

    def test_two_results_of_one_op(self) -> None:
        text = "inputs %x: fp16[4]\n%p: fp16[2], %q: fp16[2] = split(x=%x, num_splits=2, axis=0)\n%y: fp16[2] = add(x=%{}, y=%{})"
        split = p.split(..., x="x").named("s")
        pattern = p.add(x=split.out(0), y=split.out(1))
        assert matches(pattern, text.format("p", "q"))
        assert not matches(pattern, text.format("q", "p"))
        assert matches(pattern, text.format("q", "p"), commutes=True)

    def test_an_intermediate_value_may_not_be_used_elsewhere(self) -> None:
        text = BINARY + "%y: fp16[4] = sigmoid(x=%a)\n%u: fp16[4] = abs(x=%a)\nreturn %y, %u"
        assert not matches(p.sigmoid(x=p.relu(x="x")), text)
        assert matches(p.sigmoid(x=p.relu(x="x").shared()), text)

    def test_an_intermediate_value_may_not_be_returned(self) -> None:
        text = BINARY + "%y: fp16[4] = sigmoid(x=%a)\nreturn %y, %a"
        assert not matches(p.sigmoid(x=p.relu(x="x")), text)
        assert matches(p.sigmoid(x=p.relu(x="x").shared()), text)

    def test_an_intermediate_value_may_be_used_twice_inside_the_match(self) -> None:
        silu = p.mul(x=p.relu(x="x").named("r"), y=p.sigmoid(x=p.relu(x="x").named("r")))
        assert matches(silu, BINARY + "%s: fp16[4] = sigmoid(x=%a)\n%y: fp16[4] = mul(x=%a, y=%s)")

    def test_an_op_that_is_shared_in_one_place_is_shared_in_all(self) -> None:
        relu = p.relu(x="x").named("r")
        text = BINARY + "%s: fp16[4] = sigmoid(x=%a)\n%y: fp16[4] = mul(x=%a, y=%s)\nreturn %y, %a"
        assert matches(p.mul(x=relu.shared(), y=p.sigmoid(x=relu)), text)
        assert not matches(p.mul(x=relu, y=p.sigmoid(x=relu)), text)

    def test_an_op_that_uses_a_state_is_matched_only_where_it_stays(self) -> None:
        text = "inputs %s: state<fp16[4]>\n%a: fp16[4] = read_state(input=%s)\n%y: fp16[4] = relu(x=%a)"
        assert not matches(p.relu(x=p.read_state(input="s")), text)
        assert matches(p.relu(x=p.read_state(input="s").shared()), text)

    def test_an_intermediate_op_stands_in_the_block_of_the_root(self) -> None:
        program = program_of(
            """
            inputs %x: fp16[4], %c: bool
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = cond(pred=%c) block {
              %t: fp16[4] = sigmoid(x=%a)
              return %t
            } block {
              %e: fp16[4] = abs(x=%x)
              return %e
            }
            """
        )
        root = next(program.ops("sigmoid"))
        made = ruled(p.sigmoid(x=p.relu(x="x")))
        assert not list(Matcher().matches(made.roots[0], root, made.info))


class TestCommutation:
    TEXT = BINARY + "%y: fp16[4] = add(x=%b, y=%a)"

    def test_operands_are_matched_in_their_order(self) -> None:
        assert not matches(p.add(x=p.relu(x="l"), y="r"), self.TEXT)

    def test_a_pattern_that_commutes_matches_in_either_order(self) -> None:
        assert name_of(one(p.add(x=p.relu(x="l"), y="r").commutes(), self.TEXT).r) == "b"

    def test_a_rule_that_commutes_does_so_in_all_its_commutative_ops(self) -> None:
        text = BINARY + "%m: fp16[4] = mul(x=%b, y=%a)\n%y: fp16[4] = add(x=%x, y=%m)"
        assert matches(p.add(x=p.mul(x=p.relu(x="l"), y="r"), y="z"), text, commutes=True)

    def test_other_ops_of_a_rule_that_commutes_do_not(self) -> None:
        text = BINARY + "%m: fp16[4] = sub(x=%b, y=%a)\n%y: fp16[4] = add(x=%x, y=%m)"
        assert not matches(p.add(x=p.sub(x=p.relu(x="l"), y="r"), y="z"), text, commutes=True)

    def test_every_order_is_offered(self) -> None:
        found = matches(p.add(x="l", y="r"), self.TEXT, commutes=True)
        assert [(name_of(m.l), name_of(m.r)) for m in found] == [("b", "a"), ("a", "b")]

    def test_equal_operands_are_offered_once(self) -> None:
        assert len(matches(p.add(x="l", y="r"), BINARY + "%y: fp16[4] = add(x=%a, y=%a)", commutes=True)) == 1

    def test_the_order_whose_intermediate_is_used_elsewhere_is_passed_over(self) -> None:
        text = BINARY + "%c: fp16[4] = relu(x=%z)\n%y: fp16[4] = add(x=%a, y=%c)\n%u: fp16[4] = abs(x=%a)\nreturn %y, %u"
        m = one(p.add(x=p.relu(x="l"), y="r"), text, commutes=True)
        assert name_of(m.r) == "a"

    def test_a_rule_that_fails_on_one_order_is_offered_the_other(self) -> None:
        @rule(p.add(x="l", y="r"), commutes=True)
        def drop_left(m: Match, rw: Rewriter) -> Any:
            """add(z, r) → r"""
            return m.r if m.l.name == "a" else m.fail("{} is not a", m.l)

        program = program_of(self.TEXT)
        outcome = rewrite(program, [drop_left])
        assert outcome.rules["drop-left"].failed == {"{} is not a": 1}
        assert [v.name for v in program.main.outputs] == ["y"]
        assert {op.op_type for op in program.ops()} == {"relu", "exp"} - {"relu"}


def test_matching_changes_nothing() -> None:
    program = program_of(TestCommutation.TEXT)
    version = program.version
    uses = {value.name: value.uses for op in program.ops() for value in op.outputs}
    made = ruled(p.add(x=p.relu(x="l"), y="r"), commutes=True)
    assert list(Matcher().matches(made.roots[0], next(program.ops("add")), made.info))
    assert program.version == version
    assert {value.name: value.uses for op in program.ops() for value in op.outputs} == uses


def test_a_reason_is_worded_only_when_someone_asks() -> None:
    class Loud:
        said = 0

        def __format__(self, spec: str) -> str:
            Loud.said += 1
            return "loud"

    m = one(p.relu(x="x"), "inputs %x: fp16[4]\n%y: fp16[4] = relu(x=%x)")
    failure = m.fail("{} it is", Loud())
    assert Loud.said == 0
    assert str(failure) == "loud it is"


def test_a_badly_worded_reason_is_still_a_reason() -> None:
    m = one(p.relu(x="x"), "inputs %x: fp16[4]\n%y: fp16[4] = relu(x=%x)")
    assert str(m.fail("{} and {}", 1)) == "{} and {} (1,)"


def test_a_rule_that_asks_for_what_it_does_not_capture_is_reported_with_its_place() -> None:
    @rule(p.relu(x="x"))
    def wrong(m: Match, rw: Rewriter) -> Op:
        """relu(x) → ?"""
        return m.bias  # type: ignore[no-any-return]

    with pytest.raises(RewriteError, match=r"rule wrong failed at relu %y: AttributeError: the pattern captures x"):
        rewrite(program_of("inputs %x: fp16[4]\n%y: fp16[4] = relu(x=%x)"), [wrong])
