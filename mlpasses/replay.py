"""Running a recorded recipe again, and comparing what comes out with what is there, byte by byte."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ir.core import Program
from mlpasses.context import Progress
from mlpasses.errors import ConfigError
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from mlpasses.provenance import Record, records, with_records_of
from mlpasses.recipe import entries_in, pipeline_of

CHUNK: Final = 1 << 20


def record_of(program: Program, path: Path) -> Record:
    """The last record of the program of a package.

    Raises:
        ConfigError: it has none.
    """
    found = records(program)
    if not found:
        raise ConfigError(f"{path} holds no recipe: mlpasses run writes it, and Result.record() in Python")
    return found[0]


def recorded_pipeline(record: Record, path: Path) -> Pipeline:
    """The pipeline of a record.

    Raises:
        ConfigError: the recipe is not the one that was recorded.
        RecipeError: it names passes or options that this version, or what is installed, does not have.
    """
    if not record.is_intact:
        raise ConfigError(f"the recipe in {path} does not have the hash {record.sha256[:12]}… that was recorded with it: it was edited")
    return pipeline_of(entries_in(record.recipe, f"the recipe in {path}"))


def replay(
    model: Program, path: Path, source: Program, pipeline: Pipeline, *, progress: Progress | None = None, scratch: Path | None = None
) -> list[str]:
    """Runs a pipeline over `source`, and says in what the package that comes out differs from the one at `path`, which holds `model`.

    Records are taken from `model`, so that another version of mlpasses is no difference by itself.
    """
    with TemporaryDirectory(prefix="mlpasses-", dir=scratch) as folder:
        result = run(source, pipeline, progress=progress, scratch=scratch)
        with_records_of(result.program, model)
        return differences(path, result.save(Path(folder) / path.name))


def differences(expected: Path, found: Path) -> list[str]:
    """In what the files of two packages differ, a sentence each; empty where they are the same to the byte."""
    old, new = _files(expected), _files(found)
    said = [f"{name} is missing now" for name in old if name not in new]
    said += [f"{name} is new" for name in new if name not in old]
    for name in old.keys() & new.keys():
        at = _first_difference(old[name], new[name])
        if at is not None:
            sizes = f"{old[name].stat().st_size:,} bytes before, {new[name].stat().st_size:,} now"
            said.append(f"{name} differs from byte {at:,} on ({sizes})")
    return sorted(said)


def _files(package: Path) -> dict[str, Path]:
    if package.is_file():
        return {package.name: package}
    return {path.relative_to(package).as_posix(): path for path in package.rglob("*") if path.is_file()}


def _first_difference(a: Path, b: Path) -> int | None:
    with a.open("rb") as left, b.open("rb") as right:
        at = 0
        while True:
            one, other = left.read(CHUNK), right.read(CHUNK)
            if one != other:
                common = min(len(one), len(other))
                return at + next((index for index in range(common) if one[index] != other[index]), common)
            if not one:
                return None
            at += len(one)
