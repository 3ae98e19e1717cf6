"""The `.mlpackage` folder: its manifest, its model, its weight files, and whatever else lies in it.

Nothing outside the folder is ever read. A path may leave it as text (`..`, an absolute path) or by a symbolic link; either is an error.
Links that stay inside are followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from ir.diagnostics import PackageError
from ir.mil.atomic import recover
from ir.mil.blobs import BlobFile
from ir.mil.files import check_regular, lfs_hint, reason
from ir.mil.manifest import FILE, MAX_BYTES, Item, Manifest, safe_path

DATA: Final = "Data"
MODEL_PATH: Final = "@model_path/"
"""What a weight file's name in a program starts with: the folder of the model file."""
MODEL_ITEM: Final = PurePosixPath("com.apple.CoreML/model.mlmodel")
Kind: TypeAlias = Literal["file", "folder", "link"]


@frozen(eq=False)
class Package:
    """An opened `.mlpackage`, or a lone model file (`.mlmodel`), which has no manifest of its own and no weight files.

    `warnings` says what is odd but does not stop us: an item that does not exist, an entry that Core ML would refuse.
    """

    path: Path
    """Where it was opened, as it was given."""
    manifest: Manifest
    home: Path | None
    """The folder without symbolic links in its path; None for a lone model file."""
    model: Path
    """The file of the root model."""
    warnings: tuple[str, ...] = ()
    _weights: dict[str, BlobFile] = field(factory=dict, init=False, repr=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Package:
        """Opens a package: reads its manifest and finds its model; no weights are touched.

        If a save was interrupted on a file system that cannot exchange folders, the package is put back first (`ir.mil.atomic`).

        Raises:
            PackageError: it is missing, is something else, or its manifest is malformed, leaves the package or names no model.
        """
        path = Path(path)
        recover(path)
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError) as error:
            raise PackageError(f"{path} cannot be opened: {reason(error)}") from error
        return cls._open_folder(path) if stat.S_ISDIR(mode) else cls._open_file(path)

    @classmethod
    def _open_folder(cls, path: Path) -> Package:
        home = Path(os.path.realpath(path))
        manifest_file = _inside(home, PurePosixPath(FILE), f"{path}/{FILE}")
        if not _mode(manifest_file):
            raise PackageError(f"{path} is no .mlpackage: {_guess(path)}")
        check_regular(manifest_file, str(manifest_file))
        manifest = Manifest.parse(_read_start(manifest_file, MAX_BYTES + 1), f"{path}/{FILE}")
        warnings = list(manifest.warnings)
        for item in manifest.items:
            if item is not manifest.root and not _mode(_inside(home, DATA / item.path, f"{path}: {item}")):
                warnings.append(f"{path}: {item} names what does not exist")
        model = _inside(home, DATA / manifest.root.path, f"{path}: {manifest.root}")
        check_regular(model, f"{path}: the root model, {manifest.root},")
        _check_model(model, f"{path}/{DATA}/{manifest.root.path}")
        return cls(path, manifest, home, model, tuple(warnings))

    @classmethod
    def _open_file(cls, path: Path) -> Package:
        check_regular(path, str(path))
        _check_model(path, str(path))
        root = Item("", MODEL_ITEM, "model.mlmodel", description="CoreML Model Specification")
        return cls(path, Manifest.new(root), None, Path(os.path.realpath(path)))

    @property
    def items(self) -> tuple[Item, ...]:
        return self.manifest.items

    @property
    def root(self) -> Item:
        """The item that is the model."""
        return self.manifest.root

    def weight_file(self, file_name: str) -> BlobFile:
        """The weight file that a program calls `file_name`, mapped once however often it is asked for.

        Raises:
            PackageError: as `resolve_weight_file`.
        """
        found = self._weights.get(file_name)
        if found is None:
            found = self._weights[file_name] = BlobFile(self.resolve_weight_file(file_name), file_name)
        return found

    def resolve_weight_file(self, file_name: str) -> Path:
        """The file that a program calls `file_name`, such as `@model_path/weights/weight.bin`.

        The name is taken as a path from the model file's folder. Where nothing is there, its last part is looked for in the manifest's
        other items: coremltools' reader goes by the last part alone, so files exist whose name was never right.

        Raises:
            PackageError: the name leaves the package, or there is no such file; where the manifest promised it, the entry is named.
        """
        if self.home is None:
            raise PackageError(
                f"{self.path} is a single model file, and its program refers to weight file {file_name!r}: "
                "open the .mlpackage that it was taken from"
            )
        beside = self.weight_path(file_name)
        items = [item for item in self.items if item is not self.root]
        places = [beside, *(item.path / beside.name for item in items), *(i.path for i in items if i.path.name == beside.name)]
        for place in places:
            found = _inside(self.home, DATA / place, f"{self.path}: weight file {file_name!r}")
            if stat.S_ISREG(_mode(found)):
                return found
        promised = next((item for item in items if item.covers(beside)), None)
        if promised is None:
            raise PackageError(f"{self.path} has no weight file {file_name!r}, and no manifest entry for it")
        raise PackageError(f"{self.path}: weight file {file_name!r} does not exist, though {promised} stands for it")

    def weight_path(self, file_name: str) -> PurePosixPath:
        """Where a weight file of that name belongs, relative to `Data`, whether or not it is there.

        Raises:
            PackageError: the name leaves the package.
        """
        return self.root.path.parent / safe_path(file_name.removeprefix(MODEL_PATH), f"{self.path}: the name of a weight file")

    def entries(self) -> Iterator[tuple[PurePosixPath, Kind]]:
        """Everything in the folder, by path relative to it, folders before what is in them, in a stable order. Links are not followed.

        Raises:
            PackageError: there is a pipe, socket or device, or a folder that cannot be read.
        """
        pending = [] if self.home is None else [(self.home, PurePosixPath())]
        while pending:
            folder, relative = pending.pop()
            try:
                with os.scandir(folder) as scan:
                    found = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                raise PackageError(f"{folder} cannot be read: {reason(error)}") from error
            for entry in found:
                path = relative / entry.name
                if entry.is_symlink():
                    yield path, "link"
                elif entry.is_dir():
                    pending.append((folder / entry.name, path))
                    yield path, "folder"
                elif entry.is_file():
                    yield path, "file"
                else:
                    raise PackageError(f"{self.path}/{path} is a pipe, socket or device, which no package holds: remove it")

    def other_files(self) -> Iterator[PurePosixPath]:
        """The files and links that the manifest does not name one by one, relative to the package: weight files, `.keep` and the like."""
        named = {DATA / item.path for item in self.items} | {PurePosixPath(FILE)}
        return (path for path, kind in self.entries() if kind != "folder" and path not in named)

    def inside(self, path: PurePosixPath, name: str) -> Path:
        """Where a path relative to the package leads, links resolved; it need not exist.

        Raises:
            PackageError: it leads out of the package.
        """
        if self.home is None:
            raise PackageError(f"{self.path} is a single model file: there is no {name} in it")
        return _inside(self.home, path, name)


def _inside(home: Path, path: PurePosixPath, name: str) -> Path:
    found = Path(os.path.realpath(home / path))
    if found != home and home not in found.parents:
        raise PackageError(
            f"{name} is a link to {found}, outside the package, which is not followed; "
            f"where that is meant (a download cache), make a copy without links: cp -RL {home} copy.mlpackage"
        )
    return found


def _mode(path: Path) -> int:
    """What is at a path, as `stat` says it; 0 where nothing is."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {reason(error)}") from error


def _check_model(model: Path, name: str) -> None:
    head = _read_start(model, 64)
    hint = lfs_hint(head)
    if hint is not None:
        raise PackageError(f"{name} {hint}")
    if head.startswith(b"PK\x03\x04"):
        raise PackageError(f"{name} is a zip archive: unpack it, and open the .mlpackage folder in it")


def _read_start(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {reason(error)}") from error
    if len(content) > MAX_BYTES:
        raise PackageError(f"{path} has more than {MAX_BYTES} bytes: it is no manifest")
    return content


def _guess(folder: Path) -> str:
    """What a folder without a manifest is instead, and what to do."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        return f"it cannot be read: {reason(error)}"
    if folder.suffix == ".mlmodelc" or "coremldata.bin" in names:
        return "it is a compiled model (.mlmodelc), which cannot be turned back: open the .mlpackage it was compiled from"
    inner = [name for name in names if name.endswith(".mlpackage")]
    if inner:
        return f"it has no {FILE}; did you mean {folder / inner[0]}?"
    return f"it has no {FILE}"
