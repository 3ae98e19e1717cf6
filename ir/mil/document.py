"""What a package holds besides its programs."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ir.mil.blobs import BlobFile
from ir.mil.interface import Signatures
from ir.mil.package import Package


@frozen(eq=False)
class Document:
    """Where a program was loaded from: the package, the encoding of its model, and the blobs that its programs referred to.

    Programs keep it as `Program.document`, and clones share it.
    """

    package: Package
    model: bytes
    """The encoded `Model`, whose interface and metadata are written back."""
    references: Mapping[BlobFile, frozenset[int]]
    """The records of each weight file that the programs referred to when they were loaded."""
    homes: Mapping[tuple[int, ...], BlobFile]
    """The first weight file that each program referred to, by its position in a pipeline of models; `()` outside of one."""
    signatures: Mapping[tuple[int, ...], Signatures]
    """What the functions of each program took and returned, by its position: where that changed, the interface has to agree."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the package but does not stop us."""
        return self.package.warnings
