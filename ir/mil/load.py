"""`load_program`: an `.mlpackage` becomes a `Program`."""

from __future__ import annotations

import os
from pathlib import Path

from ir.core import Program
from ir.diagnostics import MLPassesError, PackageError
from ir.mil.blobs import BlobFile, BlobTensor
from ir.mil.document import Document
from ir.mil.interface import signatures_of
from ir.mil.lift import lift_encoded
from ir.mil.package import Package
from ir.mil.placement import positions, tensors_of


def load_program(path: str | os.PathLike[str]) -> Program:
    """Loads an `.mlpackage`. Weights stay in their files, mapped: what is not asked for is not read.

    Raises:
        PackageError: the package, its manifest, protobuf or weight file is missing or malformed.
        UnsupportedModelError: it holds no ML Program.
    """
    package = Package.open(path)
    encoded = _read(package.model)
    used: dict[BlobFile, None] = {}

    def weight_file(name: str) -> BlobFile:
        file = package.weight_file(name)
        used[file] = None
        return file

    try:
        program = lift_encoded(encoded, weight_file)
    except MLPassesError as error:
        raise type(error)(f"{Path(path)}: {error}") from error
    homes = {position: file for position, part in positions(program) if (file := _first_file(part)) is not None}
    signatures = {position: signatures_of(part) for position, part in positions(program)}
    program.document = Document(package, encoded, {file: file.asked for file in used}, homes, signatures)
    return program


def _first_file(program: Program) -> BlobFile | None:
    return next((tensor.file for tensor in tensors_of(program) if isinstance(tensor, BlobTensor)), None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from error
