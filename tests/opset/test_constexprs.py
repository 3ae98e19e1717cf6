"""iOS16 constexpr ops as those of iOS18: the same bytes, and bit for bit the same values, ours and coremltools'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.const import Const
from ir.constexprs import evaluate
from ir.core import Block, Function, Op, Program
from ir.mil.load import load_program
from ir.opset import IOS16, IOS17, IOS18, OPSETS, Opset
from ir.packing import pack, packed_size
from ir.tensors import Array, ArrayTensor, MappedTensor, Tensor
from ir.types import FP16, FP32, INT8, UINT1, UINT_BY_BITS, DType, TensorType
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.raising import RaiseOpset
from tests.opset.check import raised
from tests.oracle import decompressed_values, same_bits

RANDOM = np.random.default_rng(2)
TARGETS = [opset for opset in OPSETS if opset >= IOS18]


def op(op_type: str, kind: TensorType, name: str = "w", **attributes: object) -> Op:
    held = {key: value if isinstance(value, Const) else Const.of(value) for key, value in attributes.items()}  # type: ignore[arg-type]
    return Op(op_type, {}, [(name, kind)], {"name": Const.of(name), **held})


def program_of(*ops: Op, opset: Opset = IOS16) -> Program:
    """Each op's result is added to the input, so that coremltools has a use for it."""
    function = Function("main", [("x", TensorType(FP32, (1,)))], opset.key)
    block = Block()
    function.add_block(opset.key, block)
    for each in ops:
        block.append(each)
        value, name, kind = each.output, each.output.name, each.output.type
        assert isinstance(kind, TensorType)
        if kind.dtype is not FP32:
            kind = kind.with_dtype(FP32)
            cast = Op("cast", {"x": value, "dtype": Const.of("fp32")}, [(f"{name}_as_fp32", kind)])
            block.append(cast)
            value = cast.output
        block.append(Op("add", {"x": value, "y": function.inputs[0]}, [(f"{name}_sum", kind)]))
    assert block.last is not None
    block.set_outputs(block.last.outputs)
    return Program([function], spec_version=opset.spec_version)


def lut(shape: tuple[int, ...], nbits: int, dtype: DType = FP16, name: str = "w") -> Op:
    count = int(np.prod(shape))
    indices = RANDOM.integers(0, 1 << nbits, count).astype(np.uint8)
    entries = RANDOM.standard_normal(1 << nbits).astype(np.float32) * 20
    return op(
        "constexpr_lut_to_dense", TensorType(dtype, shape), name,
        indices=pack(indices, nbits), lut=entries.astype(dtype.numpy), shape=np.array(shape, np.uint32),
    )  # fmt: skip


def sparse(shape: tuple[int, ...], dtype: DType = FP16, name: str = "w") -> Op:
    mask = RANDOM.integers(0, 2, int(np.prod(shape))).astype(np.uint8)
    values = (RANDOM.standard_normal(int(mask.sum())) * 20).astype(dtype.numpy)
    return op(
        "constexpr_sparse_to_dense", TensorType(dtype, shape), name,
        nonzero_data=values, mask=pack(mask, 1), shape=np.array(shape, np.uint32),
    )  # fmt: skip


def affine(data: Array, scale: Array, zero_point: Array, axis: int, name: str = "w") -> Op:
    kind = TensorType(ArrayTensor(scale).dtype, data.shape)
    return op("constexpr_affine_dequantize", kind, name, quantized_data=data, scale=scale, zero_point=zero_point, axis=axis)


def only(program: Program, op_type: str) -> Op:
    (found,) = program.ops(op_type)
    return found


def literal(held: Op, parameter: str) -> Const:
    operand = held[parameter]
    assert isinstance(operand, Const)
    return operand


def value_of(held: Op) -> Array:
    (tensor,) = evaluate(held)
    return tensor.numpy()


@pytest.mark.parametrize("nbits", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("shape", [(3, 5), (8, 2, 4), (7,)])
def test_indices_keep_their_bytes_in_the_weights_shape(nbits: int, shape: tuple[int, ...]) -> None:
    old = lut(shape, nbits)
    packed = bytes(old.attributes["indices"].tensor.payload())
    new = only(raised(program_of(old), IOS18), "constexpr_lut_to_dense")
    indices, table = literal(new, "indices"), literal(new, "lut")
    assert indices.type == TensorType(UINT_BY_BITS[nbits], shape)
    assert bytes(indices.tensor.payload()) == packed
    assert table.type == TensorType(FP16, (*(1 for _ in shape), 1 << nbits, 1))
    assert set(new.attributes) == {"name"}
    assert same_bits(value_of(new), value_of(old))


@pytest.mark.parametrize("shape", [(3, 5), (8, 2, 4), (7,)])
def test_mask_keeps_its_bytes_in_the_weights_shape(shape: tuple[int, ...]) -> None:
    old = sparse(shape)
    new = only(raised(program_of(old), IOS18), "constexpr_sparse_to_dense")
    mask = literal(new, "mask")
    assert mask.type == TensorType(UINT1, shape)
    assert bytes(mask.tensor.payload()) == bytes(old.attributes["mask"].tensor.payload())
    assert literal(new, "nonzero_data") is old.attributes["nonzero_data"]
    assert set(new.operands) == {"nonzero_data", "mask"}
    assert same_bits(value_of(new), value_of(old))


def test_unused_bits_of_the_last_byte_have_no_meaning_and_stay() -> None:
    old = lut((5,), 1)
    dirty = np.array([0b10110101], np.uint8)
    old.set_attribute("indices", Const.of(dirty))
    new = only(raised(program_of(old), IOS18), "constexpr_lut_to_dense")
    assert bytes(literal(new, "indices").tensor.payload()) == dirty.tobytes()
    assert same_bits(value_of(new), value_of(old))


def test_cast_takes_its_source_as_input() -> None:
    source = RANDOM.standard_normal((3, 4)).astype(np.float16)
    old = op("constexpr_cast", TensorType(FP32, (3, 4)), source_val=source, output_dtype="fp32")
    new = only(raised(program_of(old), IOS18), "constexpr_cast")
    assert literal(new, "source_val") is old.attributes["source_val"]
    assert literal(new, "output_dtype").item() == "fp32"
    assert set(new.attributes) == {"name"}
    assert same_bits(value_of(new), source.astype(np.float32))


DATA = RANDOM.integers(-128, 128, (2, 3, 4)).astype(np.int8)
SCALE = RANDOM.random(3).astype(np.float16)
ZERO = np.array([-7, 0, 5], np.int8)


@pytest.mark.parametrize(
    ("scale", "zero", "shape"),
    [
        (SCALE, ZERO, (1, 3, 1)),
        (SCALE, np.int8(3), (1, 3, 1)),
        (np.float16(0.25), ZERO, (1, 3, 1)),
        (np.float16(0.25), np.int8(-3), (1, 1, 1)),
        (SCALE.astype(np.float32), ZERO, (1, 3, 1)),
        (SCALE[:1].reshape(()), np.int8(0), (1, 1, 1)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("axis", [1, -2])
def test_scale_and_zero_point_are_broadcast(scale: Array, zero: Array, shape: tuple[int, ...], axis: int) -> None:
    old = affine(DATA, np.asarray(scale), np.asarray(zero), axis)
    new = only(raised(program_of(old), IOS18), "constexpr_blockwise_shift_scale")
    assert literal(new, "data") is old.attributes["quantized_data"]
    assert literal(new, "scale").tensor.shape == literal(new, "offset").tensor.shape == shape
    assert literal(new, "scale").tensor.dtype.numpy == np.asarray(scale).dtype
    assert same_bits(value_of(new), value_of(old))


@pytest.mark.parametrize(
    ("zero", "scale", "expected"),
    [
        (np.array([0, 5, 127], np.uint8), SCALE, INT8),
        (np.array([0, 5, 128], np.uint8), SCALE, FP16),
        (np.array([0, 5, 255], np.uint8), SCALE.astype(np.float32), FP32),
        (np.array([-3, 0, 5], np.float32), SCALE, INT8),
        (np.array([-3.5, 0, 5], np.float32), SCALE, FP16),
        (np.array([-200, 0, 5], np.float32), SCALE, FP16),
        (np.array([0.1, 0, 5], np.float32), SCALE, FP32),
        (np.float32(2049), SCALE, FP32),
    ],
)  # fmt: skip
def test_offset_is_of_the_first_type_that_holds_it(zero: Array, scale: Array, expected: DType) -> None:
    old = affine(DATA, scale, np.asarray(zero), 1)
    new = only(raised(program_of(old), IOS18), "constexpr_blockwise_shift_scale")
    assert literal(new, "offset").tensor.dtype is expected
    offset = literal(new, "offset").numpy().reshape(-1)
    np.testing.assert_array_equal(offset.astype(np.float32), np.broadcast_to(zero, 3).astype(np.float32))
    assert same_bits(value_of(new), value_of(old))


def test_negative_zero_point_of_unsigned_data_becomes_a_float() -> None:
    old = affine(DATA.view(np.uint8), SCALE, np.array([-1, 0, 1], np.int8), 1)
    new = only(raised(program_of(old), IOS18), "constexpr_blockwise_shift_scale")
    assert literal(new, "offset").tensor.dtype is FP16
    assert same_bits(value_of(new), value_of(old))


@pytest.mark.parametrize("make", [lut, sparse])
def test_forms_below_ios18_stay(make: object) -> None:
    old = lut((3, 5), 4) if make is lut else sparse((3, 5))
    new = only(raised(program_of(old), IOS17), old.op_type)
    assert dict(new.attributes) == dict(old.attributes)
    assert not new.operands


def test_affine_dequantize_of_an_ios18_program_stays() -> None:
    program = program_of(affine(DATA, SCALE, ZERO, 1), opset=IOS18)
    assert len(list(raised(program, OPSETS[-1]).ops("constexpr_affine_dequantize"))) == 1


def everything() -> Program:
    return program_of(
        *(lut((5, 7), nbits, name=f"lut_{nbits}") for nbits in (1, 2, 4, 6, 8)),
        lut((4, 6), 4, FP32, "lut_fp32"),
        lut((2,), 1, name="lut_small"),
        sparse((5, 7), name="sparse"),
        sparse((3, 3), FP32, name="sparse_fp32"),
        affine(DATA, SCALE, ZERO, 1, "affine"),
        affine(DATA, SCALE, np.array([0, 5, 128], np.uint8), 1, "affine_mixed"),
        affine(DATA.view(np.uint8), np.array(0.25, np.float32), np.array(128, np.uint8), 0, "affine_scalar"),
        op("constexpr_cast", TensorType(FP32, (3, 4)), "cast", source_val=np.ones((3, 4), np.float16), output_dtype="fp32"),
    )


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_coremltools_decompresses_the_new_form_to_the_same_bits(target: Opset, tmp_path: Path) -> None:
    program = everything()
    before = decompressed_values(program.save(tmp_path / "before.mlpackage"))
    result = raised(program, target)
    after = decompressed_values(result.save(tmp_path / "after.mlpackage"))
    ours = {held.output.name: value_of(held) for held in result.ops() if held.op_type.startswith("constexpr_")}
    assert before.keys() == after.keys() == ours.keys()
    for name, value in before.items():
        assert same_bits(after[name], value), name
        assert same_bits(ours[name], value), name


def test_blobs_are_reheaded_over_the_same_bytes_of_the_file(tmp_path: Path) -> None:
    path = program_of(lut((32, 5), 6, name="a"), sparse((32, 5), name="b")).save(tmp_path / "before.mlpackage")
    program = load_program(path)
    old = {held.op_type: held for held in program.ops() if held.op_type.startswith("constexpr_")}
    result = raised(program, IOS18)
    for op_type, parameter in (("constexpr_lut_to_dense", "indices"), ("constexpr_sparse_to_dense", "mask")):
        before, after = old[op_type].attributes[parameter].tensor, literal(only(result, op_type), parameter).tensor
        assert isinstance(before, MappedTensor)
        assert isinstance(after, MappedTensor)
        assert (after.file, after.offset, after.nbytes) == (before.file, before.offset, before.nbytes)
    again = load_program(result.save(tmp_path / "after.mlpackage"))
    for op_type in old:
        assert same_bits(value_of(only(again, op_type)), value_of(old[op_type]))


def test_tensors_that_ops_shared_stay_shared(tmp_path: Path) -> None:
    one, two = lut((32, 5), 4, name="a"), lut((32, 5), 4, name="b")
    for name in ("indices", "lut"):
        two.set_attribute(name, one.attributes[name])
    path = program_of(one, two).save(tmp_path / "before.mlpackage")
    first, second = raised(load_program(path), IOS18).ops("constexpr_lut_to_dense")
    for name in ("indices", "lut"):
        assert literal(first, name).tensor is literal(second, name).tensor


def test_other_weights_are_the_same_objects() -> None:
    weight: Tensor = ArrayTensor(RANDOM.standard_normal((64, 64)).astype(np.float32))
    program = program_of(lut((3, 5), 4))
    program.main.body.insert_first(Op("const", {}, [("weight", TensorType(FP32, (64, 64)))], {"val": Const.of(weight)}))
    assert only(raised(program, IOS18), "const").attributes["val"].tensor is weight


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("indices", None, "it has no indices"),
        ("indices", np.zeros(3, np.uint8), "the number of bytes in 'indices'"),
        ("lut", np.zeros(8, np.float16), "2, 4, 16, 64 or 256 entries"),
        ("shape", np.zeros((2, 2), np.uint32), "'shape' has to be a vector of integers"),
    ],
)  # fmt: skip
def test_malformed_form_is_named_with_the_reason(name: str, value: Array | None, reason: str) -> None:
    old = lut((3, 5), 4)
    if value is None:
        old.unset_attribute(name)
    else:
        old.set_attribute(name, Const.of(value))
    with pytest.raises(ConfigError, match=r"constexpr_lut_to_dense w in function main: .*" + reason):
        RaiseOpset(IOS18).apply(program_of(old), Context())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([1, 2, 4, 6, 8]), st.data())
def test_any_palettized_weight_decompresses_to_the_same_bits(shape: list[int], nbits: int, data: st.DataObject) -> None:
    count = int(np.prod(shape))
    payload = data.draw(st.binary(min_size=packed_size(count, nbits), max_size=packed_size(count, nbits)))
    old = lut(tuple(shape), nbits)
    old.set_attribute("indices", Const.of(np.frombuffer(payload, np.uint8)))
    new = only(raised(program_of(old), IOS18), "constexpr_lut_to_dense")
    assert same_bits(value_of(new), value_of(old))
