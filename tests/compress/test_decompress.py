"""`DecompressWeights`: dense values equal coremltools' bit for bit; names, sharing and everything else stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.diagnostics import EvaluationError
from ir.flows import SLAB
from ir.mil.load import load_program
from ir.packing import pack
from ir.specs import is_constexpr
from ir.tensors import Array, ArrayTensor, MappedTensor, PackedTensor
from ir.text import print_program
from ir.types import FP16, FP32, INT4, INT8, UINT1, UINT2, UINT3, UINT4, UINT6, UINT8, UINT32, DType, TensorType
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.context import Context
from mlpasses.manager import Result, run
from tests import oracle
from tests.corpus import NAMES, Corpus
from tests.ir.constexpr_ops import peak_of

COMPRESSED: Final = tuple(
    name for name in NAMES if any(part in name for part in ("int8", "palette", "mixed"))
)
"""The packages of the corpus that hold constexpr ops."""
RNG: Final = np.random.default_rng(2)


def literal(array: Any, dtype: DType | None = None) -> Const:
    return Const.of(ArrayTensor(np.asarray(array), dtype))


class Built:
    """A program in the making: `main(x)` adds each weight to x."""

    def __init__(self, opset: str = "CoreML8") -> None:
        self.program = Program([Function("main", [("x", TensorType(FP32, (1,)))], opset)], spec_version={"CoreML8": 9, "CoreML6": 7}[opset])
        self.block = Block()
        self.program.main.add_block(opset, self.block)
        self.count = 0

    def op(self, op_type: str, *results: tuple[DType, tuple[int, ...]], **operands: Any) -> tuple[Value, ...]:
        """A constexpr op in the form of iOS18: operands are inputs."""
        held = {name: v if isinstance(v, Const | Value) else literal(v) for name, v in operands.items()}
        outputs = self._outputs(results)
        self.block.append(Op(op_type, held, outputs, {"name": Const.of(outputs[0][0])}))
        return self.block.last.outputs if self.block.last is not None else ()

    def attributed(self, op_type: str, *results: tuple[DType, tuple[int, ...]], **operands: Any) -> tuple[Value, ...]:
        """A constexpr op in the form of iOS16: operands are attributes."""
        held = {name: v if isinstance(v, Const) else literal(v) for name, v in operands.items()}
        outputs = self._outputs(results)
        self.block.append(Op(op_type, {}, outputs, {**held, "name": Const.of(outputs[0][0])}))
        return self.block.last.outputs if self.block.last is not None else ()

    def _outputs(self, results: tuple[tuple[DType, tuple[int, ...]], ...]) -> list[tuple[str, TensorType]]:
        self.count += 1
        names = [f"w{self.count}" if len(results) == 1 else f"w{self.count}_{index}" for index in range(len(results))]
        return [(name, TensorType(*result)) for name, result in zip(names, results, strict=True)]

    def finish(self, weight: Value) -> Program:
        """Uses the weight, and returns it as fp32."""
        value = weight
        assert isinstance(value.type, TensorType)
        if value.type.dtype is not FP32:
            (value,) = self.plain("cast", value.type.with_dtype(FP32), x=value, dtype=Const.of("fp32"))
        (value,) = self.plain("add", value.type, x=value, y=self.program.main.inputs[0])
        self.block.set_outputs([value])
        return self.program

    def plain(self, op_type: str, kind: Any, **operands: Value | Const) -> tuple[Value, ...]:
        op = Op(op_type, operands, [(f"{op_type}_{len(self.block)}", kind)], {"name": Const.of(f"{op_type}_{len(self.block)}")})
        self.block.append(op)
        return op.outputs


def affine(dtype: DType, vector: bool) -> Callable[[], Program]:
    def build() -> Program:
        b = Built("CoreML6")
        data = RNG.integers(-128 if dtype is INT8 else 0, 127, (4, 6)).astype(dtype.numpy)
        scale = RNG.normal(size=6 if vector else ()).astype(np.float32)
        zero = RNG.integers(0, 100, 6 if vector else ()).astype(dtype.numpy)
        (w,) = b.attributed(
            "constexpr_affine_dequantize", (FP32, (4, 6)),
            quantized_data=data, scale=scale, zero_point=zero, axis=Const.of(1),
        )  # fmt: skip
        return b.finish(w)

    return build


def packed_lut(nbits: int) -> Callable[[], Program]:
    def build() -> Program:
        b = Built("CoreML6")
        indices = pack(RNG.integers(0, 1 << nbits, (5, 7), np.uint8), nbits)
        lut = RNG.normal(size=1 << nbits).astype(np.float32)
        (w,) = b.attributed("constexpr_lut_to_dense", (FP32, (5, 7)), indices=indices, lut=lut, shape=Const.of([5, 7], UINT32))
        return b.finish(w)

    return build


def packed_sparse() -> Program:
    b = Built("CoreML6")
    mask = RNG.integers(0, 2, (5, 7), np.uint8)
    nonzero = RNG.normal(size=np.count_nonzero(mask)).astype(np.float32)
    (w,) = b.attributed(
        "constexpr_sparse_to_dense", (FP32, (5, 7)),
        nonzero_data=nonzero, mask=pack(mask, 1), shape=Const.of([5, 7], UINT32),
    )  # fmt: skip
    return b.finish(w)


def cast16() -> Program:
    b = Built("CoreML6")
    source = RNG.normal(size=4).astype(np.float16)
    (w,) = b.attributed("constexpr_cast", (FP32, (4,)), source_val=source, output_dtype=Const.of("fp32"))
    return b.finish(w)


def quantized(b: Built, dtype: DType, shape: tuple[int, ...], blocks: tuple[int, ...], offset: bool = False) -> Value:
    integers = RNG.integers(dtype.minimum, dtype.maximum, shape, endpoint=True).astype(dtype.numpy)
    held = {"data": literal(integers, dtype), "scale": literal(RNG.normal(size=blocks).astype(np.float16))}
    if offset:
        held["offset"] = literal(RNG.integers(dtype.minimum, dtype.maximum, blocks, endpoint=True).astype(dtype.numpy), dtype)
    (w,) = b.op("constexpr_blockwise_shift_scale", (FP16, shape), **held)
    return w


def blockwise(dtype: DType, blocks: tuple[int, ...], offset: bool) -> Callable[[], Program]:
    def build() -> Program:
        b = Built()
        return b.finish(quantized(b, dtype, (4, 8, 6), blocks, offset))

    return build


def indices_of(dtype: DType, shape: tuple[int, ...]) -> Const:
    return literal(RNG.integers(0, 1 << dtype.bits, shape, np.uint8), dtype)


def lut_of(groups: tuple[int, ...], dtype: DType, vector: int = 1) -> Array:
    return RNG.normal(size=(*groups, 1 << dtype.bits, vector)).astype(np.float16)


def look_up(dtype: DType, groups: tuple[int, ...], vector: int = 1, axis: int | None = None) -> Callable[[], Program]:
    def build() -> Program:
        b = Built()
        shape = tuple(dim * (vector if i == axis else 1) for i, dim in enumerate((4, 6)))
        more = {} if axis is None else {"vector_axis": Const.of(axis)}
        (w,) = b.op(
            "constexpr_lut_to_dense", (FP16, shape), indices=indices_of(dtype, (4, 6)), lut=lut_of(groups, dtype, vector), **more
        )
        return b.finish(w)

    return build


def mask_of(shape: tuple[int, ...]) -> tuple[Const, int]:
    mask = RNG.integers(0, 2, shape, np.uint8)
    return literal(mask, UINT1), int(np.count_nonzero(mask))


def dense_of(b: Built, mask: Value | Const, nonzero: Value | Const, shape: tuple[int, ...], dtype: DType = FP16) -> Value:
    (w,) = b.op("constexpr_sparse_to_dense", (dtype, shape), nonzero_data=nonzero, mask=mask)
    return w


def sparse() -> Program:
    b = Built()
    mask, count = mask_of((4, 6))
    return b.finish(dense_of(b, mask, literal(RNG.normal(size=count).astype(np.float16)), (4, 6)))


def sparse_lut(vector: int = 1, axis: int | None = None) -> Callable[[], Program]:
    def build() -> Program:
        b = Built()
        mask, count = mask_of((4, 6))
        shape = tuple(dim * (vector if i == axis else 1) for i, dim in enumerate((4, 6)))
        more = {} if axis is None else {"vector_axis": Const.of(axis)}
        masks, kept = b.op(
            "constexpr_lut_to_sparse", (UINT1, shape), (FP16, (count * vector,)),
            indices_mask=mask, indices_nonzero_data=indices_of(UINT2, (count,)), lut=lut_of((2, 1), UINT2, vector), **more,
        )  # fmt: skip
        return b.finish(dense_of(b, masks, kept, shape))

    return build


def sparse_quantized(dtype: DType, offset: bool) -> Callable[[], Program]:
    def build() -> Program:
        b = Built()
        mask, count = mask_of((4, 6))
        integers = literal(RNG.integers(dtype.minimum, dtype.maximum, count, endpoint=True).astype(dtype.numpy), dtype)
        more = {"offset": literal(RNG.integers(0, 7, (4, 2)).astype(dtype.numpy), dtype)} if offset else {}
        masks, kept = b.op(
            "constexpr_sparse_blockwise_shift_scale", (UINT1, (4, 6)), (FP16, (count,)),
            data_mask=mask, nonzero_data=integers, scale=RNG.normal(size=(4, 2)).astype(np.float16), **more,
        )  # fmt: skip
        return b.finish(dense_of(b, masks, kept, (4, 6)))

    return build


def quantized_lut() -> Program:
    b = Built()
    lut = quantized(b, INT8, (2, 1, 16, 1), (2, 1, 1, 1))
    (w,) = b.op("constexpr_lut_to_dense", (FP16, (4, 6)), indices=indices_of(UINT4, (4, 6)), lut=lut)
    return b.finish(w)


def int8_lut_then_scale() -> Program:
    b = Built()
    entries = RNG.integers(-127, 127, (1, 1, 16, 1)).astype(np.int8)
    (codes,) = b.op("constexpr_lut_to_dense", (INT8, (4, 6)), indices=indices_of(UINT4, (4, 6)), lut=entries)
    (w,) = b.op("constexpr_blockwise_shift_scale", (FP16, (4, 6)), data=codes, scale=np.full((1, 1), 0.013, np.float16))
    return b.finish(w)


def lut_then_scale_per_channel() -> Program:
    b = Built()
    (values,) = b.op("constexpr_lut_to_dense", (FP16, (4, 6)), indices=indices_of(UINT4, (4, 6)), lut=lut_of((1, 1), UINT4))
    (w,) = b.op("constexpr_blockwise_shift_scale", (FP16, (4, 6)), data=values, scale=RNG.normal(size=(4, 1)).astype(np.float16))
    return b.finish(w)


def quantized_sparse_lut() -> Program:
    b = Built()
    mask, count = mask_of((4, 6))
    lut = quantized(b, INT8, (1, 1, 4, 1), (1, 1, 1, 1))
    masks, kept = b.op(
        "constexpr_lut_to_sparse", (UINT1, (4, 6)), (FP16, (count,)),
        indices_mask=mask, indices_nonzero_data=indices_of(UINT2, (count,)), lut=lut,
    )  # fmt: skip
    return b.finish(dense_of(b, masks, kept, (4, 6)))


def fp32_of_a_quantized_weight() -> Program:
    b = Built()
    (w,) = b.op("constexpr_cast", (FP32, (4, 6)), source_val=quantized(b, INT4, (4, 6), (4, 2)), output_dtype=Const.of("fp32"))
    return b.finish(w)


PROGRAMS: Final[dict[str, Callable[[], Program]]] = {
    "affine int8 scalar": affine(INT8, False),
    "affine uint8 vector": affine(UINT8, True),
    **{f"packed lut {nbits}-bit": packed_lut(nbits) for nbits in (1, 2, 4, 6, 8)},
    "packed sparse": packed_sparse,
    "cast": cast16,
    **{
        f"blockwise {dtype} {blocks}{' offset' if offset else ''}": blockwise(dtype, blocks, offset)
        for dtype in (INT4, UINT4, INT8, UINT8)
        for blocks in ((1, 1, 1), (4, 1, 1), (4, 2, 1), (2, 4, 3))
        for offset in (False, True)
    },
    **{
        f"lut {dtype} {groups}": look_up(dtype, groups)
        for dtype in (UINT1, UINT2, UINT3, UINT4, UINT6, UINT8)
        for groups in ((1, 1), (2, 1))
    },
    "lut of groups on both axes": look_up(UINT3, (2, 3)),
    "lut vectors on axis 0": look_up(UINT2, (2, 1), vector=2, axis=0),
    "lut vectors on axis 1": look_up(UINT4, (1, 3), vector=3, axis=1),
    "sparse": sparse,
    "sparse lut": sparse_lut(),
    "sparse lut vectors on axis 0": sparse_lut(2, 0),
    "sparse lut vectors on axis 1": sparse_lut(2, 1),
    "sparse int8": sparse_quantized(INT8, False),
    "sparse uint4 offset": sparse_quantized(UINT4, True),
    "quantized lut": quantized_lut,
    "int8 lut then scale": int8_lut_then_scale,
    "lut then scale per channel": lut_then_scale_per_channel,
    "quantized sparse lut": quantized_sparse_lut,
    "fp32 of a quantized weight": fp32_of_a_quantized_weight,
}


def consts(program: Program) -> dict[str, Array]:
    return {op.output.name: op.attributes["val"].numpy() for op in program.ops("const") if op.attributes["val"].is_tensor}


def constexprs(program: Program) -> list[Op]:
    return [op for op in program.ops() if is_constexpr(op.op_type)]


class TestAgainstCoremltools:
    @pytest.mark.parametrize("what", PROGRAMS)
    def test_every_op_and_chain_has_coremltools_value(self, what: str, tmp_path: Path) -> None:
        program = PROGRAMS[what]()
        package = program.save(tmp_path / "m.mlpackage")
        expected = oracle.decompressed_values(package)
        dense = consts(run(load_program(package), DecompressWeights()).program)
        assert dense
        for name, value in dense.items():
            assert oracle.same_bits(value, expected[name])

    @pytest.mark.parametrize("name", COMPRESSED)
    def test_real_weights_have_coremltools_values(self, corpus: Corpus, name: str, tmp_path: Path) -> None:
        expected = oracle.decompressed_values(corpus.path(name))
        program = load_program(corpus.path(name))
        before = {op.outputs[-1].name for op in constexprs(program)}
        result = run(program, DecompressWeights())
        dense = consts(result.program)
        assert before
        assert not constexprs(result.program)
        for weight in before:
            assert oracle.same_bits(dense[weight], expected[weight])
        oracle.accepted(result.save(tmp_path / "dense.mlpackage"))


def test_no_package_of_the_corpus_with_constexpr_ops_is_left_out(corpus: Corpus) -> None:
    found = {name for name in NAMES if constexprs(load_program(corpus.path(name)))}
    assert found == set(COMPRESSED)


class TestGraph:
    def test_a_chain_becomes_one_const_of_its_last_name(self) -> None:
        program = run(fp32_of_a_quantized_weight(), DecompressWeights()).program
        assert [(op.op_type, op.outputs[0].name) for op in program.ops()] == [("const", "w2"), ("add", "add_2")]

    def test_both_outputs_of_a_sparse_op_go(self) -> None:
        program = run(sparse_lut()(), DecompressWeights()).program
        assert [op.op_type for op in program.ops()] == ["const", "cast", "add"]

    def test_const_ops_that_only_the_chain_used_go(self) -> None:
        b = Built()
        data = Op("const", {}, [("d", TensorType(INT8, (4,)))], {"val": literal(np.arange(4, dtype=np.int8))})
        b.block.append(data)
        (w,) = b.op("constexpr_blockwise_shift_scale", (FP16, (4,)), data=data.output, scale=np.ones(1, np.float16))
        program = run(b.finish(w), DecompressWeights()).program
        assert consts(program).keys() == {"w1"}

    def test_const_ops_that_something_else_uses_stay(self) -> None:
        b = Built()
        scale = Op("const", {}, [("s", TensorType(FP16, (1,)))], {"val": Const.of([0.5], FP16)})
        b.block.append(scale)
        (w,) = b.op("constexpr_blockwise_shift_scale", (FP16, (4,)), data=np.arange(4, dtype=np.int8), scale=scale.output)
        (product,) = b.plain("mul", w.type, x=w, y=scale.output)
        program = run(b.finish(product), DecompressWeights()).program
        assert consts(program).keys() == {"s", "w1"}

    def test_what_ends_one_chain_and_continues_in_another_is_a_const_by_its_own_name(self) -> None:
        b = Built()
        inner = quantized(b, INT8, (4, 6), (4, 1))
        (outer,) = b.op("constexpr_blockwise_shift_scale", (FP16, (4, 6)), data=inner, scale=np.full((1, 1), 2, np.float16))
        (both,) = b.plain("add", inner.type, x=inner, y=outer)
        dense = consts(run(b.finish(both), DecompressWeights()).program)
        assert dense.keys() == {"w1", "w2"}
        assert np.array_equal(dense["w2"], dense["w1"] * np.float16(2))

    def test_an_end_whose_other_output_goes_on_leaves_nothing_behind(self) -> None:
        b = Built()
        mask, count = mask_of((4, 6))
        masks, kept = b.op(
            "constexpr_sparse_blockwise_shift_scale", (UINT1, (4, 6)), (FP16, (count,)),
            data_mask=mask, nonzero_data=RNG.integers(-9, 9, count).astype(np.int8), scale=np.ones((1, 1), np.float16),
        )  # fmt: skip
        dense = dense_of(b, masks, kept, (4, 6))
        (total,) = b.plain("reduce_sum", TensorType(FP16, (1,)), x=kept, axes=Const.of([0]), keep_dims=Const.of(True))
        (both,) = b.plain("add", dense.type, x=dense, y=total)
        program = run(b.finish(both), DecompressWeights()).program
        assert consts(program).keys() == {"w1_1", "w2"}

    def test_an_unused_one_becomes_a_const_too(self) -> None:
        b = Built()
        quantized(b, INT8, (4, 6), (4, 1))
        (used,) = b.op("constexpr_cast", (FP32, (1,)), source_val=np.ones(1, np.float16), output_dtype=Const.of("fp32"))
        program = run(b.finish(used), DecompressWeights()).program
        assert consts(program).keys() == {"w1", "w2"}

    def test_the_const_keeps_type_and_name_attribute(self) -> None:
        program = run(PROGRAMS["affine int8 scalar"](), DecompressWeights()).program
        (op,) = program.ops("const")
        assert op.output.type is TensorType(FP32, (4, 6))
        assert op.attributes["name"].item() == "w1"

    def test_weights_in_nested_blocks_are_decompressed(self) -> None:
        b = Built()
        (outer,) = b.op("constexpr_cast", (FP32, (1,)), source_val=np.ones(1, np.float16), output_dtype=Const.of("fp32"))
        inner = b.block.first
        assert inner is not None
        nested = Block()
        inner_copy = Op("constexpr_cast", {"source_val": Const.of([2.0], FP16), "output_dtype": Const.of("fp32")}, [("n", outer.type)])
        nested.append(inner_copy)
        nested.set_outputs([inner_copy.output])
        other = Block()
        other.set_outputs([outer])
        (result,) = b.plain("identity", outer.type, x=outer)
        cond = Op("cond", {"pred": Const.of(True)}, [("c", outer.type)], blocks=[nested, other])
        b.block.append(cond)
        program = run(b.finish(result), DecompressWeights()).program
        assert not constexprs(program)
        assert consts(program).keys() == {"w1", "n"}

    def test_a_program_without_constexpr_ops_is_not_changed(self) -> None:
        b = Built()
        program = b.finish(b.plain("identity", TensorType(FP32, (1,)), x=b.program.main.inputs[0])[0])
        assert run(program, DecompressWeights()).report.passes[0].changes == 0

    def test_the_program_handed_in_does_not_change(self) -> None:
        program = quantized_lut()
        before = print_program(program)
        run(program, DecompressWeights())
        assert print_program(program) == before


class TestSharing:
    def shared(self) -> Result:
        program = quantized_lut()
        program.add_function(program.main.clone("other"))
        return run(program, DecompressWeights())

    def test_what_functions_share_is_decompressed_once_and_stays_shared(self) -> None:
        result = self.shared()
        tensors = {id(op.attributes["val"].tensor) for op in result.program.ops("const")}
        assert len(list(result.program.ops("const"))) == 2
        assert len(tensors) == 1

    def test_it_is_reported_once(self) -> None:
        assert len(self.shared().report.weights) == 1

    def test_equal_literals_that_are_other_objects_are_shared_too(self) -> None:
        b = Built()
        values = [
            b.op("constexpr_blockwise_shift_scale", (FP16, (4,)), data=np.arange(4, dtype=np.int8), scale=np.ones(1, np.float16))[0]
            for _ in range(2)
        ]
        program = run(b.finish(b.plain("add", values[0].type, x=values[0], y=values[1])[0]), DecompressWeights()).program
        one, other = program.ops("const")
        assert one.attributes["val"].tensor is other.attributes["val"].tensor

    def test_other_scales_are_other_weights(self) -> None:
        b = Built()
        values = [
            b.op("constexpr_blockwise_shift_scale", (FP16, (4,)), data=np.arange(4, dtype=np.int8), scale=np.full(1, s, np.float16))[0]
            for s in (1, 2)
        ]
        program = run(b.finish(b.plain("add", values[0].type, x=values[0], y=values[1])[0]), DecompressWeights()).program
        one, other = consts(program).values()
        assert np.array_equal(one * 2, other)


class TestReport:
    def test_a_row_says_what_a_weight_was_and_is(self) -> None:
        (row,) = run(quantized_lut(), DecompressWeights()).report.weights
        assert (row.name, row.op_type, row.shape, row.scheme) == ("w2", "cast", (4, 6), "dense fp16")
        assert row.before == 2 * 16 + 2 * 2 + 24 * 4 // 8
        assert row.after == 2 * 24
        assert row.skipped is None

    def test_ops_name_what_they_were_made_from(self) -> None:
        program = run(quantized_lut(), DecompressWeights()).program
        (op,) = program.ops("const")
        assert op.origin.sources == ("w2",)

    def test_an_unknown_constexpr_is_left_alone_with_its_chain_and_a_note_says_so(self) -> None:
        b = Built()
        (unknown,) = b.op("constexpr_from_the_future", (FP16, (4,)), x=np.ones(4, np.float16))
        (w,) = b.op("constexpr_cast", (FP32, (4,)), source_val=unknown, output_dtype=Const.of("fp32"))
        program, cx = b.finish(w), Context(pass_name="decompress-weights")
        assert DecompressWeights().apply(program, cx) == 0
        assert [note.where for note in cx.notes] == ["constexpr_cast w2"]
        assert "constexpr_from_the_future w1" in cx.notes[0].reason


class TestFailure:
    def malformed(self) -> Program:
        b = Built()
        good = quantized(b, INT8, (4, 6), (4, 1))
        bad = Op(
            "constexpr_sparse_to_dense", {"nonzero_data": literal(np.ones(2, np.float16)), "mask": literal(np.ones(3, np.uint8), UINT1)},
            [("bad", TensorType(FP16, (3,)))],
        )  # fmt: skip
        b.block.append(bad)
        (sum_,) = b.plain("add", good.type, x=good, y=bad.output)
        return b.finish(sum_)

    def test_a_malformed_weight_is_an_error_that_names_it(self) -> None:
        with pytest.raises(EvaluationError, match="constexpr_sparse_to_dense bad: the mask keeps 3 elements"):
            run(self.malformed(), DecompressWeights())

    def test_it_leaves_the_program_as_it_was(self) -> None:
        program = self.malformed()
        before = print_program(program)
        with pytest.raises(EvaluationError):
            DecompressWeights().apply(program, Context())
        assert print_program(program) == before

    def test_a_declared_size_that_no_operand_bears_out_is_an_error_before_anything_is_allocated(self) -> None:
        b = Built()
        (w,) = b.op("constexpr_blockwise_shift_scale", (FP16, (1 << 40,)), data=np.ones(4, np.int8), scale=np.ones(1, np.float16))
        with pytest.raises(EvaluationError, match="is declared as"):
            DecompressWeights().apply(b.finish(w), Context())


class TestScratch:
    def large(self) -> Program:
        b = Built()
        return b.finish(quantized(b, INT8, (512, 512), (512, 1)))

    def test_large_results_lie_in_a_scratch_file(self, tmp_path: Path) -> None:
        program = run(self.large(), DecompressWeights(), scratch=tmp_path).program
        (op,) = program.ops("const")
        assert isinstance(op.attributes["val"].tensor, MappedTensor)
        assert not list(tmp_path.iterdir())

    def test_a_large_weight_takes_a_few_pieces_of_memory(self, tmp_path: Path) -> None:
        b, shape = Built(), (4096, 4096)
        data = Const.of(PackedTensor(np.zeros(shape[0] * shape[1] // 2, np.uint8), INT4, shape))
        program = b.finish(b.op("constexpr_blockwise_shift_scale", (FP16, shape), data=data, scale=np.ones((4096, 1), np.float16))[0])
        assert peak_of(lambda: run(program, DecompressWeights(), scratch=tmp_path)) < 32 * SLAB

    def test_elements_below_a_byte_are_packed_over_the_ends_of_pieces(self) -> None:
        b, shape = Built(), (3, SLAB - 1)
        mask, count = mask_of(shape)
        values = RNG.integers(-8, 8, count).astype(np.int8)
        program = run(b.finish(dense_of(b, mask, literal(values, INT4), shape, INT4)), DecompressWeights()).program
        assert np.array_equal(consts(program)["w1"][mask.numpy() != 0], values)

    def test_results_do_not_depend_on_the_number_of_workers(self) -> None:
        program = self.large()
        for _ in range(3):
            program.add_function(self.large().main.clone(f"f{len(program.functions)}"))
        one, four = (consts(run(program, DecompressWeights(), workers=workers).program) for workers in (1, 4))
        assert all(oracle.same_bits(one[name], four[name]) for name in one)

    def test_progress_adds_up(self) -> None:
        class Meter:
            total, done = 0, 0

            def start(self, pass_name: str, total: int) -> None:
                self.total += total

            def advance(self, amount: int, what: str) -> None:
                self.done += amount

            def finish(self) -> None: ...

        meter = Meter()
        run(self.large(), DecompressWeights(), progress=meter)
        assert meter.done == meter.total == 2 * 512 * 512
