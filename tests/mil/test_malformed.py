"""What is wrong with a package is said: what, and where. Nothing crashes, hangs, or allocates what a number in a file asks for."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ir.const import Const
from ir.diagnostics import MLPassesError, PackageError, UnsupportedModelError
from ir.mil import schema
from ir.mil.load import load_program
from ir.types import FP16, FP32, INT32, STRING, UINT3, UNKNOWN, ListType, TensorType, Type
from tests.mil.messages import add_op, blob_value, encode_type, single_function_model, tree, weight_bytes, write_package
from tests.mil.test_lossless import blob_model, every_corner, value_of

F32 = TensorType(FP32, (32,))


def refused(path: Path, error: type[MLPassesError] = PackageError) -> str:
    with pytest.raises(error) as caught:
        load_program(path)
    return str(caught.value)


def with_const(tmp_path: Path, value: schema.Value, weights: dict[str, bytes] | None = None) -> Path:
    model, block = single_function_model()
    add_op(block, "const", {}, {"w": TensorType(FP32)}, {"val": value})
    block.outputs.append("w")
    return write_package(tmp_path / "in.mlpackage", model, weights)


def test_neural_network_is_unsupported_and_says_what_to_do(tmp_path: Path) -> None:
    model = schema.new_model()
    model.neuralNetwork.layers.add().name = "n"  # type: ignore[attr-defined]
    message = refused(write_package(tmp_path / "in.mlpackage", model), UnsupportedModelError)
    assert "neuralNetwork" in message
    assert "mlprogram" in message


def test_pipeline_without_a_program_is_unsupported(tmp_path: Path) -> None:
    model = schema.new_model()
    model.pipeline.models.add().neuralNetwork.layers.add().name = "n"
    assert "holds no ML Program" in refused(write_package(tmp_path / "in.mlpackage", model), UnsupportedModelError)


def test_model_without_a_type_is_unsupported(tmp_path: Path) -> None:
    model = schema.new_model()
    model.specificationVersion = 7
    assert "without a type" in refused(write_package(tmp_path / "in.mlpackage", model), UnsupportedModelError)


def test_an_empty_model_file_is_no_model(tmp_path: Path) -> None:
    assert "its model file is empty" in refused(write_package(tmp_path / "in.mlpackage", b""))


def test_truncated_protobuf(tmp_path: Path) -> None:
    encoded = every_corner().SerializeToString()
    assert "no Core ML model" in refused(write_package(tmp_path / "in.mlpackage", encoded[: len(encoded) // 2]))


def test_unknown_field_inside_a_program_is_refused(tmp_path: Path) -> None:
    model, block = single_function_model()
    add_op(block, "relu", {}, {"y": F32})
    block.operations[0].MergeFromString(bytes([0xFA, 0x0F, 3]) + b"new")
    assert "fields that this version's protobuf classes do not know" in refused(write_package(tmp_path / "in.mlpackage", model))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda op: op.inputs["x"].arguments.add(), "neither a name nor a value"),
        (lambda op: setattr(op.inputs["x"].arguments.add(), "name", "nowhere"), "uses 'nowhere', which nothing before it defines"),
        (lambda op: setattr(op.inputs["x"].arguments.add(), "name", "y"), "uses 'y', which nothing before it defines"),
        (lambda op: setattr(op.inputs["x"].arguments.add(), "name", ""), "an operand's name is empty"),
        (lambda op: op.outputs.add(name="z"), "a type without a kind"),
        (lambda op: op.outputs.add(name="y").type.MergeFromString(encode_type(F32)), "y"),
        (lambda op: op.outputs[0].type.tensorType.dimensions.add(), "neither constant nor unknown"),
        (lambda op: setattr(op.outputs[0].type.tensorType, "dataType", 99), "element type 99"),
        (lambda op: op.attributes["a"].SetInParent(), "a type without a kind"),
        (lambda op: op.attributes["a"].type.MergeFromString(encode_type(F32)), "neither an immediate value nor a blob"),
        (lambda op: op.blocks.add().outputs.append("nowhere"), "returns 'nowhere', which nothing defines"),
    ],
)
def test_malformed_op_is_named(tmp_path: Path, spoil: Callable[[Any], object], expected: str) -> None:
    model, block = single_function_model()
    op = add_op(block, "relu", {}, {"y": F32})
    spoil(op)
    message = refused(write_package(tmp_path / "in.mlpackage", model))
    assert expected in message
    assert "relu y" in message
    assert "in.mlpackage" in message


def immediate(kind: Type, fill: Callable[[Any], object]) -> schema.Value:
    value = schema.new_value()
    value.type.MergeFromString(encode_type(kind))
    value.immediateValue.SetInParent()
    fill(value.immediateValue)
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (immediate(F32, lambda v: v.tensor.floats.values.extend([1.0])), "holds 1 values where 32 are due"),
        (immediate(TensorType(FP16, (2,)), lambda v: setattr(v.tensor.bytes, "values", b"abc")), "holds other bytes where 2 are due"),
        (immediate(TensorType(UINT3, (3,)), lambda v: setattr(v.tensor.bytes, "values", b"abc")), "holds other bytes where 3 are due"),
        (immediate(TensorType(FP32, (1,)), lambda v: v.tensor.strings.values.append("1")), "holds strings"),
        (immediate(TensorType(STRING, (1,)), lambda v: setattr(v.tensor.bytes, "values", b"a")), "holds other bytes"),
        (immediate(TensorType(FP32, (UNKNOWN,)), lambda v: v.tensor.floats.values.append(1)), "not known"),
        (immediate(TensorType(FP32, (2**40, 2**40)), lambda v: v.tensor.floats.values.append(1)), "no array can have them"),
        (immediate(TensorType(FP32, (0, 2**63, 2**63)), lambda v: v.tensor.SetInParent()), "no array can have them"),
        (immediate(TensorType(FP32, (1,) * 100_000), lambda v: v.tensor.floats.values.append(1)), "no array can have them"),
        (immediate(TensorType(FP32, (1,)), lambda v: v.list.SetInParent()), "holds a list"),
        (immediate(ListType(TensorType(FP32), 1), lambda v: v.tensor.SetInParent()), "holds a tensor"),
    ],
)
def test_literal_that_disagrees_with_its_type_is_refused(tmp_path: Path, value: schema.Value, expected: str) -> None:
    assert expected in refused(with_const(tmp_path, value))


def test_integer_outside_its_type_is_refused_when_it_is_read(tmp_path: Path) -> None:
    kind = TensorType(UINT3, (1,))
    program = load_program(with_const(tmp_path, immediate(kind, lambda v: v.tensor.ints.values.append(9))))
    with pytest.raises(PackageError, match="outside uint3"):
        next(program.ops("const")).attributes["val"].numpy()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (blob_value(F32, 0), "byte 0"),
        (blob_value(F32, 65), "byte 65"),
        (blob_value(F32, 128), "byte 128"),
        (blob_value(F32, 1 << 40), "byte 1099511627776"),
        (blob_value(TensorType(FP32, (31,)), 64), "128"),
        (blob_value(TensorType(FP32, (2**62, 2**62)), 64), "no array can have them"),
        (blob_value(TensorType(FP16, (64,)), 64), "fp16"),
        (blob_value(TensorType(STRING, (64,)), 64), "string"),
        (blob_value(F32, 64, "@model_path/weights/other.bin"), "other.bin"),
        (blob_value(F32, 64, "@model_path/../../../../etc/passwd"), "passwd"),
        (blob_value(F32, 64, "/etc/passwd"), "passwd"),
        (blob_value(ListType(TensorType(FP32)), 64), "list<fp32, ?>"),
    ],
)
def test_bad_blob_reference_is_refused(tmp_path: Path, value: schema.Value, expected: str) -> None:
    content, _ = weight_bytes([(FP32, np.ones(32, np.float32))])
    message = refused(with_const(tmp_path, value, {"weight.bin": content}))
    assert expected in message
    assert "const w" in message


@pytest.mark.parametrize(("at", "what"), [(0, "version"), (64, "record"), (68, "holds"), (72, "bytes"), (80, "data")])
def test_damaged_weight_file_is_refused(tmp_path: Path, at: int, what: str) -> None:
    content, offsets = weight_bytes([(FP32, np.ones(32, np.float32))])
    spoilt = bytearray(content)
    struct.pack_into("<Q", spoilt, at, 0x1234567)
    path = write_package(tmp_path / "in.mlpackage", blob_model([(FP32, F32)], offsets), {"weight.bin": bytes(spoilt)})
    assert what in refused(path)


def test_blob_without_its_file_names_the_manifest_entry(tmp_path: Path) -> None:
    path = write_package(tmp_path / "in.mlpackage", blob_model([(FP32, F32)], [64]), {})
    assert "manifest entry" in refused(path)


def test_deep_nesting_is_refused_or_survives(tmp_path: Path) -> None:
    model, block = single_function_model()
    for _ in range(400):
        block = add_op(block, "cond", {}, {}).blocks.add()
    try:
        encoded = model.SerializeToString()
    except Exception as error:  # protobuf itself may refuse to encode it
        pytest.skip(f"protobuf does not encode it: {error}")
    assert "no Core ML model" in refused(write_package(tmp_path / "in.mlpackage", encoded))


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound package with blobs, an every-corner program as its pattern for mutations."""
    content, offsets = weight_bytes([(FP32, np.ones(32, np.float32)), (FP16, np.ones(64, np.float16))])
    model = every_corner()
    block = model.mlProgram.functions["main"].block_specializations["CoreML8"]
    add_op(block, "const", {}, {"w0": F32}, {"val": blob_value(F32, offsets[0])})
    add_op(block, "const", {}, {"w1": TensorType(FP16, (64,))}, {"val": blob_value(TensorType(FP16, (64,)), offsets[1])})
    add_op(block, "const", {}, {"w2": TensorType(INT32, (3,))}, {"val": value_of(Const.of([1, 2, 3]))})
    return write_package(tmp_path_factory.mktemp("fuzz") / "in.mlpackage", model, {"weight.bin": content})


def mutate(content: bytes, seed: int) -> bytes:
    """Flips, deletes, repeats or overwrites a few places of `content`."""
    chance = random.Random(seed)
    out = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del out[at : at + chance.randint(1, 8)]
        elif kind == 2:
            out[at:at] = out[at : at + chance.randint(1, 40)]
        elif kind == 3:
            out[at : at + 1] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF))])
        else:
            out[at : at + 8] = struct.pack("<Q", chance.choice((0, 1, 63, 64, 2**31, 2**32 - 1, 2**63, 2**64 - 1)))
        if not out:
            break
    return bytes(out)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), part=st.sampled_from(["model.mlmodel", "weight.bin", "Manifest.json"]))
def test_mutant_loads_and_saves_or_is_refused(victim: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, part: str) -> None:
    before = tree(victim)
    where = next(path for path in before if path.endswith(part))
    content = before[where]
    assert content is not None
    folder = tmp_path_factory.mktemp("mutant")
    package = folder / "in.mlpackage"
    for path, original in before.items():
        target = package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if original is None:
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(mutate(original, seed) if path == where else original)
    saved = False
    with suppress(MLPassesError):
        program = load_program(package)
        str(program)
        program.save(folder / "out.mlpackage")
        saved = True
    assert (folder / "out.mlpackage").exists() == saved
