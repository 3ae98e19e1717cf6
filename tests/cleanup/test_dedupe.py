"""`DeduplicateConsts`: constants that are equal bit for bit are one, and equal weights elsewhere one blob."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.const import Const
from ir.core import Block, Function, Op, Program, constant_of
from ir.mil.load import load_program
from ir.tensors import SAMPLE, ArrayTensor, MappedFile, MappedTensor, PackedTensor, Tensor, same_tensor
from ir.types import FP16, FP32, INT4, UINT8, TensorType
from mlpasses.cleanup.dedupe import DeduplicateConsts
from mlpasses.cleanup.literals import Literals
from mlpasses.context import Context
from mlpasses.manager import run
from tests.cleanup.check import check, fragment, kinds, unchanged
from tests.strategies import tensors

WEIGHT = np.arange(64, dtype=np.float16).reshape(8, 8)


class TestMerged:
    def test_equal_const_ops_of_a_block_are_one(self) -> None:
        check(
            DeduplicateConsts(),
            """
            inputs %x: fp16[2]
            %a: fp16[2] = const([1.0, 2.0])
            %b: fp16[2] = const([1.0, 2.0])
            %c: fp16[2] = add(x=%x, y=%a)
            %y: fp16[2] = mul(x=%c, y=%b)
            return %y
            """,
            """
            inputs %x: fp16[2]
            %a: fp16[2] = const([1.0, 2.0])
            %c: fp16[2] = add(x=%x, y=%a)
            %y: fp16[2] = mul(x=%c, y=%a)
            return %y
            """,
        )

    def test_a_nested_block_uses_the_constant_around_it(self) -> None:
        check(
            DeduplicateConsts(),
            """
            inputs %x: fp16[2], %p: bool
            %a: fp16[2] = const([1.0, 2.0])
            %y: fp16[2] = cond(pred=%p) block {
              %b: fp16[2] = const([1.0, 2.0])
              %c: fp16[2] = add(x=%x, y=%b)
              return %c
            } block {
              %d: fp16[2] = add(x=%x, y=%a)
              return %d
            }
            return %y
            """,
            """
            inputs %x: fp16[2], %p: bool
            %a: fp16[2] = const([1.0, 2.0])
            %y: fp16[2] = cond(pred=%p) block {
              %c: fp16[2] = add(x=%x, y=%a)
              return %c
            } block {
              %d: fp16[2] = add(x=%x, y=%a)
              return %d
            }
            return %y
            """,
        )

    def test_strings_and_lists_are_constants_too(self) -> None:
        result = check(
            DeduplicateConsts(),
            """
            inputs %x: fp16[2]
            %a: string = const("fp32")
            %b: string = const("fp32")
            %c: fp32[2] = cast(x=%x, dtype=%a)
            %d: fp32[2] = cast(x=%x, dtype=%b)
            %y: fp32[2] = add(x=%c, y=%d)
            return %y
            """,
            """
            inputs %x: fp16[2]
            %a: string = const("fp32")
            %c: fp32[2] = cast(x=%x, dtype=%a)
            %d: fp32[2] = cast(x=%x, dtype=%a)
            %y: fp32[2] = add(x=%c, y=%d)
            return %y
            """,
        )
        assert result.report.passes[0].changes == 1


class TestKept:
    def test_ops_of_a_type_that_may_hold_blocks_are_no_constants(self) -> None:
        """Even where they hold none and take nothing, beside one that does."""
        holder, kind = Block(), TensorType(FP16, (2,))
        holder.append(Op("inner", {}, [("i", kind)]))
        ops = [Op("source", {}, [("a", kind)], blocks=[holder]), Op("source", {}, [("b", kind)]), Op("source", {}, [("c", kind)])]
        function, block = Function("main", opset="CoreML8"), Block()
        for op in ops:
            block.append(op)
        block.append(Op("add", {"x": ops[1].output, "y": ops[2].output}, [("y", kind)]))
        function.add_block("CoreML8", block)
        context = Context()
        assert DeduplicateConsts().apply(Program([function], spec_version=9), context) == 0
        assert len(block) == 4

    @pytest.mark.parametrize(
        ("kind", "one", "other"),
        [
            ("fp16", "0.0", "-0.0"),
            ("fp16", "nan:0x7e00", "nan:0x7e01"),
            ("fp32", "1.0", "1.00000012"),
            ("fp16[2]", "[1.0, 2.0]", "[2.0, 1.0]"),
        ],
    )
    def test_what_differs_in_a_bit_stays_apart(self, kind: str, one: str, other: str) -> None:
        unchanged(
            DeduplicateConsts(),
            f"""
            inputs %x: {kind}
            %a: {kind} = const({one})
            %b: {kind} = const({other})
            %c: {kind} = add(x=%x, y=%a)
            %y: {kind} = sub(x=%c, y=%b)
            return %y
            """,
        )

    def test_equal_bytes_of_another_shape_or_type_stay_apart(self) -> None:
        program = fragment(
            """
            inputs %x: fp16[1, 2]
            %a: fp16[2] = const([0.0, 0.0])
            %b: fp16[1, 2] = const([[0.0, 0.0]])
            %i: int32[1] = const([0])
            %c: fp16[1, 2] = add(x=%x, y=%a)
            %d: fp16[1, 2] = add(x=%c, y=%b)
            %y: fp16[1, 1, 2] = expand_dims(x=%d, axes=%i)
            return %y
            """
        )
        assert run(program, DeduplicateConsts()).report.passes[0].changes == 0

    def test_a_constant_that_is_returned_keeps_its_name(self) -> None:
        check(
            DeduplicateConsts(),
            """
            inputs %x: fp16[2]
            %a: fp16[2] = const([1.0, 2.0])
            %b: fp16[2] = const([1.0, 2.0])
            %y: fp16[2] = add(x=%x, y=%a)
            return %y, %b
            """,
            """
            inputs %x: fp16[2]
            %b: fp16[2] = const([1.0, 2.0])
            %y: fp16[2] = add(x=%x, y=%b)
            return %y, %b
            """,
        )

    def test_two_constants_that_are_returned_stay_two(self) -> None:
        unchanged(
            DeduplicateConsts(),
            """
            inputs %x: fp16[2]
            %a: fp16[2] = const([1.0, 2.0])
            %b: fp16[2] = const([1.0, 2.0])
            return %a, %b, %x
            """,
        )

    def test_blocks_side_by_side_keep_a_const_each(self) -> None:
        unchanged(
            DeduplicateConsts(),
            """
            inputs %x: fp16[2], %p: bool
            %y: fp16[2] = cond(pred=%p) block {
              %a: fp16[2] = const([1.0, 2.0])
              %b: fp16[2] = add(x=%x, y=%a)
              return %b
            } block {
              %c: fp16[2] = const([1.0, 2.0])
              %d: fp16[2] = mul(x=%x, y=%c)
              return %d
            }
            return %y
            """,
        )


def function(name: str, *weights: Tensor) -> Function:
    """x · w₀ · w₁ · …, each a const op."""
    made = Function(name, [("x", TensorType(FP16, (8, 8)))], "CoreML8")
    block = Block()
    value = made.inputs[0]
    for number, weight in enumerate(weights):
        const = Op("const", {}, [(f"w{number}", TensorType(weight.dtype, weight.shape))], {"val": Const.of(weight)})
        op = Op("mul", {"x": value, "y": const.output}, [(f"v{number}", TensorType(FP16, (8, 8)))])
        block.append(const)
        block.append(op)
        value = op.output
    block.set_outputs([value])
    made.add_block("CoreML8", block)
    return made


def weights(program: Program) -> list[Tensor]:
    literals = [constant_of(op.output) for op in program.ops("const")]
    return [literal.tensor for literal in literals if literal is not None]


class TestShared:
    def test_functions_keep_a_const_each_and_share_the_tensor(self) -> None:
        program = Program([function("main", ArrayTensor(WEIGHT)), function("other", ArrayTensor(WEIGHT.copy()))], spec_version=9)
        result = run(program, DeduplicateConsts())
        one, other = weights(result.program)
        assert one is other
        assert result.report.passes[0].changes == 1
        assert run(result.program, DeduplicateConsts()).report.passes[0].changes == 0

    def test_specializations_share_the_tensor(self) -> None:
        program = Program([function("main", ArrayTensor(WEIGHT))], spec_version=9)
        program.main.add_block("CoreML7", function("main", ArrayTensor(WEIGHT.copy())).body.clone({}))
        clone = program.main.specializations["CoreML7"]
        for op in clone:
            if op.op_type == "mul":
                op.set("x", program.main.inputs[0])
        assert DeduplicateConsts().apply(program, Context()) == 1
        assert len(set(map(id, weights(program)))) == 1

    def test_stages_of_a_pipeline_share_the_tensor(self) -> None:
        program = Program(spec_version=9)
        program.stages = {
            (number,): Program([function("main", ArrayTensor(WEIGHT.copy()))], spec_version=9) for number in range(2)
        }
        assert DeduplicateConsts().apply(program, Context()) == 1
        assert len(set(map(id, weights(program)))) == 1

    def test_equal_blobs_of_a_package_are_written_once(self, tmp_path: Path) -> None:
        half = WEIGHT.astype(np.float16)
        program = Program([function("main", ArrayTensor(half)), function("other", ArrayTensor(half + np.float16(1)))], spec_version=9)
        loaded = load_program(program.save(tmp_path / "two.mlpackage"))
        second = next(iter(loaded.functions["other"].ops("const")))
        second.set_attribute("val", Const.of(ArrayTensor(half.copy())))
        saved = run(loaded, DeduplicateConsts()).program.save(tmp_path / "one.mlpackage")
        one, other = weights(load_program(saved))
        assert one is other

    def test_what_stands_in_the_program_is_not_moved(self) -> None:
        small = np.ones(4, np.float16).reshape(2, 2)
        program = Program([function("main", ArrayTensor(small)), function("other", ArrayTensor(small.copy()))], spec_version=9)
        assert DeduplicateConsts().apply(program, Context()) == 0

    def test_a_literal_operand_that_no_file_holds_stays_what_it_is(self, tmp_path: Path) -> None:
        half = WEIGHT.astype(np.float16)
        built = Program([function("main", ArrayTensor(half), ArrayTensor(half + np.float16(1)))], spec_version=9)
        loaded = load_program(built.save(tmp_path / "one.mlpackage"))
        _, second = loaded.ops("mul")
        literal = Const.of(half.copy())
        second.set("y", literal)
        result = run(loaded, DeduplicateConsts())
        assert result.report.passes[0].changes == 0
        assert [op["y"] is literal for op in result.program.ops("mul")] == [False, True]

    def test_literal_operands_and_attributes_share_too(self) -> None:
        data = PackedTensor(bytes(range(32)), INT4, (8, 8))
        program = Program(spec_version=9)
        for name in ("main", "other"):
            copy = PackedTensor(bytes(data.payload()), INT4, (8, 8))
            made = Function(name, [("x", TensorType(FP16, (8, 8)))], "CoreML8")
            block = Block()
            scale = Const.of(np.full((8, 1), 0.5, np.float16))
            op = Op("constexpr_blockwise_shift_scale", {"data": Const.of(copy), "scale": scale}, [("w", TensorType(FP16, (8, 8)))])
            block.append(op)
            block.set_outputs([op.output])
            made.add_block("CoreML8", block)
            program.add_function(made)
        assert DeduplicateConsts().apply(program, Context()) == 1
        one, other = (op["data"] for op in program.ops("constexpr_blockwise_shift_scale"))
        assert isinstance(one, Const)
        assert isinstance(other, Const)
        assert one.data is other.data


class TestLiterals:
    @given(st.lists(tensors(), max_size=8))
    def test_the_first_tensor_is_the_first_that_is_the_same_bit_for_bit(self, given: list[Tensor]) -> None:
        literals = Literals()
        for tensor in given:
            found = literals.tensor(tensor)
            assert found is next(each for each in given if same_tensor(each, tensor))

    def test_tensors_that_differ_between_the_samples_are_told_apart(self) -> None:
        size = 8 * SAMPLE
        arrays = []
        for position in range(20):
            array = np.zeros(size, np.uint8)
            array[SAMPLE + 10 + position] = 1
            arrays.append(ArrayTensor(array))
        literals = Literals()
        assert [literals.tensor(tensor) for tensor in arrays] == arrays
        assert [literals.tensor(ArrayTensor(tensor.numpy().copy())) for tensor in arrays] == arrays

    def test_a_tensor_that_lies_in_a_file_is_known_by_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "weights").write_bytes(bytes(range(256)))
        file = MappedFile(tmp_path / "weights")
        literals = Literals()
        first = MappedTensor(file, 0, UINT8, (64,))
        assert literals.tensor(first) is first
        assert literals.tensor(MappedTensor(file, 0, UINT8, (64,))) is first
        assert literals.tensor(MappedTensor(file, 64, UINT8, (64,))) is not first

    def test_docstrings_set_literals_apart(self) -> None:
        literals = Literals()
        plain = Const.of(1.0, FP32)
        assert literals.first(plain) is plain
        assert literals.first(plain.with_doc("one")) is not plain
        assert literals.first(Const.of(1.0, FP32)) is plain


def test_constants_of_other_types_than_tensors_merge() -> None:
    program = Program([Function("main", [("x", TensorType(FP32, (2,)))], "CoreML8")], spec_version=9)
    block = Block()
    program.main.add_block("CoreML8", block)
    for name in "ab":
        labels = Const.list_of([Const.of("cat"), Const.of("dog")], Const.of("cat").type)
        block.append(Op("const", {}, [(name, labels.type)], {"val": labels}))
    for const in list(block):
        block.append(Op("mystery", {"x": const.output}, [(f"{const.output.name}y", TensorType(FP32, (2,)))]))
    block.set_outputs([block.last.output] if block.last is not None else [])
    assert DeduplicateConsts().apply(program, Context()) == 1
    assert kinds(program) == ["mystery", "mystery"]
