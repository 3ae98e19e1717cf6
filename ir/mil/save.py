"""`save_program`: a `Program` becomes an `.mlpackage`, atomically."""

from __future__ import annotations

import errno
from pathlib import Path

from ir.core import Program
from ir.diagnostics import PackageError, Problem
from ir.mil import schema
from ir.mil.atomic import saving
from ir.mil.blob_writer import BlobWriter
from ir.mil.blobs import BlobTensor
from ir.mil.document import Document
from ir.mil.draft import PackageDraft
from ir.mil.files import copy_file, reason
from ir.mil.lift import lift_encoded
from ir.mil.loose import beginning
from ir.mil.lower import lower_model
from ir.mil.placement import FilePlan, plan_files
from ir.mil.values import Encoder
from ir.opset import opset_of_key
from ir.tensors import Tensor
from ir.verify import new_problems, raise_problems, specification, structure


class _Offsets:
    """Where each tensor lies in the weight files of the new package."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, int], tuple[str, int]] = {}
        self._new: dict[int, tuple[str, int]] = {}

    def keep(self, blob: BlobTensor, name: str, record: int) -> None:
        self._kept[(blob.file, blob.record)] = (name, record)

    def add(self, tensor: Tensor, name: str, record: int) -> None:
        self._new[id(tensor)] = (name, record)

    def kept(self, tensor: Tensor) -> tuple[str, int] | None:
        """Where a tensor lies that came from a weight file."""
        return self._kept.get((tensor.file, tensor.record)) if isinstance(tensor, BlobTensor) else None

    def place(self, tensor: Tensor) -> tuple[str, int] | None:
        """Where any tensor lies that is in a weight file."""
        found = self.kept(tensor)
        return self._new.get(id(tensor)) if found is None else found


def save_program(program: Program, path: str | Path, *, overwrite: bool) -> Path:
    """Writes `program` as the package `path`. See `Program.save`.

    Raises:
        InvalidProgramError: the program breaks an invariant or its specification; nothing is written.
        PackageError: `path` exists and `overwrite` was not asked for, or is no package; or writing failed.
    """
    document = program.document if isinstance(program.document, Document) else None
    structure.verify(program)
    _verify_specification(program, document)
    target = Path(path)
    try:
        with saving(target, overwrite=overwrite) as folder:
            draft = PackageDraft(folder, document.package if document else None, target)
            offsets = _Offsets()
            for plan in plan_files(program):
                _write_weights(plan, draft, document, offsets)
            loaded = (document.model, document.signatures) if document else (None,)
            model = lower_model(program, Encoder(offsets.place, offsets.kept), *loaded)
            draft.model_file().write_bytes(_encoded(model))
            draft.finish()
    except OSError as error:
        hint = "; free some space and save again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise PackageError(f"{target} could not be written: {reason(error)}{hint}. Nothing was changed.") from error
    return target


def _encoded(model: schema.Model) -> bytes:
    """The bytes of a model, which can be read again: protobuf writes what it then finds nested too deeply to read.

    Raises:
        PackageError: they cannot.
    """
    encoded = model.SerializeToString(deterministic=True)
    try:
        schema.new_model().ParseFromString(encoded)
    except schema.decode_error() as error:
        raise PackageError(f"the program cannot be saved, as nobody could load it: its blocks are nested too deeply ({error})") from error
    return encoded


def _verify_specification(program: Program, document: Document | None) -> None:
    """What was wrong when the program was loaded is not our doing, and no reason to refuse what others made; what is new is."""
    found = [*specification.problems(program), *_version_problems(program)]
    if not found or document is None:
        raise_problems(found)
        return
    loaded = lift_encoded(document.model, document.package.weight_file)
    raise_problems(new_problems(found, [*specification.problems(loaded), *_version_problems(loaded)]))


def _version_problems(program: Program) -> list[Problem]:
    """Functions whose opset the stated specification version does not have."""
    found = []
    for part in program.programs():
        for function in part.functions.values():
            opset = opset_of_key(function.opset)
            if opset is not None and opset.spec_version > part.spec_version:
                message = f"function {function.name} is written for {opset}, and the model states specification version {part.spec_version}"
                found.append(Problem(message, function, f"state spec_version {opset.spec_version}"))
    return found


def _write_weights(plan: FilePlan, draft: PackageDraft, document: Document | None, offsets: _Offsets) -> None:
    path = draft.weight_file(plan.name)
    if plan.source is not None and plan.is_untouched(document):
        copy_file(plan.source, path)
        for blob in plan.kept.values():
            offsets.keep(blob, plan.name, blob.record)
        return
    with BlobWriter(path, beginning(plan.new)) as writer:
        for record in sorted(plan.kept):
            offsets.keep(plan.kept[record], plan.name, writer.append(plan.kept[record]))
        for tensor in plan.new:
            offsets.add(tensor, plan.name, writer.append(tensor))
