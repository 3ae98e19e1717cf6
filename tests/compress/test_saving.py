"""The scratch file of results becomes the weight file of their package; where it cannot, it is copied to the same bytes."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from ir.compare import first_difference
from ir.core import Program
from ir.mil.load import load_program
from ir.mil.loose import LooseFile
from mlpasses.cleanup.cleanup import Cleanup
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import NM, Magnitude, Palettize, Quantize, Threshold
from mlpasses.manager import run
from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline
from tests.compress.models import files, linears, numbers
from tests.naming import needs_naming, refuse_names

pytestmark = needs_naming

MADE: Final[dict[str, Pass]] = {
    "int8": QuantizeWeights(),
    "uint8 asymmetric": QuantizeWeights(Quantize("uint8", "asymmetric")),
    "int4 blocks": QuantizeWeights(Quantize("int4", granularity="per-block", block_size=32)),
    "kmeans": PalettizeWeights(Palettize(4)),
    "groups": PalettizeWeights(Palettize(4, group_size=16)),
    "magnitude": PruneWeights(Magnitude(0.5)),
    "n of m": PruneWeights(NM()),
    "decompressed": Pipeline(QuantizeWeights(), DecompressWeights()),
    "joint": Pipeline(PruneWeights(Magnitude(0.5)), PalettizeWeights(Palettize(4))),
    "tidied": Pipeline(QuantizeWeights(), Cleanup()),
}
"""Each result takes the room that was reserved for it."""
COPIED: Final[dict[str, Pass]] = {
    "threshold": PruneWeights(Threshold(0.05)),
    "unique": PalettizeWeights(Palettize(None, mode="unique")),
}
"""How much room a result takes depends on numbers."""


def program() -> Program:
    """Weights that are worth a scratch file even with four bits, one that never is, and one that is left as it is."""
    coarse = np.round(numbers(512, 600, seed=3) * 100) / 100 + 0.005  # 50 values, and no zeros
    return linears({"a": numbers(512, 512), "b": coarse.astype(np.float16), "small": numbers(64, 64, seed=1), "tiny": numbers(8, 8)})


def saved(of: Program, pipeline: Pass, folder: Path, **options: Any) -> dict[str, bytes]:
    package = run(of, pipeline, scratch=folder, **options).save(folder / "out.mlpackage", overwrite=True)
    return {name: data for name, data in files(package).items() if name != "Manifest.json"}


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each file that was asked to became one of a package."""
    answers: list[bool] = []
    give_name = LooseFile.give_name

    def noted(file: LooseFile, path: Path) -> bool:
        answers.append(give_name(file, path))
        return answers[-1]

    monkeypatch.setattr(LooseFile, "give_name", noted)
    return answers


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: refuse_names(monkeypatch)


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("pipeline", MADE.values(), ids=MADE)
def test_a_package_is_made_of_what_was_computed(pipeline: Pass, named: list[bool], tmp_path: Path) -> None:
    saved(program(), pipeline, tmp_path)
    assert named == [True]


@pytest.mark.parametrize("pipeline", COPIED.values(), ids=COPIED)
def test_results_with_gaps_between_them_are_copied(pipeline: Pass, named: list[bool], tmp_path: Path) -> None:
    saved(program(), pipeline, tmp_path)
    assert named == []


@pytest.mark.parametrize("pipeline", [*MADE.values(), *COPIED.values()], ids=[*MADE, *COPIED])
def test_a_copy_has_the_same_bytes(pipeline: Pass, no_names: Callable[[], None], tmp_path: Path) -> None:
    made = saved(program(), pipeline, tmp_path)
    no_names()
    assert saved(program(), pipeline, tmp_path) == made


@pytest.mark.parametrize("pipeline", [*MADE.values(), *COPIED.values()], ids=[*MADE, *COPIED])
def test_the_work_of_processes_has_the_same_bytes(pipeline: Pass, processes: Executor, tmp_path: Path) -> None:
    loaded = load_program(program().save(tmp_path / "in.mlpackage"))
    assert saved(loaded, pipeline, tmp_path, executor=processes) == saved(loaded, pipeline, tmp_path)


@pytest.mark.parametrize("pipeline", MADE.values(), ids=MADE)
def test_what_was_saved_is_the_program(pipeline: Pass, tmp_path: Path) -> None:
    result = run(program(), pipeline, scratch=tmp_path)
    assert first_difference(load_program(result.save(tmp_path / "out.mlpackage")), result.program) is None


def test_blobs_of_the_loaded_file_that_stay_are_behind_what_is_new(named: list[bool], no_names: Callable[[], None], tmp_path: Path) -> None:
    only = QuantizeWeights(Quantize(min_elements=300_000))
    loaded = load_program(program().save(tmp_path / "in.mlpackage"))
    made = saved(loaded, only, tmp_path)
    assert named == [True]
    no_names()
    assert saved(loaded, only, tmp_path) == made


def test_a_program_is_saved_again_after_its_package_is_gone(named: list[bool], tmp_path: Path) -> None:
    result = run(program(), QuantizeWeights(), scratch=tmp_path)
    first = result.save(tmp_path / "first.mlpackage")
    before = files(first)["weight.bin"]
    shutil.rmtree(first)
    assert files(result.save(tmp_path / "second.mlpackage"))["weight.bin"] == before
    assert named == [True, False]


def test_a_package_is_replaced_by_the_same_program(tmp_path: Path) -> None:
    result = run(program(), QuantizeWeights(), scratch=tmp_path)
    before = files(result.save(tmp_path / "out.mlpackage"))["weight.bin"]
    assert files(result.save(tmp_path / "out.mlpackage", overwrite=True))["weight.bin"] == before


def test_two_packages_never_share_a_file(tmp_path: Path) -> None:
    result = run(program(), QuantizeWeights(), scratch=tmp_path)
    one, two = result.save(tmp_path / "one.mlpackage"), result.save(tmp_path / "two.mlpackage")
    assert {path.stat().st_nlink for package in (one, two) for path in package.rglob("*.bin")} == {1}


def test_equal_weights_are_stored_once(named: list[bool], tmp_path: Path) -> None:
    """Of weights that were stored twice before; the file holds both results, so it is copied."""
    twice = linears({"a": numbers(512, 512), "b": numbers(512, 512)})
    assert len(saved(twice, QuantizeWeights(), tmp_path)["weight.bin"]) < 512 * 512 * 2
    assert named == []


def test_nothing_is_left_where_results_were_computed(tmp_path: Path) -> None:
    run(program(), QuantizeWeights(), scratch=tmp_path).save(tmp_path / "out.mlpackage")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mlpackage"]
