"""What rules decide about, and what a filter may ask of it.

A subject is an op, or a weight. A filter does not look at a subject as a whole but at one face of it: a weight has a face for each use as
a weight, since its uses may be told apart (a tied embedding is a table to `gather` and a matrix to `linear`); an op has one face.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ir.core import Function, Op, Program, Use
from ir.opset import Opset
from ir.packing import packed_size
from ir.types import STRING, TensorType
from ir.walk import opset_of

if TYPE_CHECKING:
    from mlpasses.candidates import Candidate

Kind: TypeAlias = Literal["op", "weight"]
Mask: TypeAlias = npt.NDArray[np.bool_]
"""One truth value for each face of a table."""
Index: TypeAlias = Mapping[Any, Sequence[int]]
"""The positions of the faces that have a value, by that value."""


class Face:
    """One side of a subject: a weight as `op` uses it for `parameter`, or an op itself (`parameter` is None)."""

    __slots__ = ("op", "parameter", "subject")

    def __init__(self, subject: Subject, op: Op, parameter: str | None) -> None:
        self.subject = subject
        self.op = op
        self.parameter = parameter

    @property
    def names(self) -> tuple[str, ...]:
        """The subject's own names; for a weight those of the op that uses it too."""
        own = self.subject.names
        return own if self.parameter is None else (*own, *_names_of(self.op))

    def values(self, aspect: str) -> tuple[Any, ...]:
        """What there is to know under one of the `ASPECTS`: none where it is not known, several where there are several."""
        return ASPECTS[aspect](self)

    def __repr__(self) -> str:
        op = f"{self.op.op_type} {self.op.name}".rstrip()
        return op if self.parameter is None else f"{self.parameter} of {op}"


class Subject:
    """An op, or a weight: a value that ops use as one.

    `op` is the op itself, or the one that yields the weight. `shared` is the same object for weights that are stored once (their tensor),
    None where nothing is shared.
    """

    __slots__ = ("_names", "_users", "faces", "kind", "op", "opset", "shared")

    def __init__(self, kind: Kind, op: Op, opset: Opset | None, uses: Iterable[Use] = (), shared: object = None) -> None:
        """`uses` are those of a weight as a weight; uses by a block are left out, since nothing can be asked of them."""
        self.kind = kind
        self.op = op
        self.opset = opset
        self.shared = shared
        self._names: tuple[str, ...] | None = None
        self._users: list[Op] | None = None
        if kind == "op":
            self.faces: tuple[Face, ...] = (Face(self, op, None),)
        else:
            self.faces = tuple([Face(self, use.user, use.parameter) for use in uses if isinstance(use.user, Op)])

    @property
    def name(self) -> str:
        """What reports call it: the weight's value, or the op."""
        return self.op.outputs[0].name if self.kind == "weight" else self.op.name

    @property
    def names(self) -> tuple[str, ...]:
        """What a rule may call it, whichever face is looked at. Computed once.

        An op's `name` attribute and its first output; a weight's value, and the names of those ops that use it other than as a weight.
        """
        if self._names is None:
            if self.kind == "op":
                self._names = _names_of(self.op)
            else:
                asked = {face.op for face in self.faces}
                others = [name for user in self.users if user not in asked for name in _names_of(user)]
                self._names = (self.op.outputs[0].name, *others)
        return self._names

    @property
    def users(self) -> Sequence[Op]:
        """The ops that use a result, for whatever parameter."""
        if self._users is None:
            self._users = list(dict.fromkeys(user for value in self.op.outputs for user in value.users))
        return self._users

    @property
    def type(self) -> TensorType | None:
        """The type of the weight, or of the op's first result; None where that is no tensor."""
        kind = self.op.outputs[0].type if self.op.outputs else None
        return kind if isinstance(kind, TensorType) else None

    def __repr__(self) -> str:
        return f"{self.kind} {self.name}"


def op_subject(op: Op) -> Subject:
    """An op, as rules see it."""
    return Subject("op", op, opset_of(op.block))


def op_subjects(root: Program | Function, op_types: Iterable[str] | None = None) -> list[Subject]:
    """The ops of these types in every function, specialization and nested block; all where `op_types` is None. Costs what it finds."""
    wanted = None if op_types is None else tuple(op_types)
    if wanted == ():
        return []
    found: list[Subject] = []
    for block in root.blocks():
        opset = opset_of(block)
        found += [Subject("op", op, opset) for op in block.ops(*(wanted or ()))]
    return found


def weight_subjects(candidates: Iterable[Candidate]) -> list[Subject]:
    """Weights, as rules see them, in the order of the candidates."""
    return [Subject("weight", each.const, each.opset, each.uses, each.tensor) for each in candidates]


def groups(subjects: Sequence[Subject]) -> list[tuple[int, ...]]:
    """The positions of subjects that are stored once, together; in the order of their first. A pass treats each group once."""
    found: dict[object, list[int]] = {}
    for position, subject in enumerate(subjects):
        key: object = ("shared", id(subject.shared)) if subject.shared is not None else position
        found.setdefault(key, []).append(position)
    return [tuple(members) for members in found.values()]


class Table:
    """The faces of many subjects, indexed by aspect when a filter first asks for it, so that a filter costs what it finds.

    `names` asks each distinct value once, however many faces have it: ten thousand weights have few ranks, shapes and consumer types.
    """

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self.subjects = subjects
        self.faces: list[Face] = [face for subject in subjects for face in subject.faces]
        self.owners = np.repeat(np.arange(len(subjects)), [len(subject.faces) for subject in subjects])
        """The position of the subject of each face."""
        self._indexes: dict[str, dict[Any, list[int]]] = {}

    def index(self, aspect: str) -> Index:
        """The faces by what they have under an aspect."""
        found = self._indexes.get(aspect)
        if found is None:
            found = self._indexes[aspect] = {}
            values_of = ASPECTS[aspect]
            for position, face in enumerate(self.faces):
                for value in values_of(face):
                    places = found.get(value)
                    if places is None:
                        found[value] = [position]
                    else:
                        places.append(position)
        return found

    def mask(self, places: Iterable[Sequence[int]]) -> Mask:
        """The faces at these positions."""
        mask = self.none()
        mask[list(chain.from_iterable(places))] = True
        return mask

    def none(self) -> Mask:
        return np.zeros(len(self.faces), np.bool_)

    def all(self) -> Mask:
        return np.ones(len(self.faces), np.bool_)

    def count(self, mask: Mask) -> int:
        """How many subjects have a face in `mask`."""
        return len(np.unique(self.owners[mask]))

    @property
    def noun(self) -> str:
        """What the subjects are, in the singular."""
        kinds = {subject.kind for subject in self.subjects}
        return next(iter(kinds)) if len(kinds) == 1 else "op or weight"


def _names_of(op: Op) -> tuple[str, ...]:
    """The op's `name` attribute and its first output, each once; without the empty name."""
    name = op.name
    first = op.outputs[0].name if op.outputs else ""
    return tuple([each for each in ((name,) if name == first else (name, first)) if each])


def _op_type(face: Face) -> tuple[str, ...]:
    return (face.op.op_type,)


def _parameter(face: Face) -> tuple[str, ...]:
    return () if face.parameter is None else (face.parameter,)


def _consumers(face: Face) -> tuple[str, ...]:
    users = face.subject.users
    return (users[0].op_type,) if len(users) == 1 else tuple({user.op_type: None for user in users})


def _function(face: Face) -> tuple[str, ...]:
    function = face.subject.op.function
    return () if function is None else (function.name,)


def _opset(face: Face) -> tuple[Opset, ...]:
    return () if face.subject.opset is None else (face.subject.opset,)


def _of_type(measure: Callable[[TensorType], Any]) -> Callable[[Face], tuple[Any, ...]]:
    def values(face: Face) -> tuple[Any, ...]:
        kind = face.subject.type
        value = None if kind is None else measure(kind)
        return () if value is None else (value,)

    return values


def _nbytes(kind: TensorType) -> int | None:
    numel = kind.numel
    return None if numel is None or kind.dtype is STRING else packed_size(numel, kind.dtype.bits)


ASPECTS: Final[Mapping[str, Callable[[Face], tuple[Any, ...]]]] = {
    "name": lambda face: face.names,
    "op_type": _op_type,
    "param": _parameter,
    "consumer": _consumers,
    "function": _function,
    "opset": _opset,
    "dtype": _of_type(lambda kind: kind.dtype.name),
    "rank": _of_type(lambda kind: kind.rank if kind.rank >= 0 else None),
    "numel": _of_type(lambda kind: kind.numel),
    "nbytes": _of_type(_nbytes),
}
"""What there is to ask of a face, as a tuple of values."""


def faces_of(subjects: Iterable[Subject]) -> Iterator[Face]:
    """The faces of several subjects, one after the other."""
    return chain.from_iterable(subject.faces for subject in subjects)
