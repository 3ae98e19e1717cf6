"""`CommonSubexpressions`: equal ops are one; what differs in anything that counts is not."""

from __future__ import annotations

from time import perf_counter

import pytest

from ir.const import Const
from ir.core import Block, Function, Op, Program
from ir.text import parse_fragment
from ir.types import FP16, TensorType
from mlpasses.cleanup.cse import CommonSubexpressions
from mlpasses.context import Context
from mlpasses.manager import run
from tests.cleanup.check import check, fragment, interface, kinds, unchanged


class TestMerged:
    def test_an_op_of_equal_operands_goes(self) -> None:
        check(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %b: fp16[4] = exp(x=%x)
            %y: fp16[4] = add(x=%a, y=%b)
            return %y
            """,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %y: fp16[4] = add(x=%a, y=%a)
            return %y
            """,
        )

    def test_chains_merge_from_the_top(self) -> None:
        result = check(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %b: fp16[4] = exp(x=%x)
            %c: fp16[4] = relu(x=%a)
            %d: fp16[4] = relu(x=%b)
            %e: fp16[4] = tanh(x=%c)
            %f: fp16[4] = tanh(x=%d)
            %y: fp16[4] = sub(x=%e, y=%f)
            return %y
            """,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %c: fp16[4] = relu(x=%a)
            %e: fp16[4] = tanh(x=%c)
            %y: fp16[4] = sub(x=%e, y=%e)
            return %y
            """,
        )
        assert result.report.passes[0].changes == 3

    def test_constants_count_by_what_they_are(self) -> None:
        result = run(
            fragment(
                """
                inputs %x: fp16[2]
                %c: fp16[2] = const([1.0, 2.0])
                %d: fp16[2] = const([1.0, 2.0])
                %a: fp16[2] = mul(x=%x, y=%c)
                %b: fp16[2] = mul(x=%x, y=%d)
                %e: fp16[2] = mul(x=%x, y=fp16[2]([1.0, 2.0]))
                %y: fp16[2] = add(x=%a, y=%b)
                %z: fp16[2] = add(x=%y, y=%e)
                return %z
                """
            ),
            CommonSubexpressions(),
        )
        assert kinds(result.program) == ["mul", "add", "add"]

    def test_all_outputs_of_an_op_merge(self) -> None:
        check(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4]
            %a: fp16[2], %b: fp16[2] = split(x=%x, num_splits=2, axis=0)
            %c: fp16[2], %d: fp16[2] = split(x=%x, num_splits=2, axis=0)
            %e: fp16[2] = sub(x=%a, y=%d)
            %y: fp16[2] = sub(x=%e, y=%c)
            return %y
            """,
            """
            inputs %x: fp16[4]
            %a: fp16[2], %b: fp16[2] = split(x=%x, num_splits=2, axis=0)
            %e: fp16[2] = sub(x=%a, y=%b)
            %y: fp16[2] = sub(x=%e, y=%a)
            return %y
            """,
        )

    def test_a_nested_block_uses_what_was_computed_around_it(self) -> None:
        check(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4], %p: bool
            %a: fp16[4] = exp(x=%x)
            %y: fp16[4] = cond(pred=%p) block {
              %b: fp16[4] = exp(x=%x)
              %c: fp16[4] = relu(x=%b)
              return %c
            } block {
              %d: fp16[4] = relu(x=%a)
              return %d
            }
            return %y
            """,
            """
            inputs %x: fp16[4], %p: bool
            %a: fp16[4] = exp(x=%x)
            %y: fp16[4] = cond(pred=%p) block {
              %c: fp16[4] = relu(x=%a)
              return %c
            } block {
              %d: fp16[4] = relu(x=%a)
              return %d
            }
            return %y
            """,
        )

    def test_compressed_weights_merge(self) -> None:
        result = run(
            fragment(
                """
                inputs %x: fp16[2]
                %v: fp16[2] = constexpr_blockwise_shift_scale(data=int8[2]([1, 2]), scale=fp16[1]([0.5]))
                %w: fp16[2] = constexpr_blockwise_shift_scale(data=int8[2]([1, 2]), scale=fp16[1]([0.5]))
                %a: fp16[2] = add(x=%x, y=%v)
                %y: fp16[2] = mul(x=%a, y=%w)
                return %y
                """
            ),
            CommonSubexpressions(),
        )
        assert kinds(result.program) == ["constexpr_blockwise_shift_scale", "add", "mul"]


class TestKept:
    @pytest.mark.parametrize(
        "second",
        [
            "tanh(x=%x)",
            "exp(x=%z)",
            "exp(x=%x) [note=1]",
        ],
    )
    def test_another_op_type_operand_or_attribute_is_another_op(self, second: str) -> None:
        unchanged(
            CommonSubexpressions(),
            f"""
            inputs %x: fp16[4], %z: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %b: fp16[4] = {second}
            %y: fp16[4] = add(x=%a, y=%b)
            return %y
            """,
        )

    @pytest.mark.parametrize(("one", "other"), [("0.0", "-0.0"), ("1.0", "1.0009765625"), ("nan:0x7e00", "nan:0x7e01")])
    def test_constants_that_differ_in_a_bit_differ(self, one: str, other: str) -> None:
        unchanged(
            CommonSubexpressions(),
            f"""
            inputs %x: fp16[4]
            %c: fp16 = const({one})
            %d: fp16 = const({other})
            %a: fp16[4] = add(x=%x, y=%c)
            %b: fp16[4] = add(x=%x, y=%d)
            %y: fp16[4] = sub(x=%a, y=%b)
            return %y
            """,
        )

    def test_blocks_side_by_side_do_not_see_one_another(self) -> None:
        unchanged(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4], %p: bool
            %y: fp16[4] = cond(pred=%p) block {
              %a: fp16[4] = exp(x=%x)
              %b: fp16[4] = relu(x=%a)
              return %b
            } block {
              %c: fp16[4] = exp(x=%x)
              %d: fp16[4] = tanh(x=%c)
              return %d
            }
            %e: fp16[4] = exp(x=%x)
            %f: fp16[4] = add(x=%e, y=%y)
            return %f
            """,
        )

    def test_random_numbers_are_drawn_anew(self) -> None:
        program = fragment(
            """
            inputs %x: fp32[4]
            %a: fp32[4] = random_normal(shape=[4], mean=0.0, stddev=1.0, seed=1)
            %b: fp32[4] = random_normal(shape=[4], mean=0.0, stddev=1.0, seed=1)
            %c: fp32[4] = sub(x=%a, y=%b)
            %y: fp32[4] = add(x=%c, y=%x)
            return %y
            """
        )
        assert run(program, CommonSubexpressions()).report.passes[0].changes == 0

    def test_a_state_is_read_anew(self) -> None:
        program = fragment(
            """
            inputs %x: fp16[4], %s: state<fp16[4]>
            %a: fp16[4] = read_state(input=%s)
            write_state(input=%s, data=%x)
            %b: fp16[4] = read_state(input=%s)
            %y: fp16[4] = sub(x=%a, y=%b)
            return %y
            """
        )
        assert run(program, CommonSubexpressions()).report.passes[0].changes == 0

    def test_ops_without_a_row_stay(self) -> None:
        program = fragment(
            """
            inputs %x: fp16[4]
            %a: fp16[4] = mystery(x=%x)
            %b: fp16[4] = mystery(x=%x)
            %y: fp16[4] = sub(x=%a, y=%b)
            return %y
            """
        )
        assert run(program, CommonSubexpressions()).report.passes[0].changes == 0

    def test_an_op_that_declares_another_type_stays(self) -> None:
        unchanged(
            CommonSubexpressions(),
            """
            inputs %x: fp16[?]
            %a: fp16[?] = reshape(x=%x, shape=[-1])
            %b: fp16[3] = reshape(x=%x, shape=[-1])
            %y: fp16[3] = sub(x=%a, y=%b)
            return %y
            """,
        )


class TestNames:
    def test_the_first_op_takes_over_the_name_of_an_output(self) -> None:
        check(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %y: fp16[4] = exp(x=%x)
            %z: fp16[4] = relu(x=%a)
            return %z, %y
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = exp(x=%x)
            %z: fp16[4] = relu(x=%y)
            return %z, %y
            """,
        )

    def test_two_outputs_that_are_computed_alike_stay_two_ops(self) -> None:
        unchanged(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4]
            %y: fp16[4] = exp(x=%x)
            %z: fp16[4] = exp(x=%x)
            return %z, %y
            """,
        )

    def test_what_a_nested_block_returns_stays_an_op_of_it(self) -> None:
        unchanged(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4], %p: bool
            %a: fp16[4] = exp(x=%x)
            %y: fp16[4] = cond(pred=%p) block {
              %b: fp16[4] = exp(x=%x)
              return %b
            } block {
              %c: fp16[4] = relu(x=%a)
              return %c
            }
            return %y
            """,
        )

    def test_a_name_that_a_nested_block_uses_for_something_else_is_not_brought_there(self) -> None:
        unchanged(
            CommonSubexpressions(),
            """
            inputs %x: fp16[4], %p: bool
            %a: fp16[4] = exp(x=%x)
            %b: fp16[4] = exp(x=%x)
            %y: fp16[4] = cond(pred=%p) block {
              %a: fp16[4] = tanh(x=%x)
              %d: fp16[4] = add(x=%a, y=%b)
              return %d
            } block {
              %c: fp16[4] = relu(x=%x)
              return %c
            }
            return %y
            """,
        )


def test_every_function_and_specialization_is_looked_at() -> None:
    program = parse_fragment(
        "inputs %x: fp16[4]\n%a: fp16[4] = exp(x=%x)\n%b: fp16[4] = exp(x=%x)\n%y: fp16[4] = add(x=%a, y=%b)\nreturn %y", opset="CoreML7"
    )
    program.main.add_block("CoreML8", program.main.body.clone())
    program.add_function(program.main.clone("other"))
    result = run(program, CommonSubexpressions())
    assert result.report.passes[0].changes == 4
    assert interface(result.program) == interface(program)


def test_fifty_thousand_equal_ops_take_linear_time() -> None:
    kind = TensorType(FP16, (4,))
    program = Program([Function("main", [("x", kind)], "CoreML8")])
    body = Block()
    program.main.add_block("CoreML8", body)
    x = program.main.inputs[0]
    literals = [Const.of([float(i), 0.0, 0.0, 0.0], FP16) for i in range(5)]
    for index in range(50_000):
        body.append(Op("add", {"x": x, "y": literals[index % 5]}, [(f"v{index}", kind)]))
    body.set_outputs([next(iter(body)).output])
    started = perf_counter()
    assert CommonSubexpressions().apply(program, Context()) == 49_995
    assert perf_counter() - started < 20  # 0.5 s where it is linear, minutes where it is quadratic
    assert len(body) == 5
