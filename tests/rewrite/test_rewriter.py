"""The rewriter: making ops, and telling every change."""

from __future__ import annotations

from ir.types import FP16, TensorType
from ir.verify import structure
from mlpasses.context import Context
from mlpasses.rewrite import Failure, Match, Replacement, Rewriter, Rule, any_value, const, p, rewrite, rule
from tests.rewrite.checks import check, interface, program_of, rewritten
from tests.rewrite.rules import RELU, TWO, Heard, divide_by_multiplying, drop_identity, merge_relus, the


class TestMaking:
    def test_like_takes_over_what_is_not_given(self) -> None:
        @rule(p.conv(..., x=p.pad(x="x", pad="_", mode=const(equals="constant"), constant_val=0)))
        def unpad(m: Match, rw: Rewriter) -> Replacement:
            """conv(pad(x)) → conv(x), padded by itself"""
            return rw.op("conv", like=m.root, x=m.x, pad_type="custom", pad=[1, 1, 1, 1])

        weight = "fp16[1, 1, 3, 3]([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]])"
        common = f"weight={weight}, strides=int32[2]([2, 2])"
        rest = "dilations=int32[2]([1, 1]), groups=1"
        check(
            unpad,
            f"""
            inputs %x: fp16[1, 1, 8, 8]
            %p: fp16[1, 1, 10, 10] = pad(x=%x, pad=int32[4]([1, 1, 1, 1]), mode="constant", constant_val=fp16(0.0))
            %y: fp16[1, 1, 4, 4] = conv(x=%p, {common}, pad_type="valid", pad=int32[4]([0, 0, 0, 0]), {rest})
            """,
            f"""
            inputs %x: fp16[1, 1, 8, 8]
            %y_conv_pad_type: string = const("custom")
            %y_conv_pad: int32[4] = const([1, 1, 1, 1])
            %y: fp16[1, 1, 4, 4] = conv(x=%x, {common}, pad_type=%y_conv_pad_type, pad=%y_conv_pad, {rest})
            """,
        )

    def test_a_captured_constant_and_an_absent_one_are_passed_on(self) -> None:
        from mlpasses.rewrite import optional

        @rule(p.linear(x=p.identity(x="x"), weight=const("w"), bias=optional(const("b"))))
        def skip(m: Match, rw: Rewriter) -> Replacement:
            """linear(identity(x), w, b) → linear(x, w, b)"""
            return rw.op("linear", x=m.x, weight=m.w, bias=m.b)

        for bias in ("", ", bias=fp16[1]([0.5])"):
            check(
                skip,
                f"""
                inputs %x: fp16[1, 2]
                %i: fp16[1, 2] = identity(x=%x)
                %y: fp16[1, 1] = linear(x=%i, weight=fp16[1, 2]([[1, 2]]){bias})
                """,
                f"""
                inputs %x: fp16[1, 2]
                %y: fp16[1, 1] = linear(x=%x, weight=fp16[1, 2]([[1, 2]]){bias})
                """,
            )

    def test_a_type_may_be_stated_for_an_op_without_a_row(self) -> None:
        @rule(p.relu(x="x"))
        def custom(m: Match, rw: Rewriter) -> Replacement:
            """relu(x) → custom(x)"""
            return rw.op("custom", x=m.x, type=m.root.output.type)

        check(custom, RELU, RELU.replace("relu", "custom"))

    def test_a_rule_sees_the_opset(self) -> None:
        seen: list[object] = []

        @rule(p.relu(x="x"))
        def look(m: Match, rw: Rewriter) -> None:
            """relu(x) → ?"""
            seen.append(rw.opset)

        rewrite(program_of(RELU, "CoreML6"), [look])
        assert str(seen) == "[iOS16]"

    def test_new_ops_tell_the_pass_the_rule_and_their_sources(self) -> None:
        program, _, cx = rewritten(
            merge_relus,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = relu(x=%x)
            %y: fp16[4] = relu(x=%a)
            """,
        )
        op = the(program, "relu")
        assert (op.origin.pass_name, op.origin.rule, op.origin.sources) == ("the-pass", "merge-relus", ("y", "a"))
        assert op in cx.touched

    def test_an_op_that_was_only_rewired_is_touched_and_keeps_its_origin(self) -> None:
        program, _, cx = rewritten(
            drop_identity,
            """
            inputs %x: fp16[4]
            %a: fp16[4] = identity(x=%x)
            %y: fp16[4] = relu(x=%a)
            """,
        )
        op = the(program, "relu")
        assert op in cx.touched
        assert op.origin is None

    def test_rules_may_change_operands_in_place(self) -> None:
        @rule(p.softmax(x="x", axis=1))
        def from_the_back(m: Match, rw: Rewriter) -> Failure | None:
            """softmax(x, axis=1) → softmax(x, axis=-1), of rank 2"""
            if m.x.type.rank != 2:
                return m.fail("the rank is {}", m.x.type.rank)
            rw.set(m.root, "axis", rw.const(-1, hint="axis"))
            return None

        check(
            from_the_back,
            """
            inputs %x: fp16[2, 2]
            %y: fp16[2, 2] = softmax(x=%x, axis=1)
            """,
            """
            inputs %x: fp16[2, 2]
            %axis: int32 = const(-1)
            %y: fp16[2, 2] = softmax(x=%x, axis=%axis)
            """,
        )


def test_every_change_is_told_in_its_order() -> None:
    program = program_of(
        """
        inputs %x: fp16[4]
        %c: fp16 = const(4.0)
        %a: fp16[4] = real_div(x=%x, y=%c)
        %y: fp16[4] = relu(x=%a)
        """
    )
    heard = Heard()
    rewrite(program, [divide_by_multiplying], listeners=[heard])
    assert heard.events == [
        "inserted const", "inserted mul", "replaced real_div by mul", "changed relu", "erased real_div", "erased const",
    ]  # fmt: skip


def test_the_rewriter_of_a_pass_replaces_at_once() -> None:
    program = program_of(RELU)
    before = interface(program.main)
    cx = Context()
    rw = Rewriter(cx)
    op = the(program, "relu")
    rw.replace(op, op["x"])
    structure.verify(program)
    assert interface(program.main) == before
    assert [each.op_type for each in program.ops()] == ["identity"]
    assert rw.changes == 1


def test_a_replacement_of_an_op_before_the_anchor_is_put_before_that() -> None:
    program = program_of(TWO)
    rw = Rewriter().at(the(program, "abs"))
    rw.replace(the(program, "relu"), rw.op("sin", x=program.main.inputs[0]))
    structure.verify(program)
    assert [op.op_type for op in program.ops()] == ["sin", "exp", "abs"]


def test_a_value_is_renamed_with_its_op() -> None:
    program = program_of(TWO)
    Rewriter().rename(the(program, "relu").output, "b")
    assert the(program, "relu").name == "b"


def test_a_replacement_may_restrict_its_type() -> None:
    @rule(p.relu(x=any_value("x", dtype=FP16, rank=1)))
    def half(m: Match, rw: Rewriter) -> Replacement:
        """relu(x) → abs(x)"""
        return rw.op("abs", x=m.x, type=TensorType(FP16, (4,)))

    assert isinstance(half, Rule)
    check(half, RELU, RELU.replace("relu", "abs"))
