"""A package in the making: a new folder that becomes an `.mlpackage`."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ir.diagnostics import PackageError
from ir.mil.files import copy_file
from ir.mil.manifest import FILE, Item, Manifest, safe_path
from ir.mil.package import DATA, MODEL_ITEM, MODEL_PATH, Package


class PackageDraft:
    """Builds a package in an empty folder, as a copy of `source` in which some files are written anew.

        draft = PackageDraft(folder, source)
        draft.model_file().write_bytes(…)
        with BlobWriter(draft.weight_file("@model_path/weights/weight.bin")) as weights: …
        draft.finish()

    Without a source it is a new package. `finish` copies what was neither asked for nor omitted and writes the manifest: the source's,
    byte for byte, if every file has its entry; otherwise with entries added, whose identifiers derive from the model's bytes, so that
    equal content gives equal bytes. Links inside the source stay links; a file written anew replaces what a link points to.

    `target` is what complaints call it, where the package comes to stand somewhere else.

    Raises:
        PackageError: `folder` lies in the source.
    """

    def __init__(self, folder: Path, source: Package | None = None, target: Path | None = None) -> None:
        self.folder = folder
        self.source = source if source is not None and source.home is not None else None
        home = None if self.source is None else self.source.home
        if home is not None and home in Path(os.path.realpath(folder)).parents:
            raise PackageError(f"{target or folder} lies in the package {home}, and a package cannot be saved into itself")
        self._written: set[PurePosixPath] = set()
        self._omitted: set[PurePosixPath] = set()
        self._weights: list[PurePosixPath] = []

    def model_file(self) -> Path:
        """Where to write the model."""
        if self.source is None:
            return self._claim(DATA / MODEL_ITEM)
        return self._claim(self._relative(self.source.model))

    def weight_file(self, file_name: str) -> Path:
        """Where to write the weight file that the program calls `file_name`: where the source has it, else where the name says.

        Raises:
            PackageError: the name leaves the package, or two names lead to one file.
        """
        path = self._weight_path(file_name)
        if path in self._written:
            raise PackageError(f"two names of weight files lead to {path}; one of them is {file_name!r}")
        home = None if self.source is None else self.source.home
        is_new = home is None or not (home / path).exists()
        if is_new and path.is_relative_to(DATA):
            self._weights.append(path.relative_to(DATA))
        return self._claim(path)

    def omit_weight_file(self, file_name: str) -> None:
        """Leaves the source's weight file of that name out. Its folder and its manifest entry stay."""
        self._omitted.add(self._weight_path(file_name))

    def finish(self) -> None:
        """Copies what is left of the source, and writes the manifest.

        Raises:
            PackageError: the source holds a link that leaves it, or what is no file.
            OSError: reading or writing failed.
        """
        if self.source is not None:
            self._copy_rest(self.source)
        (self.folder / FILE).write_bytes(self._manifest().content)

    def _weight_path(self, file_name: str) -> PurePosixPath:
        if self.source is None:
            return DATA / MODEL_ITEM.parent / safe_path(file_name.removeprefix(MODEL_PATH), "the name of a weight file")
        beside = DATA / self.source.weight_path(file_name)
        try:
            return self._relative(self.source.resolve_weight_file(file_name))
        except PackageError:
            return self._relative(self.source.inside(beside, f"weight file {file_name!r}"))

    def _relative(self, path: Path) -> PurePosixPath:
        home = None if self.source is None else self.source.home
        return PurePosixPath(path if home is None else path.relative_to(home))

    def _claim(self, path: PurePosixPath) -> Path:
        self._written.add(path)
        (self.folder / path.parent).mkdir(parents=True, exist_ok=True)
        return self.folder / path

    def _copy_rest(self, source: Package) -> None:
        home = source.home or source.path
        done = self._written | self._omitted | {PurePosixPath(FILE)}
        for path, kind in source.entries():
            if path in done:
                continue
            if kind == "folder":
                (self.folder / path).mkdir(exist_ok=True)
            elif kind == "file":
                copy_file(home / path, self.folder / path)
            else:
                self._copy_link(source, home, path)

    def _copy_link(self, source: Package, home: Path, path: PurePosixPath) -> None:
        link = home / path
        led = source.inside(path, f"{source.path}/{path}")
        target = link.readlink()
        (self.folder / path).symlink_to(os.path.relpath(led, link.parent) if target.is_absolute() else target)

    def _manifest(self) -> Manifest:
        manifest = self.source.manifest if self.source else Manifest.new(self._item(MODEL_ITEM, "CoreML Model Specification"))
        for path in sorted(self._weights):
            if not any(item.covers(path) for item in manifest.items):
                beside_model = path.parent == manifest.root.path.parent
                manifest = manifest.with_item(self._item(path if beside_model else path.parent, "CoreML Model Weights"))
        return manifest

    def _item(self, path: PurePosixPath, description: str) -> Item:
        from hashlib import sha256  # these load OpenSSL, 4 ms, and a package that stays as it was needs no new entry
        from uuid import NAMESPACE_URL, uuid5

        model = sha256(self.model_file().read_bytes()).hexdigest()
        identifier = uuid5(uuid5(NAMESPACE_URL, "mlpasses"), f"{model} {path}")
        return Item(str(identifier).upper(), path, path.name, description=description)
