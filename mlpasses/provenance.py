"""Where a model came from: the recipe that made it, in its metadata.

    com.mlpasses.recipe            the recipe
    com.mlpasses.recipe.sha256     the hash of its UTF-8 text
    com.mlpasses.versions          of mlpasses, of NumPy, and of packages whose passes took part
    com.mlpasses.earlier.1.recipe  …                      what made the model that was handed in, the oldest first

The same run leaves the same metadata: there is no date, and no path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from attrs import frozen

from ir.core import Program
from mlpasses.passes import Pass
from mlpasses.pipeline import Composite
from mlpasses.recipe import dump_recipe
from mlpasses.registry import BUILT_IN, OWN, registry

PREFIX: Final = "com.mlpasses."
RECIPE: Final = "recipe"
HASH: Final = "recipe.sha256"
VERSIONS: Final = "versions"
KEYS: Final = (RECIPE, HASH, VERSIONS)


@frozen
class Record:
    """What is written of one run."""

    recipe: str
    sha256: str
    versions: str

    @property
    def is_intact(self) -> bool:
        """Whether the recipe is the one that the hash was taken of."""
        return self.sha256 == _hash(self.recipe)


def record(program: Program, pipeline: Pass) -> None:
    """Writes the recipe that made a program into its metadata; what an earlier run wrote there is kept behind it.

    Raises:
        ConfigError: no recipe can state the pipeline.
    """
    recipe = dump_recipe(pipeline)
    metadata = program.metadata
    if PREFIX + RECIPE in metadata:
        number = sum(1 for _ in _earlier(metadata)) + 1
        for key in KEYS:
            metadata[f"{PREFIX}earlier.{number}.{key}"] = metadata.pop(PREFIX + key, "")
    metadata.update({PREFIX + RECIPE: recipe, PREFIX + HASH: _hash(recipe), PREFIX + VERSIONS: versions(pipeline)})


def records(program: Program) -> list[Record]:
    """What was written of the runs that made a program, the last first; empty where none was recorded."""
    metadata = program.metadata
    prefixes = [PREFIX, *reversed(list(_earlier(metadata)))] if PREFIX + RECIPE in metadata else []
    return [Record(*(metadata.get(prefix + key, "") for key in KEYS)) for prefix in prefixes]


def with_records_of(program: Program, original: Program) -> None:
    """Gives a program the records of another in place of its own."""
    kept = {key: value for key, value in program.metadata.items() if not key.startswith(PREFIX)}
    program.metadata = kept | {key: value for key, value in original.metadata.items() if key.startswith(PREFIX)}


def versions(pipeline: Pass) -> str:
    """`mlpasses 0.1.0, numpy 2.3.4`, and the packages whose passes a pipeline has."""
    foreign = sorted({each.name for each in _passes(pipeline)} - set(BUILT_IN))
    known = registry().entries if foreign else {}
    packages = dict.fromkeys([OWN, "numpy", *(known[name].origin for name in foreign if name in known)])
    return ", ".join(f"{package} {_version(package)}" for package in packages)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _passes(each: Pass) -> Iterator[Pass]:
    yield each
    if isinstance(each, Composite):
        for part in each.parts():
            yield from _passes(part)


def _earlier(metadata: Mapping[str, str]) -> Iterator[str]:
    """The prefixes of earlier records, the oldest first."""
    number = 1
    while f"{PREFIX}earlier.{number}.{RECIPE}" in metadata:
        yield f"{PREFIX}earlier.{number}."
        number += 1


def _hash(recipe: str) -> str:
    return sha256(recipe.encode("utf-8", "surrogatepass")).hexdigest()
