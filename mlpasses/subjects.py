"""What rules decide about, and what a filter may ask of it.

A subject is an op, or a weight. A filter does not look at a subject as a whole but at one face of it: a weight has a face for each use as
a weight, since its uses may be told apart (a tied embedding is a table to `gather` and a matrix to `linear`); an op has one face.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ir.collector import collector_paused
from ir.core import Block, Function, Op, Program, Use
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
        """What there is to know under an aspect (`name`, `op_type`, `numel`, …): nothing where it is not known, or several things."""
        if aspect in _DERIVED:
            base, derive = _DERIVED[aspect]
            return tuple([value for shared in _ASKED[base](self) for value in derive(shared)])
        return _ASKED[aspect](self)

    def __repr__(self) -> str:
        op = f"{self.op.op_type} {self.op.name}".rstrip()
        return op if self.parameter is None else f"{self.parameter} of {op}"


class Subject:
    """An op, or a weight: a value that ops use as one.

    `op` is the op itself, or the one that yields the weight. `uses` are those of a weight as a weight: the ops, each with its parameter.
    `shared` is the same object for weights that are stored once (their tensor), None where nothing is shared.
    """

    __slots__ = ("_names", "_users", "kind", "op", "opset", "shared", "uses")

    def __init__(self, kind: Kind, op: Op, opset: Opset | None, uses: Iterable[Use] = (), shared: object = None) -> None:
        """Uses by a block are left out, since nothing can be asked of them."""
        self.kind = kind
        self.op = op
        self.opset = opset
        self.uses = tuple([(use.user, use.parameter) for use in uses if isinstance(use.user, Op)])
        self.shared = shared
        self._names: tuple[str, ...] | None = None
        self._users: Sequence[Op] | None = None

    @property
    def faces(self) -> list[Face]:
        """What filters look at."""
        if self.kind == "op":
            return [Face(self, self.op, None)]
        return [Face(self, op, parameter) for op, parameter in self.uses]

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
                asked = {op for op, _ in self.uses}
                others = [name for user in self.users if user not in asked for name in _names_of(user)]
                self._names = (self.op.outputs[0].name, *others)
        return self._names

    @property
    def users(self) -> Sequence[Op]:
        """The ops that use a result, for whatever parameter. Computed once."""
        if self._users is None:
            outputs = self.op.outputs
            lists = [value.users for value in outputs]
            self._users = lists[0] if len(lists) == 1 else list(dict.fromkeys(chain.from_iterable(lists)))
        return self._users

    @property
    def type(self) -> TensorType | None:
        """The type of the weight, or of the op's first result; None where that is no tensor."""
        outputs = self.op.outputs
        kind = outputs[0].type if outputs else None
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
    with collector_paused():
        for block in root.blocks():
            opset = opset_of(block)
            found += [Subject("op", op, opset) for op in block.ops(*(wanted or ()))]
    return found


def weight_subjects(candidates: Iterable[Candidate]) -> list[Subject]:
    """Weights, as rules see them, in the order of the candidates."""
    with collector_paused():
        return [Subject("weight", each.op, each.opset, each.uses, each.stored) for each in candidates]


def groups(subjects: Sequence[Subject]) -> list[tuple[int, ...]]:
    """The positions of subjects that are stored once, together; in the order of their first. A pass treats each group once."""
    found: dict[object, list[int]] = {}
    for position, subject in enumerate(subjects):
        key: object = ("shared", id(subject.shared)) if subject.shared is not None else position
        found.setdefault(key, []).append(position)
    return [tuple(members) for members in found.values()]


class Table:
    """The faces of many subjects, indexed by aspect when a filter first asks for it, so that a filter costs what it finds.

    Each distinct value is looked at once, however many faces have it: ten thousand weights have few types, blocks and kinds of consumer.
    """

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self.subjects = subjects
        lists = [subject.faces for subject in subjects]
        self.faces: list[Face] = list(chain.from_iterable(lists))
        self.starts = list(accumulate(map(len, lists), initial=0))
        """The position of the first face of each subject, and the number of faces."""
        self.owners = np.repeat(np.arange(len(subjects)), np.diff(self.starts))
        """The position of the subject of each face."""
        self._indexes: dict[str, dict[Any, list[int]]] = {}

    def index(self, aspect: str) -> Index:
        """The faces by what they have under an aspect."""
        found = self._indexes.get(aspect)
        if found is None:
            found = self._indexes[aspect] = {}
            asked: Iterable[tuple[Iterable[Any], Sequence[int]]]
            if aspect in _DERIVED:
                base, derive = _DERIVED[aspect]
                asked = ((derive(value), places) for value, places in self.index(base).items())
            else:
                values_of = _ASKED[aspect]
                asked = ((values_of(face), (position,)) for position, face in enumerate(self.faces))
            for values, places in asked:
                for value in values:
                    found.setdefault(value, []).extend(places)
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


def _parameter(face: Face) -> tuple[str, ...]:
    return () if face.parameter is None else (face.parameter,)


def _consumers(face: Face) -> tuple[str, ...]:
    users = face.subject.users
    return (users[0].op_type,) if len(users) == 1 else tuple({user.op_type: None for user in users})


def _type(face: Face) -> tuple[TensorType, ...]:
    kind = face.subject.type
    return () if kind is None else (kind,)


def _block(face: Face) -> tuple[Block, ...]:
    block = face.subject.op.block
    return () if block is None else (block,)


def _opset(face: Face) -> tuple[Opset, ...]:
    return () if face.subject.opset is None else (face.subject.opset,)


def _function(block: Block) -> tuple[str, ...]:
    return () if block.function is None else (block.function.name,)


def _rank(kind: TensorType) -> tuple[int, ...]:
    return () if kind.rank < 0 else (kind.rank,)


def _numel(kind: TensorType) -> tuple[int, ...]:
    return () if kind.numel is None else (kind.numel,)


def _nbytes(kind: TensorType) -> tuple[int, ...]:
    return () if kind.numel is None or kind.dtype is STRING else (packed_size(kind.numel, kind.dtype.bits),)


_ASKED: Final[Mapping[str, Callable[[Face], tuple[Any, ...]]]] = {
    "name": lambda face: face.names,
    "op_type": lambda face: (face.op.op_type,),
    "param": _parameter,
    "consumer": _consumers,
    "opset": _opset,
    "type": _type,
    "block": _block,
}
"""What is asked of a face itself, as a tuple of values."""

_DERIVED: Final[Mapping[str, tuple[str, Callable[[Any], tuple[Any, ...]]]]] = {
    "function": ("block", _function),
    "dtype": ("type", lambda kind: (kind.dtype.name,)),
    "rank": ("type", _rank),
    "numel": ("type", _numel),
    "nbytes": ("type", _nbytes),
}
"""What follows from something that many faces share, and how."""
