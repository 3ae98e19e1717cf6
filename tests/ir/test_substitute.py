"""Constants in the place of others."""

from __future__ import annotations

from ir.const import Const
from ir.core import Op
from ir.substitute import substitute_literals
from ir.text import print_program
from ir.types import FP16, TensorType
from ir.verify import structure
from tests.cleanup.check import fragment

ONE, TWO = Const.of(1.0, FP16), Const.of(2.0, FP16)


def doubled(const: Const) -> Const:
    return TWO if const == ONE else const


class TestLiterals:
    def test_those_in_attributes_and_operands_change_and_others_stay(self) -> None:
        three = Const.of(3.0, FP16)
        op = Op("op", {"x": [ONE, three, ONE], "y": three}, [("r", TensorType(FP16))], {"a": ONE, "b": three})
        assert substitute_literals(op, doubled) == 3
        assert dict(op.operands) == {"x": (TWO, three, TWO), "y": (three,)}
        assert dict(op.attributes) == {"a": TWO, "b": three}

    def test_values_beside_them_keep_their_uses(self) -> None:
        program = fragment("inputs %x: fp16\n%y: fp16[2] = concat(values=(%x, fp16(1.0)), axis=0)\nreturn %y")
        op = program.main.body.first
        assert op is not None
        assert substitute_literals(op, doubled) == 1
        assert [use.position for use in program.main.inputs[0].uses] == [0]
        assert op.operands["values"] == (program.main.inputs[0], TWO)

    def test_where_none_changes_the_op_is_not_touched(self) -> None:
        program = fragment("inputs %x: fp16[2]\n%y: fp16[2] = add(x=%x, y=fp16(3.0))\nreturn %y")
        op, before = program.main.body.first, program.version
        assert op is not None
        assert substitute_literals(op, doubled) == 0
        assert program.version == before


class TestClones:
    def test_a_clone_holds_what_is_said_of_each_literal_and_the_original_what_it_held(self) -> None:
        text = """
            inputs %x: fp16
            %a: fp16 = const(val=fp16(1.0))
            %b: fp16 = add(x=fp16(1.0), y=fp16(3.0))
            %c: fp16[3] = concat(values=(%x, fp16(1.0), %b), axis=0)
            return %a, %c
        """
        program, changed = fragment(text), fragment(text.replace("1.0", "2.0"))
        before = print_program(program)
        copy = program.clone(doubled)
        assert print_program(copy) == print_program(changed)
        assert print_program(program) == before
        structure.verify(copy)

    def test_names_of_ops_are_not_asked_about(self) -> None:
        program = fragment("%a: fp16 = const(val=fp16(3.0))\nreturn %a")
        next(program.ops("const")).set_attribute("name", Const.of("a"))
        asked: list[Const] = []

        def noted(const: Const) -> Const:
            asked.append(const)
            return const

        program.clone(noted)
        assert asked == [Const.of(3.0, FP16)]
