"""Real packages, made by others with many versions of coremltools: loaded and saved, they are what they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from ir.mil import schema
from ir.mil.load import load_program
from ir.verify import specification, structure
from tests.corpus import NAMES, Corpus
from tests.mil.messages import tree


def model_of(files: dict[str, bytes | None]) -> tuple[schema.Model, set[str]]:
    """The model among a package's files, and where it is."""
    (where,) = [path for path in files if path.endswith(".mlmodel")]
    encoded = files[where]
    assert encoded is not None
    model = schema.new_model()
    model.ParseFromString(encoded)
    return model, {where}


@pytest.mark.parametrize("name", NAMES)
def test_package_comes_back_as_it_was(name: str, corpus: Corpus, tmp_path: Path) -> None:
    before = tree(corpus.path(name))
    load_program(corpus.path(name)).save(tmp_path / "out.mlpackage")
    after = tree(tmp_path / "out.mlpackage")
    (old, where), (new, same) = model_of(before), model_of(after)
    assert where == same
    assert old.SerializeToString(deterministic=True) == new.SerializeToString(deterministic=True)
    assert {path: before[path] for path in before.keys() - where} == {path: after[path] for path in after.keys() - where}


@pytest.mark.parametrize("name", NAMES)
def test_clone_saves_the_same_bytes(name: str, corpus: Corpus, tmp_path: Path) -> None:
    program = load_program(corpus.path(name))
    program.save(tmp_path / "one.mlpackage")
    program.clone().save(tmp_path / "two.mlpackage")
    assert tree(tmp_path / "one.mlpackage") == tree(tmp_path / "two.mlpackage")


@pytest.mark.parametrize("name", NAMES)
def test_package_is_valid_at_both_depths(name: str, corpus: Corpus) -> None:
    program = load_program(corpus.path(name))
    assert structure.problems(program) == []
    assert specification.problems(program) == []


def test_broken_package_warns_and_comes_back(corpus: Corpus, tmp_path: Path) -> None:
    name = "stub_bge_base_bad_dtype"
    program = load_program(corpus.path(name))
    assert any("names what does not exist" in warning for warning in program.document.warnings)  # type: ignore[attr-defined]
    program.save(tmp_path / "out.mlpackage")
    assert tree(tmp_path / "out.mlpackage").keys() == tree(corpus.path(name)).keys()
