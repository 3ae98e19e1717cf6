"""The description of a model's interface: written for a program that was built, held against one that was loaded.

Inputs, outputs and states of each function become features of its description: multi-arrays with the shapes of the types. An unknown
dimension becomes an open range from 1, with 1 as the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from ir.core import Function, Program, Value
from ir.diagnostics import PackageError
from ir.mil import schema
from ir.opset import IOS16, IOS18, IOS26, Opset
from ir.types import FP16, FP32, FP64, INT8, INT32, StateType, TensorType, Type

_DESCRIBE_ANEW: Final = "drop the loaded description (program.document = None) to have a plain one written"
ARRAY_TYPES: Final = {
    FP64: ("DOUBLE", None),
    FP32: ("FLOAT32", None),
    FP16: ("FLOAT16", IOS16),
    INT32: ("INT32", None),
    INT8: ("INT8", IOS26),
}
"""What a multi-array of an interface can hold, and since when."""


@frozen
class Signature:
    """The names and types of what a function takes and returns."""

    inputs: tuple[tuple[str, Type], ...]
    outputs: tuple[tuple[str, Type], ...]

    @property
    def names(self) -> tuple[set[str], set[str]]:
        """What it takes and what it returns, by name."""
        return {name for name, _ in self.inputs}, {name for name, _ in self.outputs}


Signatures: TypeAlias = Mapping[str, Signature]


def signatures_of(program: Program) -> Signatures:
    """The signature of each function that has an active block."""
    return {
        name: Signature(_pairs(function.inputs), _pairs(function.specializations[function.opset].outputs))
        for name, function in program.functions.items()
        if function.opset in function.specializations
    }


def adapt(model: schema.Model, program: Program, loaded: Signatures) -> None:
    """Holds the description of a model against functions that have changed since it was loaded; those that are gone lose theirs.

    Raises:
        PackageError: a function takes or returns what the description does not have.
    """
    current = signatures_of(program)
    gone = loaded.keys() - current.keys()
    if gone:
        kept = [description for description in model.description.functions if description.name not in gone]
        encoded = [description.SerializeToString() for description in kept]
        del model.description.functions[:]
        for each in encoded:
            model.description.functions.add().MergeFromString(each)
        if model.description.defaultFunctionName in gone:
            raise PackageError(f"function {model.description.defaultFunctionName} is the model's default, and the program has it no longer")
    for name, signature in current.items():
        if signature != loaded.get(name):
            _check_described(model, name, signature, loaded.get(name))


def _check_described(model: schema.Model, name: str, signature: Signature, before: Signature | None) -> None:
    descriptions = {each.name: each for each in model.description.functions}
    description = descriptions.get(name) if descriptions else model.description
    if description is None:
        raise PackageError(f"function {name} is new, and the model's interface does not describe it: {_DESCRIBE_ANEW}")
    described = {feature.name for feature in (*description.input, *description.state)}, {feature.name for feature in description.output}
    if before is not None and before.names != described:
        return  # the interface said something else when it was loaded: nothing can be concluded from it
    for word, has, says in zip(("takes", "returns"), signature.names, described, strict=True):
        if has != says:
            raise PackageError(
                f"function {name} {word} {', '.join(sorted(has))}, and the model's interface says {', '.join(sorted(says))}: "
                f"give them the names that they had, or {_DESCRIBE_ANEW}"
            )
    was = dict((*before.inputs, *before.outputs)) if before is not None else {}
    for each, kind in (*signature.inputs, *signature.outputs):
        if was.get(each, kind) is not kind:
            raise PackageError(
                f"{each} of function {name} was {was[each]} when it was loaded, as the model's interface says, and is {kind} now: "
                f"cast it back, or {_DESCRIBE_ANEW}"
            )


def _pairs(values: Iterable[Value]) -> tuple[tuple[str, Type], ...]:
    return tuple((value.name, value.type) for value in values)


def describe(model: schema.Model, program: Program) -> None:
    """Fills the description of a new model from the signatures of the program's functions.

    Raises:
        PackageError: an input or output has a type that a model's interface cannot have.
    """
    functions = list(program.functions.values())
    if not functions:
        raise PackageError("the program has no function: there is nothing to save")
    if len(functions) == 1:
        _describe_function(model.description, functions[0], program.spec_version)
        return
    if program.spec_version < IOS18.spec_version:
        raise PackageError(f"a model with several functions needs {IOS18} (specification version 9), not version {program.spec_version}")
    for function in functions:
        description = model.description.functions.add()
        description.name = function.name
        _describe_function(description, function, program.spec_version)
    names = [function.name for function in functions]
    model.description.defaultFunctionName = "main" if "main" in names else names[0]


def _describe_function(description: Any, function: Function, spec_version: int) -> None:
    for value in function.inputs:
        if isinstance(value.type, StateType):
            feature = description.state.add()
            feature.name = value.name
            _describe_array(feature.type.stateType.arrayType, value, value.type.wrapped, spec_version)
        else:
            feature = description.input.add()
            feature.name = value.name
            _describe_array(feature.type.multiArrayType, value, value.type, spec_version)
    for value in function.outputs:
        feature = description.output.add()
        feature.name = value.name
        _describe_array(feature.type.multiArrayType, value, value.type, spec_version)


def _describe_array(array: Any, value: Value, kind: object, spec_version: int) -> None:
    if not isinstance(kind, TensorType) or kind.dtype not in ARRAY_TYPES:
        allowed = ", ".join(dtype.name for dtype in ARRAY_TYPES)
        raise PackageError(f"{value.name} is a {value.type}, which a model's interface cannot have: cast it to one of {allowed}")
    name, since = ARRAY_TYPES[kind.dtype]
    _check_since(value, since, spec_version)
    array.dataType = schema.feature_types().ArrayFeatureType.ArrayDataType.Value(name)
    if kind.is_static:
        array.shape.extend(kind.static_shape)
        return
    for dim in kind.shape:
        known = isinstance(dim, int)
        array.shape.append(dim if known else 1)
        bounds = array.shapeRange.sizeRanges.add()
        bounds.lowerBound = dim if known else 1
        bounds.upperBound = dim if known else -1


def _check_since(value: Value, since: Opset | None, spec_version: int) -> None:
    if since is not None and spec_version < since.spec_version:
        raise PackageError(
            f"{value.name} is a {value.type}, which an interface can have from {since} (specification version {since.spec_version}) on: "
            f"this program is of version {spec_version}; cast it, or raise the opset"
        )
