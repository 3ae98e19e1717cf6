"""`DeadCode`: what nobody uses goes, what has an effect stays. Programs before and after, in the text form."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

from ir.core import Block, Function, Op, Program
from ir.text import parse_fragment, print_program
from ir.types import BOOL, FP16, TensorType
from ir.verify import structure
from mlpasses.cleanup.dce import DeadCode
from mlpasses.context import Context
from mlpasses.manager import run
from tests.effort import grows_linearly


def swept(text: str) -> tuple[Program, Context, int]:
    program = parse_fragment(dedent(text))
    cx = Context(pass_name="dead-code")
    changes = DeadCode().apply(program, cx)
    structure.verify(program)
    return program, cx, changes


def check(before: str, after: str, changes: int) -> None:
    """`before` becomes `after`, with so many changes."""
    program, _, found = swept(before)
    assert print_program(program) == print_program(parse_fragment(dedent(after)))
    assert found == changes


def unchanged(text: str) -> None:
    check(text, text, 0)


class TestErased:
    def test_an_unused_op_goes(self) -> None:
        check(
            """
            inputs %x: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %y: fp16[4] = relu(x=%x)
            return %y
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = relu(x=%x)
            return %y
            """,
            1,
        )

    def test_what_only_unused_ops_use_goes_with_them(self) -> None:
        check(
            """
            inputs %x: fp16[4]
            %w: fp16[4] = const([1.0, 2.0, 3.0, 4.0])
            %a: fp16[4] = mul(x=%x, y=%w)
            %b: fp16[4] = add(x=%a, y=%a)
            %y: fp16[4] = relu(x=%x)
            return %y
            """,
            """
            inputs %x: fp16[4]
            %y: fp16[4] = relu(x=%x)
            return %y
            """,
            3,
        )

    def test_reading_a_state_is_no_effect(self) -> None:
        check(
            """
            inputs %x: fp16[4], %s: state<fp16[4]>
            %old: fp16[4] = read_state(input=%s)
            %y: fp16[4] = relu(x=%x)
            return %y
            """,
            """
            inputs %x: fp16[4], %s: state<fp16[4]>
            %y: fp16[4] = relu(x=%x)
            return %y
            """,
            1,
        )

    def test_an_unused_op_with_blocks_goes_and_what_they_captured(self) -> None:
        check(
            """
            inputs %x: fp16[4], %p: bool
            %a: fp16[4] = exp(x=%x)
            %c: fp16[4] = cond(pred=%p) block {
              %t: fp16[4] = relu(x=%a)
              return %t
            } block {
              return %x
            }
            %y: fp16[4] = relu(x=%x)
            return %y
            """,
            """
            inputs %x: fp16[4], %p: bool
            %y: fp16[4] = relu(x=%x)
            return %y
            """,
            2,
        )

    def test_unused_ops_in_nested_blocks_go_and_what_only_they_captured(self) -> None:
        check(
            """
            inputs %x: fp16[4], %p: bool
            %a: fp16[4] = exp(x=%x)
            %y: fp16[4] = cond(pred=%p) block {
              %t: fp16[4] = relu(x=%a)
              return %x
            } block {
              %e: fp16[4] = relu(x=%x)
              return %e
            }
            return %y
            """,
            """
            inputs %x: fp16[4], %p: bool
            %y: fp16[4] = cond(pred=%p) block {
              return %x
            } block {
              %e: fp16[4] = relu(x=%x)
              return %e
            }
            return %y
            """,
            2,
        )


class TestKept:
    def test_an_op_of_which_one_output_is_used_stays(self) -> None:
        unchanged(
            """
            inputs %x: fp16[4]
            %v: fp16[2], %i: int32[2] = topk(x=%x, k=2)
            return %i
            """
        )

    def test_writing_a_state_stays_and_what_it_writes(self) -> None:
        unchanged(
            """
            inputs %x: fp16[4], %s: state<fp16[4]>
            %a: fp16[4] = relu(x=%x)
            write_state(input=%s, data=%a)
            %y: fp16[4] = exp(x=%x)
            return %y
            """
        )

    def test_an_op_that_holds_a_write_stays(self) -> None:
        unchanged(
            """
            inputs %x: fp16[4], %s: state<fp16[4]>, %p: bool
            %c: fp16[4] = cond(pred=%p) block {
              write_state(input=%s, data=%x)
              return %x
            } block {
              return %x
            }
            return %x
            """
        )

    def test_unused_ops_beside_a_write_in_a_nested_block_go(self) -> None:
        program, _, changes = swept(
            """
            inputs %x: fp16[4], %s: state<fp16[4]>, %p: bool
            %a: fp16[4] = exp(x=%x)
            %c: fp16[4] = cond(pred=%p) block {
              %t: fp16[4] = relu(x=%a)
              write_state(input=%s, data=%x)
              return %x
            } block {
              return %x
            }
            return %x
            """
        )
        assert changes == 2
        assert [op.op_type for op in program.ops()] == ["cond", "write_state"]

    def test_unused_inputs_of_the_function_stay(self) -> None:
        unchanged(
            """
            inputs %x: fp16[4], %unused: fp16[4]
            return %x
            """
        )

    def test_an_unknown_op_stays_and_a_note_says_so(self) -> None:
        text = """
            inputs %x: fp16[4]
            %a: fp16[4] = exp(x=%x)
            %m: fp16[4] = mystery(x=%a)
            return %x
            """
        unchanged(text)
        _, cx, _ = swept(text)
        (note,) = cx.notes
        assert note.where == "mystery m"
        assert "nothing is known of the effects of its op type" in note.reason

    def test_an_op_that_holds_an_unknown_one_stays_and_a_note_says_so(self) -> None:
        program, cx, changes = swept(
            """
            inputs %x: fp16[4], %p: bool
            %c: fp16[4] = cond(pred=%p) block {
              %m: fp16[4] = mystery(x=%x)
              return %m
            } block {
              return %x
            }
            return %x
            """
        )
        (note,) = cx.notes
        assert note.where == "cond c"
        assert "mystery m, which it holds" in note.reason
        assert changes == 0
        assert len(list(program.ops())) == 2

    def test_an_unknown_op_that_is_used_needs_no_note(self) -> None:
        _, cx, _ = swept(
            """
            inputs %x: fp16[4]
            %m: fp16[4] = mystery(x=%x)
            return %m
            """
        )
        assert not cx.notes


def nested(depth: int) -> Program:
    """Conditionals in one another, the outermost unused; the innermost holds an unused op, which uses %a of the outermost block."""
    kind = TensorType(FP16, (4,))
    program = Program([Function("main", [("x", kind), ("p", TensorType(BOOL))], "CoreML8")])
    x, p = program.main.inputs
    body = Block()
    program.main.add_block("CoreML8", body)
    a = Op("exp", {"x": x}, [("a", kind)])
    body.append(a)
    innermost = Block()
    innermost.append(Op("relu", {"x": a.output}, [("unused", kind)]))
    innermost.set_outputs([x])
    op = Op("cond", {"pred": p}, [("c0", kind)], blocks=[innermost])
    for level in range(1, depth):
        around = Block()
        around.append(op)
        around.set_outputs([op.output])
        op = Op("cond", {"pred": p}, [(f"c{level}", kind)], blocks=[around])
    body.append(op)
    body.set_outputs([op.output])
    return program


class TestScale:
    def test_blocks_nested_a_thousand_deep_are_no_recursion(self) -> None:
        program = nested(1000)
        assert DeadCode().apply(program, Context()) == 2
        assert [op.op_type for op in program.main.body] == ["cond"]

    def test_a_long_dead_chain_takes_linear_time(self) -> None:
        kind = TensorType(FP16, (4,))

        def sweep(count: int) -> Callable[[], object]:
            program = Program([Function("main", [("x", kind)], "CoreML8")])
            body = Block()
            program.main.add_block("CoreML8", body)
            value = program.main.inputs[0]
            for index in range(count):
                op = Op("relu", {"x": value}, [(f"v{index}", kind)])
                body.append(op)
                value = op.output
            body.set_outputs([program.main.inputs[0]])
            return lambda: DeadCode().apply(program, Context())

        assert grows_linearly(sweep)


def test_every_specialization_and_function_is_swept() -> None:
    program = parse_fragment("inputs %x: fp16[4]\n%a: fp16[4] = exp(x=%x)\nreturn %x", opset="CoreML7")
    program.main.add_block("CoreML8", program.main.body.clone())
    program.add_function(program.main.clone("other"))
    assert run(program, DeadCode()).report.passes[0].changes == 4


def test_a_program_without_dead_code_is_not_changed() -> None:
    program = parse_fragment("inputs %x: fp16[4]\n%a: fp16[4] = exp(x=%x)\nreturn %a")
    version = program.version
    assert DeadCode().apply(program, Context()) == 0
    assert program.version == version
