"""Copies of blocks, functions and programs: new ops and values, the same literals."""

from __future__ import annotations

from ir.const import Const
from ir.core import Block, Function, Op, Program, Use
from tests.ir.test_core import T, chain, const, names, relu


class TestClone:
    def test_a_clone_shares_literals_and_no_op_or_value(self) -> None:
        function, (_a,) = chain("a")
        weight = const("w")
        function.body.insert_first(weight)
        program = Program([function])
        copy = program.clone()
        assert set(program.ops()).isdisjoint(copy.ops())
        assert next(copy.ops("const")).attributes["val"] is weight.attributes["val"]

    def test_changing_a_clone_leaves_the_original(self) -> None:
        function, (_a, b) = chain("a", "b")
        copy = function.clone()
        copy.body.set_outputs([copy.inputs[0]])
        copy.body.erase(list(copy.body))
        assert names(function.body) == ["a", "b"]
        assert function.outputs == (b.output,)

    def test_attributes_of_a_clone_change_apart_from_those_of_the_original(self) -> None:
        function, (a,) = chain("a")
        a.set_attribute("kept", Const.of(1))
        copied = function.clone().body.first
        assert copied is not None
        copied.set_attribute("new", Const.of(2))
        copied.unset_attribute("kept")
        a.set_attribute("late", Const.of(3))
        assert (list(a.attributes), list(copied.attributes)) == (["kept", "late"], ["new"])

    def test_a_clone_has_the_types_order_and_names_of_the_original(self) -> None:
        function, (a, b) = chain("a", "b")
        function.body.insert_before(b, const("w"))
        b.move_before(a)
        copy = function.clone().body
        assert names(copy) == names(function.body)
        assert copy.op_types() == function.body.op_types()
        assert len(copy) == len(function.body)
        assert [op.name for op in copy.ops("relu")] == ["b", "a"]
        assert copy.names == function.body.names
        first, last = copy.first, copy.last
        assert first is not None
        assert last is not None
        assert first.is_before(last)
        copy.append(relu("c", last.output))
        assert names(copy)[-1] == "c"

    def test_a_clone_adds_no_use_to_the_original(self) -> None:
        function, (a, b) = chain("a", "b")
        function.clone()
        assert a.output.uses == [Use(b, "x", 0)]
        assert len(function.inputs[0].uses) == 1

    def test_a_clone_of_ops_in_a_wrong_order_stays_apart_from_the_original(self) -> None:
        function, (a, b) = chain("a", "b")
        b.move_before(a)
        copy = function.clone()
        first, second = copy.body
        assert first["x"] is second.output
        assert a.output.uses == [Use(b, "x", 0)]

    def test_captured_values_are_mapped(self) -> None:
        function, (a,) = chain("a")
        inner = Block([("i", T)])
        inner.append(relu("n", a.output))
        inner.set_outputs([inner.inputs[0], a.output])
        function.body.append(Op("cond", {"pred": a.output}, [("c", T)], blocks=[inner]))
        copy = function.clone()
        copied = list(copy.body)[1].blocks[0]
        assert copied.outputs == (copied.inputs[0], copy.body.first.output if copy.body.first else None)

    def test_a_block_clone_maps_what_it_is_told_and_keeps_the_rest(self) -> None:
        function, (_a,) = chain("a")
        other = Function("other", [("x", T)])
        copy = function.body.clone({function.inputs[0]: other.inputs[0]})
        assert copy.first is not None
        assert copy.first["x"] is other.inputs[0]
        assert function.inputs[0] in [op["x"] for op in function.body.clone()]

    def test_a_program_clone_keeps_everything_that_is_said_of_it(self) -> None:
        function, _ = chain("a")
        program = Program([function], spec_version=9, format_version=2, doc="text")
        program.metadata["k"] = "v"
        program.attributes["buildInfo"] = Const.of("b")
        program.stages[(0, 1)] = Program(spec_version=8)
        copy = program.clone()
        assert (copy.spec_version, copy.format_version, copy.doc, copy.metadata) == (9, 2, "text", {"k": "v"})
        assert copy.attributes["buildInfo"] is program.attributes["buildInfo"]
        assert copy.stages[(0, 1)].spec_version == 8
        copy.metadata["k"] = "w"
        assert program.metadata["k"] == "v"

    def test_a_clone_has_those_of_what_stands_for_the_values_from_outside(self) -> None:
        function, _ = chain("a", "b")
        tanh = relu("t", function.inputs[0], "tanh")
        copy = function.body.clone({function.inputs[0]: tanh.output})
        assert [op.sources for op in copy] == [("x", "tanh", None), ("x", "relu", None)]

    def test_a_clone_has_those_of_the_literals_that_it_was_given(self) -> None:
        seven, eight = Const.of(7), Const.of(8)
        block = Block()
        held = Op("const", {}, [("c", T)], {"val": seven})
        block.append(held)
        block.append(Op("add", {"x": held.output, "y": seven}, [("o", T)]))
        block.append(Op("concat", {"values": (seven, held.output)}, [("p", T)]))
        copy = block.clone(substitute=lambda literal: eight)
        assert [op.sources for op in copy] == [(), ("x", "const", 8, "y", "const", 8), ("values", "const", 8)]
