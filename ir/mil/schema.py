"""The protobuf classes of Core ML, and the little of their shape that lift and lower touch.

The classes come from coremltools' generated modules, loaded from its files under a package name of our own: importing coremltools itself
takes most of a second (three where torch is installed) and prints warnings on Linux. They are the very classes that a later
`import coremltools` sees, since both come from protobuf's one descriptor pool.

The protocols below are where `Any` stops: coremltools has no types.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, TypeVar, cast

from ir.diagnostics import MLPassesError

PRIVATE: Final = "_mlpasses_coreml_proto"
"""The package name under which the generated modules are loaded."""

M = TypeVar("M")
Item_co = TypeVar("Item_co", covariant=True)


class Message(Protocol):
    """What every protobuf message answers."""

    def ByteSize(self) -> int: ...  # noqa: N802 - protobuf's names
    def Clear(self) -> None: ...  # noqa: N802
    def CopyFrom(self, other: Any) -> None: ...  # noqa: N802
    def DiscardUnknownFields(self) -> None: ...  # noqa: N802
    def HasField(self, name: str) -> bool: ...  # noqa: N802
    def MergeFromString(self, data: bytes) -> int: ...  # noqa: N802
    def ParseFromString(self, data: bytes) -> int: ...  # noqa: N802
    def SerializeToString(self, *, deterministic: bool = False) -> bytes: ...  # noqa: N802
    def WhichOneof(self, group: str) -> str | None: ...  # noqa: N802
    def SetInParent(self) -> None: ...  # noqa: N802


class Repeated(Protocol[Item_co]):
    """A repeated message field."""

    def add(self) -> Item_co: ...
    def __getitem__(self, index: int) -> Item_co: ...
    def __iter__(self) -> Iterator[Item_co]: ...
    def __len__(self) -> int: ...


class Scalars(Protocol[M]):
    """A repeated field of numbers or strings."""

    def append(self, value: M) -> None: ...
    def extend(self, values: Iterable[M]) -> None: ...
    def __iter__(self) -> Iterator[M]: ...
    def __len__(self) -> int: ...


class Dimension(Message, Protocol):
    constant: Any
    unknown: Any


class ValueType(Message, Protocol):
    tensorType: Any  # noqa: N815
    listType: Any  # noqa: N815
    tupleType: Any  # noqa: N815
    dictionaryType: Any  # noqa: N815
    stateType: Any  # noqa: N815


class Value(Message, Protocol):
    docString: str  # noqa: N815
    type: ValueType
    immediateValue: Any  # noqa: N815
    blobFileValue: Any  # noqa: N815


class NamedValueType(Message, Protocol):
    name: str
    type: ValueType


class Binding(Message, Protocol):
    name: str
    value: Value


class Argument(Message, Protocol):
    arguments: Repeated[Binding]


class Operation(Message, Protocol):
    type: str
    inputs: MutableMapping[str, Argument]
    outputs: Repeated[NamedValueType]
    blocks: Repeated[Block]
    attributes: MutableMapping[str, Value]


class Block(Message, Protocol):
    inputs: Repeated[NamedValueType]
    outputs: Scalars[str]
    operations: Repeated[Operation]
    attributes: MutableMapping[str, Value]


class Function(Message, Protocol):
    inputs: Repeated[NamedValueType]
    opset: str
    block_specializations: MutableMapping[str, Block]
    attributes: MutableMapping[str, Value]


class Program(Message, Protocol):
    version: int
    functions: MutableMapping[str, Function]
    docString: str  # noqa: N815
    attributes: MutableMapping[str, Value]


class Model(Message, Protocol):
    specificationVersion: int  # noqa: N815
    description: Any
    mlProgram: Program  # noqa: N815
    pipeline: Any
    pipelineClassifier: Any  # noqa: N815
    pipelineRegressor: Any  # noqa: N815


@cache
def _module(name: str) -> ModuleType:
    if PRIVATE not in sys.modules:
        spec = importlib.util.find_spec("coremltools")
        if spec is None or not spec.submodule_search_locations:
            raise MLPassesError("coremltools is not installed: its protobuf classes are needed to read a package")
        package = ModuleType(PRIVATE)
        package.__path__ = [str(Path(spec.submodule_search_locations[0]) / "proto")]
        sys.modules[PRIVATE] = package
    return importlib.import_module(f"{PRIVATE}.{name}")


def new_model() -> Model:
    """An empty `Model` message."""
    return cast(Model, _module("Model_pb2").Model())


def new_value() -> Value:
    """An empty MIL `Value` message."""
    return cast(Value, _module("MIL_pb2").Value())


def new_value_type() -> ValueType:
    """An empty MIL `ValueType` message."""
    return cast(ValueType, _module("MIL_pb2").ValueType())


def decode_error() -> type[Exception]:
    """What protobuf raises on bytes that are no message."""
    from google.protobuf.message import DecodeError

    return DecodeError


def feature_types() -> Any:
    """The module of feature types, whose enumerations the interface's description uses."""
    return _module("FeatureTypes_pb2")
