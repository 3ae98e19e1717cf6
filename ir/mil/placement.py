"""Where each tensor of a program goes when it is saved: into the protobuf, or into which weight file.

A weight file none of whose references changed is copied whole. Any other is written anew: first what lies in a loose file
(`ir.mil.loose`), so that the file can be made of that; then the blobs that are still referred to, in the order in which they lie, and the
other new ones in the order in which the program first refers to them. A literal that is an operand of an op
stays in the protobuf, whatever its size, unless a file that was loaded has it elsewhere: only constexpr ops take blobs, and coremltools'
loader refuses them of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Final

from attrs import Factory, define

from ir.const import Const
from ir.core import Program
from ir.mil.blobs import BlobFile, BlobTensor
from ir.mil.document import Document
from ir.mil.values import WireTensor
from ir.opset import IOS18
from ir.specs import is_constexpr
from ir.tensors import Tensor
from ir.types import BF16, FP8E4M3FN, FP8E5M2, FP16, FP32, INT8, INT16, INT32, UINT8, UINT16, UINT32

WEIGHT_FILE: Final = "@model_path/weights/weight.bin"
"""What programs call their weight file."""
MIN_BLOB_ELEMENTS: Final = 10
"""Smaller tensors stay in the protobuf, as in coremltools."""
_BLOB_TYPES: Final = frozenset({FP16, FP32, INT8, UINT8, BF16, FP8E4M3FN, FP8E5M2})
_BLOB_TYPES_SINCE_IOS18: Final = frozenset({INT16, UINT16, INT32, UINT32})


@define
class FilePlan:
    """One weight file of the package to be: the blobs it keeps, by record, and the tensors that are new to it."""

    name: str
    """What the program calls it."""
    source: BlobFile | None = None
    """The file that it replaces; None for a new one."""
    kept: dict[int, BlobTensor] = Factory(dict)
    new: list[Tensor] = Factory(list)

    def is_untouched(self, document: Document | None) -> bool:
        """Whether the file can be copied whole."""
        return (
            document is not None and self.source is not None and not self.new and document.references[self.source] == self.kept.keys()
        )


def plan_files(program: Program) -> list[FilePlan]:
    """The weight files that `program` needs, each with what goes into it."""
    document = program.document if isinstance(program.document, Document) else None
    plans = {file: FilePlan(file.name, file) for file in (document.references if document else ())}
    made: dict[str, FilePlan] = {}
    for position, part in positions(program):
        new: dict[int, Tensor] = {}
        for tensor, movable in _placed_tensors(part):
            if isinstance(tensor, BlobTensor) and tensor.file in plans:
                plans[tensor.file].kept[tensor.record] = tensor
            elif movable and goes_to_file(tensor, part.spec_version):
                new.setdefault(id(tensor), tensor)
        if new:
            home = document.homes.get(position) if document else None
            plan = plans[home] if home else next(iter(plans.values()), None) or made.setdefault(WEIGHT_FILE, FilePlan(WEIGHT_FILE))
            plan.new.extend(new.values())
    return [*plans.values(), *made.values()]


def positions(program: Program, at: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Program]]:
    """The program and the stages of a pipeline of models, each with its position, nested pipelines' positions joined."""
    yield at, program
    for position, stage in program.stages.items():
        yield from positions(stage, (*at, *position))


def goes_to_file(tensor: Tensor, spec_version: int) -> bool:
    """Whether a tensor is stored in a weight file: what came from the protobuf stays there, and so does what is small."""
    if isinstance(tensor, WireTensor) or prod(tensor.shape) < MIN_BLOB_ELEMENTS:
        return False
    if tensor.dtype in _BLOB_TYPES or tensor.dtype.is_subbyte:
        return True
    return tensor.dtype in _BLOB_TYPES_SINCE_IOS18 and spec_version >= IOS18.spec_version


def takes_blobs(op_type: str) -> bool:
    """Whether operands of an op of this type that are literals may lie in a weight file."""
    return is_constexpr(op_type)


def tensors_of(program: Program) -> Iterator[Tensor]:
    """Every tensor that the program's literals hold and that is not in the protobuf already, in program order."""
    for tensor, _ in _placed_tensors(program):
        yield tensor


def _placed_tensors(program: Program) -> Iterator[tuple[Tensor, bool]]:
    """The same, each with whether its place may be a weight file."""
    pending: list[Const] = list(program.attributes.values())
    for function in program.functions.values():
        pending += function.attributes.values()
        for block in function.blocks():
            pending += block.attributes.values()
            for op in block:
                for const in op._attributes.values():
                    if const.data.__class__ is not WireTensor:
                        pending.append(const)
                if pending:
                    yield from _flat(pending, True)
                    pending = []
                for operands in op._operands.values():
                    for operand in operands:
                        if operand.__class__ is Const and operand.data.__class__ is not WireTensor:
                            pending.append(operand)
                if pending:
                    yield from _flat(pending, takes_blobs(op._op_type))
                    pending = []
    yield from _flat(pending, True)


def _flat(consts: list[Const], movable: bool) -> Iterator[tuple[Tensor, bool]]:
    for const in consts:
        data = const.data
        if not isinstance(data, tuple):
            if data.__class__ is not WireTensor:
                yield data, movable
            continue
        for item in data:
            yield from _flat(list(item) if isinstance(item, tuple) else [item], movable)
