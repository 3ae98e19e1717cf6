"""IR → protobuf: a `Program` becomes a `Model` message.

What was lifted and not changed comes out equal, field by field. What surrounds the programs is taken from the document that the program
was loaded with, or written from the functions' signatures where there is none (`ir.mil.interface`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.diagnostics import PackageError
from ir.mil import schema
from ir.mil.interface import Signatures, adapt, describe
from ir.mil.lift import PIPELINES, stages_of
from ir.mil.placement import takes_blobs
from ir.mil.values import Encoder

Loaded: TypeAlias = Mapping[tuple[int, ...], Signatures]
"""The signatures of functions as they were loaded, by the position of their program in a pipeline of models."""


def lower_model(program: Program, encoder: Encoder, original: bytes | None, loaded: Loaded | None = None) -> schema.Model:
    """The model that holds `program`.

    `original` is the encoding of the model that the program was lifted from: everything around the programs is taken from it. `loaded`
    says what its functions took and returned then; without it nobody asks whether the interface still says the same.

    Raises:
        PackageError: the program's interface cannot be described, or a stage is not where the original has one.
    """
    model = schema.new_model()
    if original is None:
        describe(model, program)
    else:
        model.ParseFromString(original)
    _fill_model(model, program, encoder, loaded, ())
    return model


def _fill_model(model: schema.Model, program: Program, encoder: Encoder, loaded: Loaded | None, position: tuple[int, ...]) -> None:
    model.specificationVersion = program.spec_version
    if program.metadata != dict(model.description.metadata.userDefined):
        model.description.metadata.userDefined.clear()
        model.description.metadata.userDefined.update(program.metadata)
    kind = model.WhichOneof("Type")
    if not program.stages:
        if loaded is not None:
            adapt(model, program, loaded.get(position, {}))
        model.mlProgram.Clear()
        model.mlProgram.SetInParent()
        _fill_program(model.mlProgram, program, encoder)
        return
    if kind not in PIPELINES:
        raise PackageError("the program has stages, but the model that it comes from is no pipeline")
    models = stages_of(model, kind)
    for (index,), stage in program.stages.items():
        if index >= len(models):
            raise PackageError(f"the program has a stage {index}, but the pipeline has {len(models)} models")
        _fill_model(models[index], stage, encoder, loaded, (*position, index))


def _fill_program(message: schema.Program, program: Program, encoder: Encoder) -> None:
    message.version = program.format_version
    message.docString = program.doc
    _fill_attributes(message.attributes, program.attributes, encoder)
    for name, function in program.functions.items():
        _fill_function(message.functions[name], function, encoder)


def _fill_function(message: schema.Function, function: Function, encoder: Encoder) -> None:
    message.opset = function.opset
    _fill_values(message.inputs, function.inputs, encoder)
    _fill_attributes(message.attributes, function.attributes, encoder)
    for opset, block in function.specializations.items():
        _fill_block(message.block_specializations[opset], block, encoder)


def _fill_block(message: schema.Block, block: Block, encoder: Encoder) -> None:
    _fill_values(message.inputs, block.inputs, encoder)
    _fill_attributes(message.attributes, block.attributes, encoder)
    message.outputs.extend([value.name for value in block.outputs])
    add = message.operations.add
    for op in block:
        _fill_op(add(), op, encoder)


def _fill_op(message: schema.Operation, op: Op, encoder: Encoder) -> None:
    message.type = op._op_type
    inputs = message.inputs
    for parameter, operands in op._operands.items():
        arguments = inputs[parameter].arguments
        for operand in operands:
            if operand.__class__ is Value:
                arguments.add().name = operand._name
            else:
                encoded = encoder.const if takes_blobs(op._op_type) else encoder.immediate
                arguments.add().value.MergeFromString(encoded(operand))  # type: ignore[arg-type]  # what is no Value is a Const
    _fill_values(message.outputs, op._outputs, encoder)
    _fill_attributes(message.attributes, op._attributes, encoder)
    for block in op._blocks:
        _fill_block(message.blocks.add(), block, encoder)


def _fill_values(message: schema.Repeated[schema.NamedValueType], values: tuple[Value, ...], encoder: Encoder) -> None:
    for value in values:
        named = message.add()
        named.name = value._name
        named.type.MergeFromString(encoder.type(value._type))


def _fill_attributes(message: Mapping[str, schema.Value], attributes: Mapping[str, Const], encoder: Encoder) -> None:
    for name, const in attributes.items():
        message[name].MergeFromString(encoder.const(const))
