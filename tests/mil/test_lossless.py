"""What is lifted and lowered again is what it was: message by message, file by file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Block, Function, Op, Program, constant_of
from ir.diagnostics import InvalidProgramError, PackageError
from ir.mil import schema
from ir.mil.blobs import BlobFile
from ir.mil.lift import lift_model
from ir.mil.load import load_program
from ir.mil.lower import lower_model
from ir.mil.values import Decoder, Encoder
from ir.opset import IOS16, IOS18, Opset
from ir.tensors import ArrayTensor, MappedTensor, Tensor
from ir.types import (
    BOOL,
    DTYPES,
    FP16,
    FP32,
    INT4,
    INT32,
    STRING,
    UINT3,
    UNKNOWN,
    VARIADIC,
    DictionaryType,
    DType,
    ListType,
    StateType,
    TensorType,
    TupleType,
    Type,
)
from tests import oracle
from tests.mil.messages import (
    BLOB_TYPES,
    WEIGHT_FILE,
    add_op,
    blob_value,
    encode_type,
    named,
    samples,
    single_function_model,
    tree,
    weight_bytes,
    write_package,
)


def no_weights(name: str) -> BlobFile:
    raise AssertionError(f"no weight file was expected, {name} was asked for")


def value_of(const: Const) -> schema.Value:
    """The message of a literal that stays in the protobuf."""
    message = schema.new_value()
    message.ParseFromString(Encoder(lambda tensor: None).const(const))
    return message


def round_trip(model: schema.Model) -> tuple[Program, schema.Model]:
    encoded = model.SerializeToString()
    fresh = schema.new_model()
    fresh.ParseFromString(encoded)
    program = lift_model(fresh, no_weights)
    return program, lower_model(program, Encoder(lambda tensor: None), encoded)


def same_bytes(a: schema.Model, b: schema.Model) -> bool:
    return a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "kind",
    [
        *(TensorType(dtype, (2, 3)) for dtype in DTYPES),
        TensorType(FP32),
        TensorType(FP16, (UNKNOWN, 3)),
        TensorType(FP16, (1, VARIADIC)),
        TensorType(FP16, (), -1),
        TensorType(FP32, (4,), None, (("layout", Const.of("nchw")), ("rank", Const.of(1)))),
        ListType(TensorType(FP32, (4,)), 7),
        ListType(TensorType(STRING)),
        TupleType([TensorType(FP16, (1,)), ListType(TensorType(INT32), UNKNOWN)]),
        TupleType(),
        DictionaryType(TensorType(STRING), TensorType(FP32)),
        StateType(TensorType(FP16, (1, 8))),
    ],
    ids=repr,
)
def test_type_survives(kind: Type) -> None:
    message = schema.new_value_type()
    message.ParseFromString(encode_type(kind))
    assert Decoder(no_weights).type(message) is kind


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@pytest.mark.parametrize("shape", [(12,), (3, 4), (1, 12, 1), ()], ids=repr)
def test_immediate_tensor_survives_bit_for_bit(dtype: DType, shape: tuple[int, ...]) -> None:
    array = samples(dtype, 12 if shape else 1).reshape(shape)
    const = Const(TensorType(dtype, shape), ArrayTensor(array, dtype))
    back = Decoder(no_weights).const(value_of(const))
    assert back == const
    assert value_of(back) == value_of(const)


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
def test_empty_tensor_survives(dtype: DType) -> None:
    const = Const(TensorType(dtype, (0, 3)), ArrayTensor(np.empty((0, 3), dtype.numpy), dtype))
    back = Decoder(no_weights).const(value_of(const))
    assert back.numpy().shape == (0, 3)
    assert value_of(back) == value_of(const)


def test_nested_literals_survive() -> None:
    scalar = TensorType(STRING)
    inner = Const.list_of([Const.of("a"), Const.of("b").with_doc("a letter")], scalar)
    literal = Const.tuple_of([inner, Const.dict_of([(Const.of("k"), Const.of(0.5))], scalar, TensorType(FP32)), Const.list_of([], scalar)])
    back = Decoder(no_weights).const(value_of(literal))
    assert back == literal
    assert value_of(back) == value_of(literal)


def test_literal_with_a_new_type_is_encoded_anew() -> None:
    decoded = Decoder(no_weights).const(value_of(Const.of([1, 2])))
    retyped = Const(TensorType(INT32, (1, 2)), decoded.tensor)
    assert value_of(retyped).type.tensorType.rank == 2


def every_corner() -> schema.Model:
    """A model with something in every field that a program has."""
    f4, scalar = TensorType(FP32, (4,)), TensorType(INT32)
    model, block = single_function_model()
    program = model.mlProgram
    program.docString = "a program"
    text = TensorType(STRING)
    program.attributes["buildInfo"].CopyFrom(value_of(Const.dict_of([(Const.of("k"), Const.of("v"))], text, text)))
    main = program.functions["main"]
    main.attributes["tag"].CopyFrom(value_of(Const.of([1, 2, 3])))
    named(main.inputs, "x", TensorType(FP32, (UNKNOWN, 4)))
    named(main.inputs, "cache", StateType(f4))
    block.attributes["note"].CopyFrom(value_of(Const.of("body").with_doc("why")))
    add_op(block, "read_state", {"input": "cache"}, {"held": f4}, {"name": value_of(Const.of("reading"))})
    values = ["held", "held", value_of(Const.of([0.5]))]
    add_op(block, "concat", {"values": values, "axis": value_of(Const.of(0))}, {"joined": TensorType(FP32, (9,))})
    add_op(block, "odd_op", {"nothing": []}, {"left": f4, "right": ListType(f4)}, {"weird": value_of(Const.of(float("nan")))})
    loop = add_op(block, "while_loop", {"loop_vars": ["held", "right"]}, {"end": f4, "rest": ListType(f4)})
    for name in ("condition", "body"):
        inner = loop.blocks.add()
        named(inner.inputs, "at", f4)
        named(inner.inputs, "list", ListType(f4))
        add_op(inner, "mul", {"x": "at", "y": "joined"}, {"again": f4})
        inner.outputs.extend(["again", "list"] if name == "body" else ["again"])
    add_op(block, "write_state", {"input": "cache", "data": "end"})
    block.outputs.extend(["end", "joined", "x"])
    older = main.block_specializations["CoreML5"]
    add_op(older, "relu", {"x": "x"}, {"end": f4})
    older.outputs.extend(["end", "end", "x"])
    other = program.functions["a_second"]
    other.opset = "CoreML8"
    add_op(other.block_specializations["CoreML8"], "const", {}, {"one": scalar}, {"val": value_of(Const.of(1))})
    other.block_specializations["CoreML8"].outputs.append("one")
    model.description.metadata.userDefined["by"] = "hand"
    return model


def test_every_corner_of_a_program_survives() -> None:
    model = every_corner()
    program, back = round_trip(model)
    assert back == model or same_bytes(back, model)
    assert same_bytes(lower_model(program.clone(), Encoder(lambda tensor: None), model.SerializeToString()), model)


def test_clone_shares_no_value_with_its_origin() -> None:
    program, _ = round_trip(every_corner())
    copy = program.clone()
    originals = {id(value) for op in program.ops() for value in op.outputs}
    for op in copy.ops():
        for held in op.operands.values():
            assert not originals & {id(operand) for operand in held}


def test_an_op_type_or_a_parameter_is_one_string_throughout_a_program() -> None:
    program, _ = round_trip(every_corner())
    ops = [op for block in program.blocks() for op in block]
    for said in ([op.op_type for op in ops], [name for op in ops for name in (*op.operands, *op.attributes)]):
        assert len(said) > len(set(said)) == len({id(each) for each in said})


def test_unknown_fields_outside_the_program_survive() -> None:
    model, block = single_function_model()
    add_op(block, "const", {}, {"one": TensorType(INT32)}, {"val": value_of(Const.of(1))})
    block.outputs.append("one")
    unknown = bytes([0xFA, 0xFF, 0x07, 3]) + b"new"  # field 16383, length-delimited
    encoded = model.SerializeToString() + unknown
    fresh = schema.new_model()
    fresh.ParseFromString(encoded)
    lowered = lower_model(lift_model(fresh, no_weights), Encoder(lambda tensor: None), encoded)
    assert unknown in lowered.SerializeToString()


def blob_model(dtypes: list[tuple[DType, Type]], offsets: list[int], names: list[str] | None = None) -> schema.Model:
    """Consts c0, c1, … that lie at these offsets of weight files."""
    model, block = single_function_model()
    for index, ((_, kind), offset) in enumerate(zip(dtypes, offsets, strict=True)):
        value = blob_value(kind, offset, names[index] if names else WEIGHT_FILE)
        add_op(block, "const", {}, {f"c{index}": kind}, {"val": value})
    block.outputs.extend([f"c{index}" for index in range(len(offsets))])
    return model


@pytest.fixture
def all_types(tmp_path: Path) -> Path:
    """A package with a blob of every type, garbage in the reserved bytes, and an orphan in the middle of the file."""
    arrays = [(dtype, samples(dtype, 21).reshape(3, 7)) for dtype in BLOB_TYPES]
    content, offsets = weight_bytes([*arrays[:5], (FP32, np.ones(100, np.float32)), *arrays[5:]], garbage=b"\xba\xad\xf0\x0d")
    kinds: list[tuple[DType, Type]] = [(dtype, TensorType(dtype, (3, 7))) for dtype in BLOB_TYPES]
    model = blob_model(kinds, offsets[:5] + offsets[6:])
    return write_package(tmp_path / "in.mlpackage", model, {"weight.bin": content, ".keep": b""})


def test_untouched_weight_file_is_copied_to_the_byte(all_types: Path, tmp_path: Path) -> None:
    load_program(all_types).save(tmp_path / "out.mlpackage")
    assert tree(tmp_path / "out.mlpackage") == tree(all_types)


def test_blobs_have_the_values_they_were_written_with(all_types: Path) -> None:
    for dtype, op in zip(BLOB_TYPES, load_program(all_types).ops("const"), strict=True):
        expected = samples(dtype, 21).reshape(3, 7)
        assert op.attributes["val"].numpy().tobytes() == expected.tobytes(), dtype


def test_changed_weight_file_keeps_live_blobs_in_order_and_drops_orphans(all_types: Path, tmp_path: Path) -> None:
    program = load_program(all_types)
    consts = {op.output.name: op for op in program.ops("const")}
    for name in ("c0", "c3"):
        program.main.body.set_outputs([v for v in program.main.outputs if v.name != name])
        consts[name].erase()
    program.save(tmp_path / "out.mlpackage")
    back = load_program(tmp_path / "out.mlpackage")
    blobs = [op.attributes["val"].tensor for op in back.ops("const")]
    assert [blob.dtype for blob in blobs] == [dtype for i, dtype in enumerate(BLOB_TYPES) if i not in (0, 3)]
    records = [blob.record for blob in blobs]  # type: ignore[attr-defined]
    assert records == sorted(records)
    size = (tmp_path / "out.mlpackage/Data/com.apple.CoreML/weights/weight.bin").stat().st_size
    assert size < (all_types / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size - 400


def test_new_weight_follows_the_old_ones(all_types: Path, tmp_path: Path) -> None:
    program = load_program(all_types)
    first = next(program.ops("const"))
    first.set_attribute("val", Const.of(np.arange(21, dtype=np.float16).reshape(3, 7)))
    program.save(tmp_path / "out.mlpackage")
    back = list(load_program(tmp_path / "out.mlpackage").ops("const"))
    records = [op.attributes["val"].tensor.record for op in back]  # type: ignore[attr-defined]
    assert records[0] == max(records)


def test_equal_new_weights_are_written_once(all_types: Path, tmp_path: Path) -> None:
    program = load_program(all_types)
    body = program.main.body
    for name in ("d0", "d1"):
        kind = TensorType(FP32, (3, 7))
        body.append(Op("const", {}, [(name, kind)], {"val": Const.of(np.arange(21, dtype=np.float32).reshape(3, 7))}))
    program.save(tmp_path / "out.mlpackage")
    one, other = list(load_program(tmp_path / "out.mlpackage").ops("const"))[-2:]
    assert one.attributes["val"].tensor is other.attributes["val"].tensor


@pytest.mark.parametrize("opset", [IOS16, IOS18])
def test_a_literal_operand_stays_in_the_protobuf_beside_a_const_of_the_same_tensor(tmp_path: Path, opset: Opset) -> None:
    kind = TensorType(FP16, (1, 16))
    with FunctionBuilder(inputs={"x": kind}, opset=opset) as f:
        added = f.op("add", x=f.inputs["x"], y=np.arange(16, dtype=np.float16).reshape(1, 16))
        f.outputs(f.op("mul", x=added, y=np.arange(16, dtype=np.float16).reshape(1, 16)))
    program = build_program(f)
    add, mul = program.main.body.ops("add", "mul")
    literal = constant_of(add["y"])
    assert literal is not None
    mul.set("y", literal)
    assert [op.op_type for op in program.ops()] == ["const", "add", "const", "mul"]
    saved = program.save(tmp_path / "m.mlpackage")
    (read,) = oracle.accepted(saved)
    assert [op.op_type for op in read.functions["main"].operations if op.op_type != "const"] == ["add", "mul"]
    again = load_program(saved)
    assert again.main.body.last is not None
    assert again.main.body.last["y"] == literal


def test_shared_offset_is_one_tensor(tmp_path: Path) -> None:
    content, offsets = weight_bytes([(FP32, np.ones(32, np.float32))])
    kind = TensorType(FP32, (32,))
    path = write_package(tmp_path / "in.mlpackage", blob_model([(FP32, kind), (FP32, kind)], offsets * 2), {"weight.bin": content})
    one, other = load_program(path).ops("const")
    assert one.attributes["val"].tensor is other.attributes["val"].tensor


def test_several_weight_files_survive(tmp_path: Path) -> None:
    first, a = weight_bytes([(FP32, np.ones(32, np.float32))])
    second, b = weight_bytes([(UINT3, np.arange(8, dtype=np.uint8)), (INT4, np.arange(-8, 8, dtype=np.int8))])
    kinds: list[tuple[DType, Type]] = [(FP32, TensorType(FP32, (32,))), (UINT3, TensorType(UINT3, (8,))), (INT4, TensorType(INT4, (4, 4)))]
    names = ["@model_path/weights/0-weight.bin", "@model_path/weights/1-weight.bin", "@model_path/weights/1-weight.bin"]
    model = blob_model(kinds, a + b, names)
    path = write_package(tmp_path / "in.mlpackage", model, {"0-weight.bin": first, "1-weight.bin": second})
    program = load_program(path)
    program.save(tmp_path / "out.mlpackage")
    assert tree(tmp_path / "out.mlpackage") == tree(path)
    next(program.ops("const")).set_attribute("val", Const.of(np.zeros(32, np.float32)))
    program.save(tmp_path / "new.mlpackage")
    after = tree(tmp_path / "new.mlpackage")
    assert after["Data/com.apple.CoreML/weights/1-weight.bin"] == second
    assert after["Data/com.apple.CoreML/weights/0-weight.bin"] != first


def pipeline_model(stages: list[schema.Model], wrap: str = "pipeline") -> schema.Model:
    model = schema.new_model()
    model.specificationVersion = max(stage.specificationVersion for stage in stages)
    models: Any = model.pipeline if wrap == "pipeline" else getattr(model, wrap).pipeline
    for index, stage in enumerate(stages):
        models.models.add().CopyFrom(stage)
        models.names.append(f"stage{index}")
    return model


@pytest.mark.parametrize("wrap", ["pipeline", "pipelineClassifier", "pipelineRegressor"])
def test_pipeline_survives_with_stages_of_other_kinds(wrap: str) -> None:
    identity = schema.new_model()
    identity.specificationVersion = 6
    identity.neuralNetwork.layers.add().name = "n"  # type: ignore[attr-defined]
    model = pipeline_model([every_corner(), identity, pipeline_model([every_corner()])], wrap)
    program, back = round_trip(model)
    assert list(program.stages) == [(0,), (2,)]
    assert same_bytes(back, model)


def test_metadata_of_a_stage_is_written() -> None:
    model = pipeline_model([every_corner()])
    program, _ = round_trip(model)
    program.stages[(0,)].metadata["by"] = "us"
    back = lower_model(program, Encoder(lambda tensor: None), model.SerializeToString())
    assert dict(back.pipeline.models[0].description.metadata.userDefined) == {"by": "us"}


def test_new_metadata_is_written(all_types: Path, tmp_path: Path) -> None:
    program = load_program(all_types)
    program.metadata["recipe"] = "quantize"
    program.save(tmp_path / "out.mlpackage")
    assert load_program(tmp_path / "out.mlpackage").metadata == {"recipe": "quantize"}


def test_missing_item_without_blobs_is_a_warning_and_survives(tmp_path: Path) -> None:
    model, block = single_function_model()
    add_op(block, "const", {}, {"one": TensorType(INT32)}, {"val": value_of(Const.of(1))})
    block.outputs.append("one")
    path = write_package(tmp_path / "in.mlpackage", model, {})
    (path / "Data/com.apple.CoreML/weights").rmdir()
    program = load_program(path)
    assert "names what does not exist" in program.document.warnings[0]  # type: ignore[attr-defined]
    program.save(tmp_path / "out.mlpackage")
    assert tree(tmp_path / "out.mlpackage") == tree(path)


def test_saving_onto_its_own_path_leaves_the_new_package(all_types: Path) -> None:
    before = tree(all_types)
    program = load_program(all_types)
    program.save(all_types, overwrite=True)
    assert tree(all_types) == before
    program.metadata["twice"] = "yes"
    program.save(all_types, overwrite=True)
    assert load_program(all_types).metadata == {"twice": "yes"}
    assert tree(all_types)["Data/com.apple.CoreML/weights/weight.bin"] == before["Data/com.apple.CoreML/weights/weight.bin"]


def test_bytes_do_not_depend_on_the_process(all_types: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from ir.mil.load import load_program; import numpy as np; from ir.const import Const\n"
        "p = load_program(sys.argv[1]); p.metadata.update({'a': '1', 'b': '2', 'c': '3'})\n"
        "next(p.ops('const')).set_attribute('val', Const.of(np.arange(21, dtype=np.float16).reshape(3, 7)))\n"
        "p.save(sys.argv[2])\n"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script, str(all_types), str(tmp_path / f"{seed}.mlpackage")]
        subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])
    assert tree(tmp_path / "1.mlpackage") == tree(tmp_path / "2.mlpackage")


def test_reheaded_bytes_become_a_blob_of_the_other_type(tmp_path: Path) -> None:
    content, offsets = weight_bytes([(DTYPES[11], np.arange(64, dtype=np.uint8))])
    kind = TensorType(DTYPES[11], (64,))
    path = write_package(tmp_path / "in.mlpackage", blob_model([(DTYPES[11], kind)], offsets), {"weight.bin": content})
    program = load_program(path)
    op = next(program.ops("const"))
    old: Tensor = op.attributes["val"].tensor
    assert isinstance(old, MappedTensor)
    again = MappedTensor(old.file, old.offset, INT4, (8, 16))
    op.set_attribute("val", Const(TensorType(INT4, (8, 16)), again))
    op.output.type = TensorType(INT4, (8, 16))
    program.save(tmp_path / "out.mlpackage")
    back = next(load_program(tmp_path / "out.mlpackage").ops("const")).attributes["val"].tensor
    assert bytes(back.payload()) == bytes(old.payload())
    assert back.dtype is INT4


def test_problem_that_was_there_on_loading_is_no_reason_to_refuse(tmp_path: Path) -> None:
    model, block = single_function_model()
    add_op(block, "const", {}, {"one": TensorType(FP32, (4,))}, {"val": value_of(Const.of([1.0, 2.0, 3.0, 4.0]))})
    add_op(block, "relu", {"x": "one", "slope": "one"}, {"y": TensorType(FP32, (5,))})
    block.outputs.append("y")
    path = write_package(tmp_path / "in.mlpackage", model)
    program = load_program(path)
    program.save(tmp_path / "out.mlpackage")
    assert tree(tmp_path / "out.mlpackage") == tree(path)
    next(program.ops("relu")).set("alpha", Const.of(1.0))
    with pytest.raises(InvalidProgramError, match="alpha"):
        program.save(tmp_path / "new.mlpackage")


def test_decoding_is_left_until_asked(tmp_path: Path) -> None:
    const = Decoder(no_weights).const(value_of(Const.of([True, False])))
    assert const.tensor._array is None  # type: ignore[attr-defined]
    assert const.numpy().tolist() == [True, False]
    assert const.type is TensorType(BOOL, (2,))


def test_a_single_number_is_read_at_once_and_goes_back_as_it_came() -> None:
    raw = value_of(Const.of(0.5, FP16))
    const = Decoder(no_weights).const(raw)
    assert Op("some", {"x": const}, []).sources == ("x", "const", 0.5)
    assert Encoder(lambda tensor: None).const(const) == raw.SerializeToString()


@pytest.fixture
def interface(tmp_path: Path) -> Path:
    """A package with two functions, each with a described input and output."""
    model, block = single_function_model()
    kind = TensorType(FP32, (4,))
    for name in ("main", "other"):
        function = model.mlProgram.functions[name]
        function.opset = "CoreML8"
        named(function.inputs, "x", kind)
        block = function.block_specializations["CoreML8"]
        add_op(block, "relu", {"x": "x"}, {"y": kind})
        block.outputs.append("y")
        description = model.description.functions.add()
        description.name = name
        for features, feature in ((description.input, "x"), (description.output, "y")):
            made = features.add()
            made.name = feature
            made.type.multiArrayType.shape.append(4)
    model.description.defaultFunctionName = "main"
    return write_package(tmp_path / "in.mlpackage", model)


def test_renamed_output_that_the_interface_does_not_have_is_refused(interface: Path, tmp_path: Path) -> None:
    program = load_program(interface)
    program.functions["main"].outputs[0].rename("z")
    with pytest.raises(PackageError, match="function main returns z, and the model's interface says y"):
        program.save(tmp_path / "out.mlpackage")
    assert not (tmp_path / "out.mlpackage").exists()


def test_retyped_input_is_refused(interface: Path, tmp_path: Path) -> None:
    program = load_program(interface)
    program.functions["main"].inputs[0].type = program.functions["main"].outputs[0].type = TensorType(FP32, (5,))
    next(program.functions["main"].ops("relu")).output.type = TensorType(FP32, (5,))
    with pytest.raises(PackageError, match=r"x of function main was fp32\[4\] when it was loaded"):
        program.save(tmp_path / "out.mlpackage")


def test_dropped_function_loses_its_description(interface: Path, tmp_path: Path) -> None:
    program = load_program(interface)
    program.drop_function("other")
    program.save(tmp_path / "out.mlpackage")
    back = load_program(tmp_path / "out.mlpackage")
    assert list(back.functions) == ["main"]
    model = schema.new_model()
    model.ParseFromString(back.document.model)  # type: ignore[attr-defined]
    assert [each.name for each in model.description.functions] == ["main"]


def test_dropping_the_default_function_is_refused(interface: Path, tmp_path: Path) -> None:
    program = load_program(interface)
    program.drop_function("main")
    with pytest.raises(PackageError, match="function main is the model's default"):
        program.save(tmp_path / "out.mlpackage")


def test_version_below_the_opset_is_refused(interface: Path, tmp_path: Path) -> None:
    program = load_program(interface)
    program.spec_version = 6
    with pytest.raises(InvalidProgramError, match="is written for iOS18, and the model states specification version 6"):
        program.save(tmp_path / "out.mlpackage")


def test_program_that_nobody_could_load_is_not_saved(tmp_path: Path) -> None:
    kind = TensorType(FP32, (4,))
    block = Block()
    inner = block
    function = Function("main", [("c", kind)], "CoreML8")
    for level in range(90):
        nested = Block()
        inner.append(Op("odd", {}, [(f"v{level}", kind)], blocks=[nested]))
        inner = nested
    block.set_outputs([block.first.output])  # type: ignore[union-attr]
    function.add_block("CoreML8", block)
    program = Program([function], spec_version=9)
    with pytest.raises(PackageError, match="nested too deeply"):
        program.save(tmp_path / "out.mlpackage")
    assert not (tmp_path / "out.mlpackage").exists()
