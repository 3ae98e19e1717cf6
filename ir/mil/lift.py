"""Protobuf → IR: a `Model` message becomes a `Program`.

Nothing is interpreted and nothing is lost: ops of unknown types, attributes, docstrings, inactive specializations and several functions
all have their place in the IR, and what surrounds the programs (interface, metadata) stays with the document. What cannot be kept is
refused: a field inside a program that this version of the protobuf classes does not know, a name that nothing defines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from sys import intern
from typing import Any, Final

from ir.collector import collector_paused
from ir.const import Const
from ir.core import Block, Function, Op, Operand, Program, Value
from ir.diagnostics import MutationError, PackageError, UnsupportedModelError
from ir.mil import schema
from ir.mil.blobs import BlobFile
from ir.mil.values import Decoder
from ir.types import Type

PIPELINES: Final = ("pipeline", "pipelineClassifier", "pipelineRegressor")


def lift_model(model: schema.Model, weight_file: Callable[[str], BlobFile]) -> Program:
    """The program that a model holds; for a pipeline, a program without functions whose stages are the ML Programs in it.

    `weight_file` finds the weight file that a blob's `fileName` means. The message is not kept, but for unknown fields, which are
    dropped from its programs when they have been reported.

    Raises:
        UnsupportedModelError: the model is no ML Program and no pipeline with one in it.
        PackageError: the program is malformed: what, and at which op, is said.
    """
    kind = model.WhichOneof("Type")
    if kind == "mlProgram":
        with collector_paused():
            program = _Lift(Decoder(weight_file)).program(model.mlProgram)
    elif kind in PIPELINES:
        program = Program()
        for position, stage in enumerate(stages_of(model, kind)):
            if stage.WhichOneof("Type") in ("mlProgram", *PIPELINES):
                try:
                    program.stages[(position,)] = lift_model(stage, weight_file)
                except UnsupportedModelError:
                    continue  # a pipeline within the pipeline that holds no ML Program stays as it is
        if not program.stages:
            raise UnsupportedModelError("the pipeline holds no ML Program: there is nothing to work on")
    else:
        raise UnsupportedModelError(
            f"the model is a {kind or 'model without a type'}, not an ML Program: convert it again with "
            'convert_to="mlprogram" and a deployment target of iOS 15 or later'
        )
    program.spec_version = model.specificationVersion
    program.metadata = dict(sorted(model.description.metadata.userDefined.items()))
    return program


def stages_of(model: schema.Model, kind: str) -> Any:
    """The models of a pipeline, by the kind of the pipeline."""
    return model.pipeline.models if kind == "pipeline" else getattr(model, kind).pipeline.models


def lift_encoded(encoded: bytes, weight_file: Callable[[str], BlobFile]) -> Program:
    """The program in an encoded `Model`. Raises as `lift_model` does, and `PackageError` for bytes that are no model."""
    if not encoded:
        raise PackageError("its model file is empty: the package was copied or saved only in part")
    model = schema.new_model()
    try:
        model.ParseFromString(encoded)
    except schema.decode_error() as error:
        raise PackageError(f"it is no Core ML model, or is truncated: {error}") from error
    return lift_model(model, weight_file)


class _Lift:
    """One program on its way. `scope` holds what a name means at the current point; blocks take back what they added."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._scope: dict[str, Value] = {}

    def program(self, message: schema.Program) -> Program:
        _refuse_unknown_fields(message)
        program = Program(format_version=message.version, doc=message.docString)
        program.attributes = self._attributes(message.attributes)
        for name in sorted(message.functions):
            program.add_function(self._function(name, message.functions[name]))
        return program

    def _function(self, name: str, message: schema.Function) -> Function:
        try:
            function = Function(name, self._named_types(message.inputs), message.opset, self._attributes(message.attributes))
            for opset in sorted(message.block_specializations):
                self._scope = {value.name: value for value in function.inputs}
                function.add_block(opset, self._block(message.block_specializations[opset]))
        except MutationError as error:
            raise PackageError(f"function {name}: {error}") from error
        except PackageError as error:
            raise PackageError(f"function {name}: {error}") from error
        return function

    def _block(self, message: schema.Block) -> Block:
        scope = self._scope
        block = Block(self._named_types(message.inputs), self._attributes(message.attributes))
        hidden: list[tuple[str, Value | None]] = []
        for value in block.inputs:
            hidden.append((value.name, scope.get(value.name)))
            scope[value.name] = value
        for operation in message.operations:
            op = self._op(operation)
            block.append(op)
            for value in op.outputs:
                name = value.name
                hidden.append((name, scope.get(name)))
                scope[name] = value
        outputs = []
        for name in message.outputs:
            found = scope.get(name)
            if found is None:
                raise PackageError(f"a block returns {name!r}, which nothing defines")
            outputs.append(found)
        block.set_outputs(outputs)
        for name, before in reversed(hidden):
            if before is None:
                del scope[name]
            else:
                scope[name] = before
        return block

    def _op(self, message: schema.Operation) -> Op:
        op_type = intern(message.type)
        try:
            scope = self._scope
            operands: dict[str, tuple[Operand, ...]] = {}
            inputs = message.inputs
            for parameter in inputs:  # a protobuf map's items() is a detour through Python: 2 µs an op
                held: list[Operand] = []
                for binding in inputs[parameter].arguments:
                    name = binding.name
                    held.append(scope[name] if name else self._literal(binding))
                operands[intern(parameter)] = tuple(held)
            blocks = message.blocks
            return Op(
                op_type,
                operands,
                self._named_types(message.outputs),
                self._attributes(message.attributes),
                [self._block(block) for block in blocks] if blocks else (),
            )
        except KeyError as error:
            raise PackageError(f"{_name(message)} uses {error.args[0]!r}, which nothing before it defines") from error
        except (PackageError, MutationError) as error:
            raise PackageError(f"{_name(message)}: {error}") from error

    def _literal(self, binding: schema.Binding) -> Const:
        kind = binding.WhichOneof("binding")
        if kind != "value":
            raise PackageError("an operand is neither a name nor a value" if kind is None else "an operand's name is empty")
        return self._decoder.const(binding.value)

    def _attributes(self, message: Mapping[str, schema.Value]) -> dict[str, Const]:
        const = self._decoder.const
        return {intern(name): const(message[name]) for name in message}

    def _named_types(self, message: schema.Repeated[schema.NamedValueType]) -> list[tuple[str, Type]]:
        kind = self._decoder.type
        return [(named.name, kind(named.type)) for named in message]


def _name(message: schema.Operation) -> str:
    outputs = ", ".join(output.name for output in message.outputs)
    return f"{message.type} {outputs}".rstrip()


def _refuse_unknown_fields(message: schema.Program) -> None:
    """A field that the protobuf classes do not know cannot be lifted, so it would be lost: the program was written by a newer format."""
    before = message.ByteSize()
    message.DiscardUnknownFields()
    lost = before - message.ByteSize()
    if lost:
        raise PackageError(
            f"the program holds {lost} bytes in fields that this version's protobuf classes do not know, and they would be lost: "
            "it was written for a newer Core ML; a newer coremltools may know them"
        )
