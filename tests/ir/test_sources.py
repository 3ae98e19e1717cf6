"""What feeds an op is kept with it, and follows every change."""

from __future__ import annotations

from ir.const import UNREAD, Const
from ir.core import Op
from ir.tensors import AbstractTensor
from ir.types import FP16, TensorType
from tests.ir.test_core import T, chain, const, relu


class TestSources:
    def test_they_are_the_types_that_operands_come_from_by_parameter(self) -> None:
        function, (a, b) = chain("a", "b")
        held = const("c")
        op = Op("some", {"x": b.output, "y": function.inputs[0], "c": held.output, "d": Const.of(1)}, [("o", T)])
        assert op.sources == ("x", "relu", None, "y", "", None, "c", "const", None, "d", "const", 1)
        assert a.sources == ("x", "", None)
        assert held.sources == ()

    def test_a_constant_that_nobody_has_read_is_not_read_for_them(self) -> None:
        unread = Const(TensorType(FP16, (1,)), AbstractTensor(FP16, (1,)))
        assert Op("some", {"x": unread}, [("o", T)]).sources == ("x", "const", UNREAD)

    def test_of_a_variadic_parameter_the_first_operand_counts(self) -> None:
        function, (a,) = chain("a")
        assert Op("concat", {"values": (a.output, function.inputs[0]), "none": ()}, [("o", T)]).sources == ("values", "relu", None)

    def test_they_follow_what_is_set_and_unset(self) -> None:
        _, (_a, b) = chain("a", "b")
        found = [b.sources]
        b.set("x", Const.of(1.0))
        found.append(b.sources)
        b.unset("x")
        assert [*found, b.sources] == [("x", "relu", None), ("x", "const", 1.0), ()]

    def test_they_follow_the_value_of_a_const_op(self) -> None:
        held = Op("const", {}, [("c", T)], {"val": Const.of(7)})
        op = relu("r", held.output)
        found = [op.sources]
        held.set_attribute("val", Const.of(8))
        found.append(op.sources)
        held.unset_attribute("val")
        assert [*found, op.sources] == [("x", "const", 7), ("x", "const", 8), ("x", "const", UNREAD)]

    def test_they_follow_what_takes_the_place_of_a_value(self) -> None:
        function, (a, b) = chain("a", "b")
        tanh = relu("t", function.inputs[0], "tanh")
        function.body.insert_before(b, tanh)
        a.output.replace_uses(tanh.output)
        assert b.sources == ("x", "tanh", None)

    def test_an_erased_op_has_none(self) -> None:
        function, (_a, b) = chain("a", "b")
        function.body.set_outputs([])
        b.erase()
        assert b.sources == ()
