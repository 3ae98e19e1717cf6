"""Model messages and packages made by hand, for what no builder would make: every corner of the format, and what breaks it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ir.mil import schema
from ir.mil.values import Encoder
from ir.packing import pack_tensor
from ir.tensors import Array
from ir.types import DTYPES, STRING, DType, Type

ROOT = "4EC8E2D0-7C52-4BB5-8E03-5E3EB7A5E9A1"
WEIGHTS = "0C6B1D4B-3C30-4DF3-9F1F-4C9E9F0C2D11"
WEIGHT_FILE = "@model_path/weights/weight.bin"


def encode_type(kind: Type) -> bytes:
    return Encoder(lambda tensor: None).type(kind)


def named(field: Any, name: str, kind: Type) -> None:
    """Adds a (name, type) pair to a repeated field."""
    item = field.add()
    item.name = name
    item.type.MergeFromString(encode_type(kind))


def add_op(
    block: Any,
    op_type: str,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Type] | None = None,
    attributes: Mapping[str, schema.Value] | None = None,
) -> Any:
    """Adds an operation; an input is a name, a `Value` message, or a list of those."""
    op = block.operations.add()
    op.type = op_type
    for parameter, given in (inputs or {}).items():
        argument = op.inputs[parameter]
        for each in given if isinstance(given, list) else [given]:
            binding = argument.arguments.add()
            if isinstance(each, str):
                binding.name = each
            else:
                binding.value.CopyFrom(each)
    for name, kind in (outputs or {}).items():
        named(op.outputs, name, kind)
    for name, value in (attributes or {}).items():
        op.attributes[name].CopyFrom(value)
    return op


def blob_value(kind: Type, offset: int, file_name: str = WEIGHT_FILE) -> schema.Value:
    value = schema.new_value()
    value.type.MergeFromString(encode_type(kind))
    value.blobFileValue.fileName = file_name
    value.blobFileValue.offset = offset
    return value


def single_function_model(opset: str = "CoreML8", spec_version: int = 9) -> tuple[schema.Model, Any]:
    """A model with a function main and an empty block; the block too."""
    model = schema.new_model()
    model.specificationVersion = spec_version
    model.mlProgram.version = 1
    function = model.mlProgram.functions["main"]
    function.opset = opset
    return model, function.block_specializations[opset]


def weight_bytes(arrays: list[tuple[DType, np.ndarray[Any, Any]]], garbage: bytes = b"") -> tuple[bytes, list[int]]:
    """A weight file, and the offsets of its records. `garbage` fills the reserved bytes of each record, as old writers left them."""
    out = bytearray(struct.pack("<II56x", len(arrays), 2))
    offsets = []
    for dtype, array in arrays:
        out += bytes(-len(out) % 64)
        offsets.append(len(out))
        data = pack_tensor(array, dtype).tobytes()
        padding = len(data) * 8 - array.size * dtype.bits if dtype.is_subbyte else 0
        record = bytearray(struct.pack("<IIQQQ32x", 0xDEADBEEF, dtype.blob or 0, len(data), len(out) + 64, padding))
        if garbage and not dtype.is_subbyte:
            record[24:] = (garbage * 40)[:40]
        out += record + data
    return bytes(out), offsets


def write_package(path: Path, model: schema.Model | bytes, weights: Mapping[str, bytes] | None = None, **manifest: Any) -> Path:
    """An `.mlpackage` with this model, and these weight files by their names in `weights/`."""
    folder = path / "Data" / "com.apple.CoreML"
    folder.mkdir(parents=True)
    encoded = model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
    (folder / "model.mlmodel").write_bytes(encoded)
    entries = {ROOT: item("model.mlmodel")}
    if weights is not None:
        (folder / "weights").mkdir()
        for name, content in weights.items():
            (folder / "weights" / name).write_bytes(content)
        entries[WEIGHTS] = item("weights")
    document = {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": ROOT, **manifest}
    (path / "Manifest.json").write_text(json.dumps(document, indent=4))
    return path


def item(name: str) -> dict[str, str]:
    """A manifest entry."""
    return {"author": "com.apple.CoreML", "description": "by hand", "name": name, "path": f"com.apple.CoreML/{name}"}


def tree(path: Path) -> dict[str, bytes | None]:
    """Every file of a folder with its content, every folder with None."""
    return {str(p.relative_to(path)): p.read_bytes() if p.is_file() else None for p in sorted(path.rglob("*"))}


def samples(dtype: DType, count: int = 12) -> Array:
    """Values of a type that a careless copy would change: extremes, NaN payloads, -0, odd strings."""
    if dtype is STRING:
        words = ["grüße", "", "a", "日本", "\x00", '"\\', "\n", "x" * 200]
        array = np.empty(count, object)
        array[:] = [words[i % len(words)] for i in range(count)]
        return array
    if dtype.name == "bool":
        return np.equal(np.arange(count) % 3, 0)
    if dtype.is_float:
        bits = np.random.default_rng(dtype.proto).integers(0, 1 << dtype.bits, count, dtype=np.uint64)
        return np.asarray(bits.astype(f"u{dtype.bits // 8}").view(dtype.numpy))
    whole = np.random.default_rng(dtype.proto).integers(dtype.minimum, dtype.maximum, count, dtype=dtype.numpy, endpoint=True)
    whole[0], whole[-1] = dtype.minimum, dtype.maximum
    return whole


BLOB_TYPES = [dtype for dtype in DTYPES if dtype.blob is not None]
