"""What is wrong with options, while they are turned into objects: what, and where below them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import attrs
from attrs import frozen
from cattrs.errors import AttributeValidationNote, ClassValidationError, IterableValidationError

from ir.diagnostics import MLPassesError
from mlpasses.registry import suggest

Path: TypeAlias = tuple[str | int, ...]


@frozen
class Fault:
    """One thing that is wrong with options: what, where below them, and the nearest fix. `at_key`: it is the key that is wrong."""

    message: str
    path: Path = ()
    hint: str = ""
    at_key: bool = False

    def below(self, *steps: str | int) -> Fault:
        return attrs.evolve(self, path=(*steps, *self.path))


class Faults(Exception):  # noqa: N818 - what is raised is a collection
    """All that is wrong with a piece of data. Becomes a `RecipeError` in `mlpasses.recipe`, which knows the places."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


def raise_faults(faults: list[Fault]) -> None:
    """Raises faults as one.

    Raises:
        Faults: there are some.
    """
    if faults:
        raise Faults(*faults)


def unknown_keys(given: Iterable[str], known: Mapping[str, object], title: str) -> list[Fault]:
    """A fault for each key that is none of the known ones; `title` is what has the keys."""
    return [Fault(f"{title} has no key {key!r}", (key,), suggest(key, known), at_key=True) for key in given if key not in known]


def faults_of(error: Exception, path: Path = ()) -> Iterator[Fault]:
    """Everything that went wrong in a conversion, one fault each."""
    if isinstance(error, Faults):
        yield from (fault.below(*path) for fault in error.faults)
    elif isinstance(error, ClassValidationError | IterableValidationError):  # of a type that only cattrs knows
        placed, others = error.group_exceptions()
        for inner, note in placed:
            yield from faults_of(inner, (*path, note.name if isinstance(note, AttributeValidationNote) else note.index))
        for inner in others:
            yield from faults_of(inner, path)
    else:
        yield Fault(_sentence(error), (*path, *_named_field(error)))


def _sentence(error: Exception) -> str:
    """What an exception says. Those of attrs' validators hold the sentence, then the field, its bounds and the value."""
    if isinstance(error, MLPassesError) or not error.args:
        return str(error) or type(error).__name__
    return str(error.args[0])


def _named_field(error: Exception) -> Path:
    return tuple(argument.alias or argument.name for argument in error.args[1:2] if isinstance(argument, attrs.Attribute))
