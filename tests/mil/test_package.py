"""Packages: what is in the folder is found, kept and copied; what leaves it, or is something else, is refused in a sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.diagnostics import PackageError
from ir.mil.blob_writer import BlobWriter
from ir.mil.draft import PackageDraft
from ir.mil.files import copy_file
from ir.mil.manifest import Manifest
from ir.mil.package import Package
from ir.tensors import ArrayTensor

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
PACKAGES = sorted(path.parent for path in CORPUS.rglob("Manifest.json")) if CORPUS.exists() else []
MODEL, WEIGHTS = "10B04564-1FC9-4FF8-BA84-D46AE685E926", "D720D91D-35BA-40FE-B04B-305C36C1CEBA"
FILE_NAME = "@model_path/weights/weight.bin"
MODEL_PLACE = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHT_PLACE = Path("Data/com.apple.CoreML/weights/weight.bin")

Build = Callable[..., Path]


def manifest(**changes: Any) -> dict[str, Any]:
    def entry(name: str, description: str) -> dict[str, str]:
        path = f"com.apple.CoreML/{name}"
        return {"author": "com.apple.CoreML", "description": description, "name": name, "path": path}

    entries = {
        MODEL: entry("model.mlmodel", "CoreML Model Specification"),
        WEIGHTS: entry("weights", "CoreML Model Weights"),
    }
    return {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": MODEL, **changes}


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Builds a package: `build(content, {path: bytes})`, where the content of the manifest is a document or text."""

    def build_package(content: object = None, files: dict[str, bytes] | None = None) -> Path:
        path = tmp_path / "M.mlpackage"
        text = content if isinstance(content, bytes) else json.dumps(manifest() if content is None else content, indent=4).encode()
        for name, data in ({"Manifest.json": text, str(MODEL_PLACE): b"\x08\x09"} | (files or {})).items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        if not files:
            (path / WEIGHT_PLACE).parent.mkdir()
            with BlobWriter(path / WEIGHT_PLACE) as writer:
                writer.append(ArrayTensor(np.arange(4, dtype=np.float32)))
        return path

    return build_package


def entry_with(path: object, **more: object) -> dict[str, Any]:
    document = manifest()
    document["itemInfoEntries"][WEIGHTS] |= {"path": path} | more
    return document


def tree(folder: Path) -> dict[str, bytes | str | None]:
    """Every path in a folder: to its bytes, to where it links, or to None for a folder."""

    def content(path: Path) -> bytes | str | None:
        if path.is_symlink():
            return str(path.readlink())
        return None if path.is_dir() else path.read_bytes()

    return {str(path.relative_to(folder)): content(path) for path in folder.rglob("*")}


def copy(package: Package, folder: Path, *file_names: str) -> dict[str, bytes | str | None]:
    """What a draft of `package` holds if the model and the weight files of these names are written as they were."""
    folder.mkdir()
    draft = PackageDraft(folder, package)
    draft.model_file().write_bytes(package.model.read_bytes())
    for name in file_names:
        copy_file(package.weight_file(name), draft.weight_file(name))
    draft.finish()
    return tree(folder)


# Opening


def test_package_knows_its_model_and_items(build: Build) -> None:
    path = build()
    package = Package.open(path)
    assert package.model == path / MODEL_PLACE
    assert package.root.identifier == MODEL
    assert [item.name for item in package.items] == ["model.mlmodel", "weights"]
    assert package.warnings == ()


def test_model_need_not_lie_where_coremltools_puts_it(build: Build) -> None:
    document = manifest()
    document["itemInfoEntries"][MODEL]["path"] = "elsewhere/deep/net.mlmodel"
    path = build(document, {"Data/elsewhere/deep/net.mlmodel": b"\x08", "Data/elsewhere/deep/weights/weight.bin": b"w"})
    package = Package.open(path)
    assert package.model == path / "Data/elsewhere/deep/net.mlmodel"
    assert package.resolve_weight_file(FILE_NAME) == path / "Data/elsewhere/deep/weights/weight.bin"


def test_missing_item_is_a_warning(build: Build) -> None:
    path = build(None, {"other": b""})
    (warning,) = Package.open(path).warnings
    assert f"manifest entry {WEIGHTS} (name 'weights', path 'com.apple.CoreML/weights') names what does not exist" in warning


def test_missing_model_is_an_error(build: Build) -> None:
    path = build()
    (path / MODEL_PLACE).unlink()
    with pytest.raises(PackageError, match=rf"the root model, manifest entry {MODEL}.* No such file"):
        Package.open(path)


def test_entry_without_a_description_is_a_warning(build: Build) -> None:
    document = manifest()
    del document["itemInfoEntries"][WEIGHTS]["description"]
    assert "has no description: Core ML refuses such a package" in Package.open(build(document)).warnings[0]


def test_lone_model_file_is_opened_without_weights(tmp_path: Path) -> None:
    (tmp_path / "net.mlmodel").write_bytes(b"\x08\x09")
    package = Package.open(tmp_path / "net.mlmodel")
    assert package.model == tmp_path / "net.mlmodel"
    with pytest.raises(PackageError, match=r"single model file.*open the \.mlpackage"):
        package.weight_file(FILE_NAME)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer.*git lfs pull"),
        (b"PK\x03\x04....", "zip archive: unpack it"),
    ],
)
def test_stand_in_for_a_model_is_refused(build: Build, content: bytes, message: str) -> None:
    path = build(None, {str(MODEL_PLACE): content})
    for candidate in (path, path / MODEL_PLACE):
        with pytest.raises(PackageError, match=message):
            Package.open(candidate)


def test_compiled_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "M.mlmodelc").mkdir()
    with pytest.raises(PackageError, match=r"compiled model \(\.mlmodelc\).*open the \.mlpackage"):
        Package.open(tmp_path / "M.mlmodelc")


def test_folder_around_a_package_names_the_package(build: Build) -> None:
    path = build()
    with pytest.raises(PackageError, match=rf"did you mean {path}\?"):
        Package.open(path.parent)


@pytest.mark.parametrize("name", ["absent", "pipe", "no\0path"])
def test_what_cannot_be_opened_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PackageError):
        Package.open(tmp_path / name)


@pytest.mark.parametrize("place", ["Manifest.json", MODEL_PLACE, WEIGHT_PLACE], ids=str)
def test_pipe_in_a_package_is_refused_instead_of_waited_for(build: Build, tmp_path: Path, place: Path | str) -> None:
    path = build()
    (path / place).unlink()
    os.mkfifo(path / place)
    (tmp_path / "out").mkdir()
    with pytest.raises(PackageError):
        copy(Package.open(path), tmp_path / "out" / "copy")


# The manifest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a JSON document"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\xff\xfe{}", "is not a JSON document"),
        (b"[]", "is a list, where a JSON object was expected"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": 1e999}', "is not a JSON document"),
        (b'{"a": "\\ud800"}', "is not a JSON document"),
        (b'{"a": 1' + b"0" * 10_000 + b"}", "is not a JSON document"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
        (b" " * (17 << 20), "more than 16777216 bytes"),
        (manifest(fileFormatVersion=1), "fileFormatVersion is a number, where 'major.minor.patch' was expected"),
        (manifest(fileFormatVersion="1.0"), "fileFormatVersion is '1.0', where"),
        (manifest(fileFormatVersion="1.0.-1"), "where 'major.minor.patch' was expected"),
        (manifest(fileFormatVersion="1.0.1"), "the newest one known is 1.0.0"),
        (manifest(fileFormatVersion="2.0.0"), "the newest one known is 1.0.0"),
        (manifest(itemInfoEntries=[]), "itemInfoEntries is a list, where an object was expected"),
        (manifest(itemInfoEntries={}), "no entry; there is no entry at all"),
        (manifest(itemInfoEntries={"a": "b"}), r"itemInfoEntries\['a'\] is a string, where an object was expected"),
        (manifest(rootModelIdentifier=None), "rootModelIdentifier is missing"),
        (manifest(rootModelIdentifier="x"), f"rootModelIdentifier is 'x', which is no entry; there is {MODEL}, {WEIGHTS}"),
        (entry_with(3), r"\.path is a number, where a string was expected"),
        (entry_with("weights", name=["x"]), r"\.name is a list, where a string was expected"),
        (entry_with("/etc"), "is '/etc', which leaves the package"),
        (entry_with("../../etc"), "which leaves the package"),
        (entry_with("a/../../etc"), "which leaves the package"),
        (entry_with(""), "is '', where|is '': the path"),
        (entry_with("."), "is '.': the path of a file or folder was expected"),
        (entry_with("a\0b"), "a relative path with forward slashes was expected"),
        (entry_with("a\\b"), "a relative path with forward slashes was expected"),
        (entry_with("C:/a"), "a relative path with forward slashes was expected"),
        (entry_with("a" * 300), "no file system has such a path"),
        (entry_with("a/" * 3000), "no file system has such a path"),
    ],
)
def test_malformed_manifest_is_refused_in_a_sentence(build: Build, content: object, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        Package.open(build(content))


def test_older_version_and_bom_are_read(build: Build) -> None:
    text = b"\xef\xbb\xbf" + json.dumps(manifest(fileFormatVersion="0.9.12")).encode()
    assert Package.open(build(text)).root.identifier == MODEL


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_mutation_of_a_manifest_does_more_than_be_refused(data: st.DataObject) -> None:
    document: Any = manifest()
    holder: Any = data.draw(st.sampled_from([document, document["itemInfoEntries"], *document["itemInfoEntries"].values()]))
    holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(json_values)
    text = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = Manifest.parse(bytes(text), "Manifest.json")
    except PackageError:
        return
    for item in read.items:
        assert not item.path.is_absolute()
        assert ".." not in item.path.parts


def test_unknown_keys_survive_a_new_entry(build: Build) -> None:
    document = manifest(extra={"kept": [1, None]})
    document["itemInfoEntries"][MODEL]["more"] = "kept"
    path = build(document, {"x": b""})
    package = Package.open(path)
    added = package.manifest.with_item(package.items[1])
    assert json.loads(added.content)["extra"] == {"kept": [1, None]}
    assert json.loads(added.content)["itemInfoEntries"][MODEL]["more"] == "kept"


# Weight files


def test_weight_file_is_mapped_once(build: Build) -> None:
    package = Package.open(build())
    assert package.weight_file(FILE_NAME) is package.weight_file(FILE_NAME)
    assert package.weight_file(FILE_NAME).name == FILE_NAME


def test_several_weight_files_are_told_apart(build: Build) -> None:
    folder = "Data/com.apple.CoreML/weights"
    path = build(None, {f"{folder}/0-weight.bin": b"0", f"{folder}/1-weight.bin": b"1"})
    package = Package.open(path)
    assert package.resolve_weight_file("@model_path/weights/1-weight.bin") == path / folder / "1-weight.bin"


def test_name_that_leads_nowhere_is_looked_for_in_the_weights_item(build: Build) -> None:
    path = build()
    assert Package.open(path).resolve_weight_file("@model_path/tmp/abc/weight.bin") == path / WEIGHT_PLACE


def test_item_may_be_the_weight_file_itself(build: Build) -> None:
    path = build(entry_with("blobs/weight.bin"), {"Data/blobs/weight.bin": b""})
    assert Package.open(path).resolve_weight_file(FILE_NAME) == path / "Data/blobs/weight.bin"


def test_missing_weight_file_names_the_manifest_entry(build: Build) -> None:
    package = Package.open(build(None, {"x": b""}))
    with pytest.raises(PackageError, match=rf"weight file '{FILE_NAME}' does not exist, though manifest entry {WEIGHTS}"):
        package.weight_file(FILE_NAME)


def test_weight_file_that_nothing_promised_is_missing(build: Build) -> None:
    package = Package.open(build())
    with pytest.raises(PackageError, match=r"no weight file '@model_path/b/b\.bin', and no manifest entry for it"):
        package.weight_file("@model_path/b/b.bin")


@pytest.mark.parametrize("name", ["/etc/passwd", "@model_path//etc/passwd", "@model_path/../../../../etc/passwd", "../x", "a\\b", ""])
def test_weight_file_name_that_leaves_the_package_is_refused(build: Build, name: str) -> None:
    with pytest.raises(PackageError, match="the name of a weight file is"):
        Package.open(build()).weight_file(name)


# Links


@pytest.mark.parametrize("place", ["Manifest.json", "Data", MODEL_PLACE, WEIGHT_PLACE.parent], ids=str)
def test_link_out_of_the_package_is_not_followed(build: Build, tmp_path: Path, place: Path | str) -> None:
    path = build()
    (path / place).rename(tmp_path / "outside")
    (path / place).symlink_to(tmp_path / "outside")
    with pytest.raises(PackageError, match=rf"link to {tmp_path}/outside.*outside the package.*cp -RL"):
        Package.open(path)


def test_weight_file_that_links_out_of_the_package_is_refused(build: Build, tmp_path: Path) -> None:
    path = build()
    (path / WEIGHT_PLACE).rename(tmp_path / "outside")
    (path / WEIGHT_PLACE).symlink_to("../../../../outside")
    with pytest.raises(PackageError, match="outside the package"):
        Package.open(path).weight_file(FILE_NAME)


def test_link_to_the_package_itself_is_followed(build: Build, tmp_path: Path) -> None:
    path = build()
    (tmp_path / "alias").symlink_to(path)
    assert Package.open(tmp_path / "alias").model == path / MODEL_PLACE


def test_links_inside_the_package_stay_links(build: Build, tmp_path: Path) -> None:
    path = build()
    (path / WEIGHT_PLACE).rename(path / "Data/blob")
    (path / WEIGHT_PLACE).symlink_to("../../blob")
    (path / "Data/alias").symlink_to(path / "Data/com.apple.CoreML")
    (path / "Data/nowhere").symlink_to("absent")
    copied = copy(Package.open(path), tmp_path / "copy", FILE_NAME)
    assert copied == tree(path) | {"Data/alias": "com.apple.CoreML"}


def test_link_out_of_the_package_is_not_copied(build: Build, tmp_path: Path) -> None:
    path = build()
    (path / "Data/secret").symlink_to("/etc/passwd")
    with pytest.raises(PackageError, match="outside the package"):
        copy(Package.open(path), tmp_path / "copy")


def test_link_in_a_circle_is_refused(build: Build) -> None:
    path = build()
    (path / MODEL_PLACE).unlink()
    (path / MODEL_PLACE).symlink_to("model.mlmodel")
    with pytest.raises(PackageError, match="symbolic links"):
        Package.open(path)


# Drafts


def test_draft_keeps_what_the_manifest_does_not_name(build: Build, tmp_path: Path) -> None:
    path = build()
    (path / "Data/com.apple.CoreML/weights/.keep").write_bytes(b"")
    (path / "Data/notes/deep").mkdir(parents=True)
    (path / "Data/notes/read.me").write_bytes(b"hi")
    package = Package.open(path)
    assert PurePosixPath("Data/notes/read.me") in set(package.other_files())
    assert copy(package, tmp_path / "copy", FILE_NAME) == tree(path)


def test_draft_keeps_the_manifest_to_the_byte(build: Build, tmp_path: Path) -> None:
    text = b' { "rootModelIdentifier" : "%s",' % MODEL.encode() + json.dumps(manifest()).encode()[1:].replace(
        b', "rootModelIdentifier": "%s"' % MODEL.encode(), b""
    )
    path = build(text)
    assert copy(Package.open(path), tmp_path / "copy")["Manifest.json"] == text


def test_draft_of_a_readonly_package_is_writable(build: Build, tmp_path: Path) -> None:
    path = build()
    (path / WEIGHT_PLACE).chmod(0o444)
    (path / WEIGHT_PLACE).parent.chmod(0o555)
    copy(Package.open(path), tmp_path / "copy")
    assert (tmp_path / "copy" / WEIGHT_PLACE).stat().st_mode & 0o200
    assert (tmp_path / "copy" / WEIGHT_PLACE).parent.stat().st_mode & 0o200


def test_omitted_weight_file_is_left_out_but_its_folder_stays(build: Build, tmp_path: Path) -> None:
    package = Package.open(build())
    (tmp_path / "out").mkdir()
    draft = PackageDraft(tmp_path / "out", package)
    draft.model_file().write_bytes(b"m")
    draft.omit_weight_file(FILE_NAME)
    draft.finish()
    assert not (tmp_path / "out" / WEIGHT_PLACE).exists()
    assert Package.open(tmp_path / "out").warnings == ()


def test_mapped_weight_file_is_copied_though_its_path_is_another_package_by_now(build: Build, tmp_path: Path) -> None:
    path = build()
    package = Package.open(path)
    was = package.weight_file(FILE_NAME).path.read_bytes()
    (path / WEIGHT_PLACE).unlink()
    (path / WEIGHT_PLACE).write_bytes(b"other")
    assert copy(package, tmp_path / "copy", FILE_NAME)[str(WEIGHT_PLACE)] == was


def new_package(folder: Path, model: bytes) -> Path:
    folder.mkdir()
    draft = PackageDraft(folder)
    draft.model_file().write_bytes(model)
    draft.weight_file(FILE_NAME).write_bytes(b"w")
    draft.finish()
    return folder


def test_new_package_opens(tmp_path: Path) -> None:
    package = Package.open(new_package(tmp_path / "new", b"model"))
    assert package.model.read_bytes() == b"model"
    assert package.resolve_weight_file(FILE_NAME) == tmp_path / "new" / WEIGHT_PLACE
    assert [(str(item.path), item.description) for item in sorted(package.items, key=lambda item: item.path)] == [
        ("com.apple.CoreML/model.mlmodel", "CoreML Model Specification"),
        ("com.apple.CoreML/weights", "CoreML Model Weights"),
    ]


def test_equal_new_packages_have_equal_bytes_and_others_other_identifiers(tmp_path: Path) -> None:
    one, two, other = (new_package(tmp_path / name, model) for name, model in (("1", b"a"), ("2", b"a"), ("3", b"b")))
    assert tree(one) == tree(two)
    assert Package.open(one).root.identifier != Package.open(other).root.identifier


def test_weight_file_in_a_new_place_gets_an_entry_beside_the_old_ones(build: Build, tmp_path: Path) -> None:
    package = Package.open(build())
    (tmp_path / "out").mkdir()
    draft = PackageDraft(tmp_path / "out", package)
    draft.model_file().write_bytes(b"m")
    draft.weight_file("@model_path/more/w.bin").write_bytes(b"w")
    draft.finish()
    items = Package.open(tmp_path / "out").items
    assert {MODEL, WEIGHTS} < {item.identifier for item in items}
    assert PurePosixPath("com.apple.CoreML/more") in {item.path for item in items}
    assert Package.open(tmp_path / "out").resolve_weight_file("@model_path/more/w.bin").read_bytes() == b"w"


def test_two_names_for_one_weight_file_are_refused(build: Build, tmp_path: Path) -> None:
    draft = PackageDraft(tmp_path / "out", Package.open(build()))
    draft.weight_file(FILE_NAME)
    with pytest.raises(PackageError, match="two names of weight files lead to"):
        draft.weight_file("@model_path/elsewhere/weight.bin")


def test_package_is_not_saved_into_itself(build: Build) -> None:
    path = build()
    with pytest.raises(PackageError, match=r"Data/out lies in the package .*, and a package cannot be saved into itself"):
        PackageDraft(path / "Data" / "out", Package.open(path))
    with pytest.raises(PackageError, match=r"^mine.mlpackage lies in the package"):
        PackageDraft(path / "Data" / "out", Package.open(path), Path("mine.mlpackage"))


def test_draft_of_a_lone_model_file_is_a_package(tmp_path: Path) -> None:
    (tmp_path / "net.mlmodel").write_bytes(b"\x08\x09")
    copy(Package.open(tmp_path / "net.mlmodel"), tmp_path / "out")
    assert Package.open(tmp_path / "out").model.read_bytes() == b"\x08\x09"


# Corpus


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.stem)
def test_real_package_is_copied_to_the_byte(tmp_path: Path, path: Path) -> None:
    package = Package.open(path)
    names = [FILE_NAME] if (path / WEIGHT_PLACE).exists() else []
    assert copy(package, tmp_path / "copy", *names) == tree(path)


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.stem)
def test_real_manifest_is_what_our_writer_makes_of_its_items(path: Path) -> None:
    read = Package.open(path).manifest
    made = Manifest.new(read.root)
    for item in read.items:
        made = made.with_item(item)
    assert made.content == read.content
