"""`Manifest.json`: the list of what an `.mlpackage` holds, kept losslessly.

    {"fileFormatVersion": "1.0.0",
     "itemInfoEntries": {"<UUID>": {"author": …, "description": …, "name": …, "path": "com.apple.CoreML/model.mlmodel"}, …},
     "rootModelIdentifier": "<UUID>"}

Paths are relative to the package's `Data` folder. The document is data from elsewhere: nothing in it is trusted.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import PurePosixPath
from typing import Any, Final, NoReturn

from attrs import frozen

from ir.diagnostics import PackageError
from ir.mil.files import lfs_hint

FILE: Final = "Manifest.json"
AUTHOR: Final = "com.apple.CoreML"
MAX_BYTES: Final = 16 << 20
"""The largest manifest that is read. Real ones have less than a kilobyte."""
_VERSION: Final = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})")
_NEWEST: Final = (1, 0, 0)
_LONGEST: Final = 1024
"""Bytes of a path: the least of what the systems allow."""
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_ENTRIES: Final = "itemInfoEntries"
_ROOT: Final = "rootModelIdentifier"
_FIELDS: Final = ("author", "description", "name", "path")


@frozen
class Item:
    """An entry of the manifest: a file or a folder of the package, at `path` under `Data`."""

    identifier: str
    path: PurePosixPath
    name: str
    author: str = AUTHOR
    description: str = ""

    def covers(self, path: PurePosixPath) -> bool:
        """Whether `path`, relative to `Data`, is this item or lies in it."""
        return path == self.path or self.path in path.parents

    def __str__(self) -> str:
        return f"manifest entry {self.identifier} (name {self.name!r}, path {str(self.path)!r})"


@frozen(eq=False)
class Manifest:
    """A manifest: its items in order, which of them is the model, and the very bytes it is written as.

    Changes make another manifest; keys that mean nothing to us stay where they are.
    """

    items: tuple[Item, ...]
    root: Item
    content: bytes
    warnings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, content: bytes, where: str) -> Manifest:
        """Reads a manifest.

        Raises:
            PackageError: it is no JSON object, has the wrong types, a newer version, no root model, or a path that leaves `Data`.
        """
        document = _parse_json(content, where)
        _check_version(document, where)
        entries = document.get(_ENTRIES, {})
        if not isinstance(entries, dict):
            raise PackageError(f"{where}: {_ENTRIES} is {_kind(entries)}, where an object was expected")
        warnings: list[str] = []
        items = tuple(_item(identifier, entry, where, warnings) for identifier, entry in entries.items())
        root = document.get(_ROOT)
        if not isinstance(root, str):
            raise PackageError(f"{where}: {_ROOT} is {_kind(root)}, where the identifier of an entry was expected")
        for item in items:
            if item.identifier == root:
                return cls(items, item, content, tuple(warnings))
        known = ", ".join(item.identifier for item in items[:8]) or "no entry at all"
        raise PackageError(f"{where}: {_ROOT} is {root!r}, which is no entry; there is {known}")

    @classmethod
    def new(cls, root: Item) -> Manifest:
        """The manifest of a package that holds one model."""
        document = {"fileFormatVersion": "1.0.0", _ENTRIES: {root.identifier: _fields(root)}, _ROOT: root.identifier}
        return cls((root,), root, _text(document))

    def with_item(self, item: Item) -> Manifest:
        """The manifest with one more entry: last, or in its place where the identifiers are sorted (as coremltools writes them)."""
        document = json.loads(self.content)
        entries = document.setdefault(_ENTRIES, {})
        is_sorted = list(entries) == sorted(entries)
        entries[item.identifier] = _fields(item)
        if is_sorted:
            document[_ENTRIES] = dict(sorted(entries.items()))
        by_identifier = {each.identifier: each for each in (*self.items, item)}
        items = tuple(by_identifier[identifier] for identifier in document[_ENTRIES])
        return Manifest(items, self.root, _text(document), self.warnings)


def safe_path(text: str, where: str) -> PurePosixPath:
    """A relative path that cannot leave the folder it starts from, as text alone can tell (a link on disk still may).

    Raises:
        PackageError: it is absolute, empty, climbs with `..`, or has characters that only another system's paths have.
    """
    path = PurePosixPath(text)
    if "\0" in text or "\\" in text or _DRIVE.match(text):
        raise PackageError(f"{where} is {text!r}: a relative path with forward slashes was expected")
    if path.is_absolute() or ".." in path.parts:
        raise PackageError(f"{where} is {text!r}, which leaves the package: only paths inside it are followed")
    if len(os.fsencode(text)) > _LONGEST or any(len(os.fsencode(part)) > 255 for part in path.parts):
        raise PackageError(f"{where} has {len(text)} characters: no file system has such a path")
    if not path.parts:
        raise PackageError(f"{where} is {text!r}: the path of a file or folder was expected")
    return path


def _parse_json(content: bytes, where: str) -> dict[str, Any]:
    hint = lfs_hint(content[:64])
    if hint is not None:
        raise PackageError(f"{where} {hint}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice in one object")
        return found

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON number")

    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=unique, parse_constant=refuse)
        _text(document)  # whatever cannot be written again (half a surrogate pair, an infinite number) is refused here
    except RecursionError as error:
        raise PackageError(f"{where} is nested too deeply to be a manifest") from error
    except ValueError as error:
        raise PackageError(f"{where} is not a JSON document: {error}") from error
    if not isinstance(document, dict):
        raise PackageError(f"{where} is {_kind(document)}, where a JSON object was expected")
    return document


def _check_version(document: dict[str, Any], where: str) -> None:
    version = document.get("fileFormatVersion")
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        raise PackageError(f"{where}: fileFormatVersion is {_show(version)}, where 'major.minor.patch' was expected")
    if tuple(map(int, match.groups())) > _NEWEST:
        raise PackageError(f"{where}: fileFormatVersion is {version}, and the newest one known is 1.0.0: a newer mlpasses may read it")


def _item(identifier: str, entry: object, where: str, warnings: list[str]) -> Item:
    where = f"{where}: {_ENTRIES}[{identifier!r}]"
    if not isinstance(entry, dict):
        raise PackageError(f"{where} is {_kind(entry)}, where an object was expected")
    for name in _FIELDS:
        if name not in entry and name != "path":
            warnings.append(f"{where} has no {name}: Core ML refuses such a package")
        elif not isinstance(entry.get(name), str):
            raise PackageError(f"{where}.{name} is {_kind(entry.get(name))}, where a string was expected")
    path = safe_path(entry["path"], f"{where}.path")
    return Item(identifier, path, entry.get("name", ""), entry.get("author", ""), entry.get("description", ""))


def _fields(item: Item) -> dict[str, str]:
    return {"author": item.author, "description": item.description, "name": item.name, "path": str(item.path)}


def _text(document: object) -> bytes:
    """JSON in the layout of Core ML's own writer."""
    return json.dumps(document, indent=4, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "missing")


def _show(value: object) -> str:
    return repr(value[:40]) if isinstance(value, str) else _kind(value)
