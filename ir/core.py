"""The object model: `Program` › `Function` › `Block` › `Op` › `Value`. Ownership, order and def-use; nothing else.

Plain linked objects with identity. What always holds, because only methods change anything and each of them checks first:

- an op owns its outputs for life, and its type and its number of outputs never change;
- a use is known at both ends: `v` stands in `op.operands[p][i]` exactly if `(op, p, i)` is among `v.uses`; likewise for block outputs;
- an op is in at most one block, once; a block belongs to at most one function or op;
- names are unique among the values that one block (or one function's inputs) defines;
- every change raises `version` of the block and of all that contains it.

Dominance, legal identifiers and the meaning of ops are for `ir.verify`: rewriting passes through states that break them for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ir.const import UNREAD, Const
from ir.diagnostics import MutationError
from ir.labels import STRIDE, label_between
from ir.types import Type

if TYPE_CHECKING:
    from ir.weights import Weight

FEW: Final = 6
"""Ops of some types are few where the block has so many times as many: then they are found and sorted rather than picked out of all."""

OUTPUTS: Final = "outputs"
"""The parameter name under which a block's own uses of its output values are listed."""


_new_tuple: Final = tuple.__new__


class Use(NamedTuple):
    """Where a value is used: operand `position` of `parameter` of an op, or output `position` of a block (`parameter` is "outputs")."""

    user: Op | Block
    parameter: str
    position: int


class Value:
    """A result of an op, an input of a function, or an input of a nested block. Identity is what counts; the name is for files."""

    __slots__ = ("_name", "_owner", "_type", "_uses")

    _name: str
    _type: Type
    _owner: Op | Block | Function
    _uses: dict[tuple[Op | Block, str, int], None]

    def __init__(self, name: str, type: Type, owner: Op | Block | Function) -> None:  # noqa: A002
        self._name = name
        self._type = type
        self._owner = owner
        self._uses = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def type(self) -> Type:
        return self._type

    @type.setter  # noqa: A003
    def type(self, new: Type) -> None:
        if new is not self._type:
            self._type = new
            _touch(self._owner)

    @property
    def owner(self) -> Op | Block | Function:
        """The op, block or function that defines the value."""
        return self._owner

    @property
    def op(self) -> Op | None:
        """The op that the value is a result of; None for an input."""
        return self._owner if isinstance(self._owner, Op) else None

    @property
    def index(self) -> int:
        """The position among the outputs of the op, or the inputs of the block or function."""
        owner = self._owner
        siblings = owner._outputs if isinstance(owner, Op) else owner._inputs
        return next(i for i, v in enumerate(siblings) if v is self)

    @property
    def uses(self) -> list[Use]:
        """All uses, in the order in which they were made. A copy: safe while uses change."""
        return [_new_tuple(Use, key) for key in self._uses]  # `Use(*key)` at a third of the price

    @property
    def users(self) -> list[Op]:
        """The ops that use the value, each once, in the order of their first use."""
        return list(dict.fromkeys([user for user, _, _ in self._uses if isinstance(user, Op)]))

    @property
    def is_used(self) -> bool:
        return bool(self._uses)

    @property
    def is_output(self) -> bool:
        """Whether some block returns the value."""
        for user, _, _ in self._uses:  # noqa: SIM110 - most values have one or two uses, and any(…) takes half a microsecond to set up
            if user.__class__ is Block:
                return True
        return False

    def rename(self, name: str) -> None:
        """Gives the value another name.

        Raises:
            MutationError: another value of the same block, or another input of the same function, has that name.
        """
        if name == self._name:
            return
        names = _names_of(self._owner)
        if names is not None:
            taken = names.get(name)
            if taken is not None:
                raise MutationError(f"{self._name} cannot be renamed to {name}: the name is taken by {_describe(taken)}")
            del names[self._name]
            names[name] = self
        self._name = name
        _touch(self._owner)

    def replace_uses(self, new: Operand) -> int:
        """Lets every use of this value use `new` instead; answers with the number of uses. O(uses).

        Raises:
            MutationError: a block returns this value and `new` is a literal: a block returns values only; or `new` is neither.
        """
        if new is self:
            return 0
        if isinstance(new, Const):
            if self.is_output:
                raise MutationError(f"a block returns {self._name}, so a literal cannot replace it: replace it by a const op's output")
        elif new.__class__ is not Value:
            raise MutationError(f"{self._name} can be replaced by a value or a literal, not by a {type(new).__name__}")
        uses = self._uses
        for user, parameter in dict.fromkeys([(user, parameter) for user, parameter, _ in uses]):
            if isinstance(user, Op):
                held = user._operands[parameter]
                user._operands[parameter] = (new,) if len(held) == 1 else tuple([new if v is self else v for v in held])
                user._sources = None
            else:
                user._outputs = tuple([new if v is self else v for v in user._outputs])  # type: ignore[misc]  # no literal: checked above
            _touch(user)
        self._uses = {}
        if isinstance(new, Value):
            new._uses.update(uses)
        return len(uses)

    def __repr__(self) -> str:
        return f"%{self._name}: {self._type!r}"


Operand: TypeAlias = Value | Const
Sources: TypeAlias = tuple[Any, ...]
Operands: TypeAlias = Mapping[str, tuple[Operand, ...]]


class Op:
    """An operation: a type, named operands, outputs that it owns, attributes, nested blocks.

    An operand parameter holds a tuple of operands, since MIL's parameters are variadic; `op["x"]` is for those with one. `origin` says
    who made the op (a pass, with its rule), and is not saved.
    """

    __slots__ = ("_attributes", "_block", "_blocks", "_next", "_op_type", "_operands", "_order", "_outputs", "_prev", "_sources", "origin")

    def __init__(
        self,
        op_type: str,
        operands: Mapping[str, Operand | Sequence[Operand]],
        outputs: Iterable[tuple[str, Type]],
        attributes: Mapping[str, Const] | None = None,
        blocks: Iterable[Block] = (),
    ) -> None:
        """A detached op. Its operands know of their new use at once.

        Raises:
            MutationError: a nested block already belongs somewhere, or is given twice; an operand is neither a value nor a literal.
        """
        self._op_type = op_type
        self._outputs = tuple([Value(name, type, self) for name, type in outputs])  # noqa: A001
        self._attributes: dict[str, Const] = dict(attributes) if attributes else {}
        self._blocks = tuple(blocks) if blocks else ()
        if self._blocks:
            _check_ownable(self._blocks)
        self._operands: dict[str, tuple[Operand, ...]] = {}
        sources: list[Any] = []
        for parameter, given in operands.items():
            held: tuple[Operand, ...] = given if given.__class__ is tuple else _as_tuple(given)
            self._operands[parameter] = held
            for index, operand in enumerate(held):
                if operand.__class__ is Value:
                    operand._uses[(self, parameter, index)] = None
                elif not isinstance(operand, Const):
                    _drop_uses(self)
                    raise MutationError(_no_operand(self, parameter, operand))
            if held:
                sources += (parameter, *source_of(held[0]))
        self._sources: Sources | None = tuple(sources)
        for block in self._blocks:
            block._parent = self
        self._block: Block | None = None
        self._prev: Op | None = None
        self._next: Op | None = None
        self._order = 0
        self.origin: Any = None

    @property
    def op_type(self) -> str:
        return self._op_type

    @property
    def block(self) -> Block | None:
        """The block that the op stands in; None while detached."""
        return self._block

    @property
    def function(self) -> Function | None:
        """The function that the op stands in, however deeply nested."""
        return None if self._block is None else self._block.function

    @property
    def operands(self) -> Operands:
        """The operands by parameter, read-only; `set` and `unset` change them."""
        return MappingProxyType(self._operands)

    @property
    def sources(self) -> Sources:
        """What feeds the op: each parameter that has an operand, followed by the `source_of` its first one.

        `("x", "conv", None, "y", "const", 0.5)` for `add(x=%a, y=%b)` where a convolution makes `%a`, and `%b` is 0.5. Kept until an
        operand changes, so that what is asked of what feeds ops is asked once for all that have the same sources, and not of the operands
        of each. A constant that was read since then may stand there as `UNREAD`.
        """
        if self._sources is None:
            self._sources = tuple([each for name, held in self._operands.items() if held for each in (name, *source_of(held[0]))])
        return self._sources

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self._outputs

    @property
    def is_used(self) -> bool:
        """Whether anything uses an output."""
        for value in self._outputs:  # noqa: SIM110 - likewise
            if value._uses:
                return True
        return False

    @property
    def output(self) -> Value:
        """The only output.

        Raises:
            ValueError: the op has none, or several.
        """
        if len(self._outputs) != 1:
            raise ValueError(f"{_describe(self)} has {len(self._outputs)} outputs, not one: use op.outputs")
        return self._outputs[0]

    @property
    def attributes(self) -> Mapping[str, Const]:
        """The attributes, read-only; `set_attribute` and `unset_attribute` change them."""
        return MappingProxyType(self._attributes)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self._blocks

    @property
    def name(self) -> str:
        """The `name` attribute where it is a string, else the first output's name, else the empty string."""
        attribute = self._attributes.get("name")
        if attribute is not None:
            named = attribute.scalar()
            if named.__class__ is str and not attribute.tensor.shape:
                return str(named)
        return self._outputs[0]._name if self._outputs else ""

    @property
    def next(self) -> Op | None:
        return self._next

    @property
    def previous(self) -> Op | None:
        return self._prev

    def __getitem__(self, parameter: str) -> Operand:
        """The only operand of `parameter`.

        Raises:
            KeyError: the parameter has no operand, or several; `get` and `operands` are for those.
        """
        held = self._operands.get(parameter, ())
        if len(held) != 1:
            raise KeyError(f"{_describe(self)} has {len(held)} operands for {parameter!r}, not one; it has {', '.join(self._operands)}")
        return held[0]

    def __setitem__(self, parameter: str, value: Operand) -> None:
        raise TypeError(f"operands change through op.set({parameter!r}, value), which keeps the uses true")

    def __contains__(self, parameter: str) -> bool:
        return parameter in self._operands

    def get(self, parameter: str) -> Operand | None:
        """The first operand of `parameter`; None where there is none."""
        held = self._operands.get(parameter)
        return held[0] if held else None

    def set(self, parameter: str, *operands: Operand) -> None:
        """Lets `parameter` hold these operands, in this order, instead of what it held.

        Raises:
            MutationError: an operand is neither a value nor a literal.
        """
        for operand in operands:
            if operand.__class__ is not Value and not isinstance(operand, Const):
                raise MutationError(_no_operand(self, parameter, operand))
        old = self._operands.get(parameter, ())
        for index, operand in enumerate(old):
            if operand.__class__ is Value:
                del operand._uses[(self, parameter, index)]
        self._operands[parameter] = operands
        self._sources = None
        for index, operand in enumerate(operands):
            if operand.__class__ is Value:
                operand._uses[(self, parameter, index)] = None
        _touch(self)

    def unset(self, parameter: str) -> None:
        """Removes `parameter` and its operands, if it is there."""
        if parameter in self._operands:
            self.set(parameter)
            del self._operands[parameter]

    def set_attribute(self, name: str, value: Const) -> None:
        self._attributes = {**self._attributes, name: value}  # a new one, since clones share them
        if name == "val":
            forget_sources(self)
        _touch(self)

    def unset_attribute(self, name: str) -> None:
        """Removes an attribute, if it is there."""
        if name in self._attributes:
            self._attributes = {key: value for key, value in self._attributes.items() if key != name}
            if name == "val":
                forget_sources(self)
            _touch(self)

    def is_before(self, other: Op) -> bool:
        """Whether this op comes before `other` in their common block. O(1)."""
        if self._block is None or self._block is not other._block:
            raise ValueError(f"{_describe(self)} and {_describe(other)} are not in one block, so neither is before the other")
        return self._order < other._order

    def erase(self) -> None:
        """Takes the op out of its block and drops its operands, with all in its nested blocks.

        Raises:
            MutationError: an output is still used.
        """
        for value in self._outputs:
            if value._uses:
                use = next(iter(value._uses))
                raise MutationError(f"{_describe(self)} cannot be erased: {value._name} is still used by {_describe(use[0])}")
        if self._block is not None:
            self._block._unlink(self)
        _drop_uses(self)

    def move_before(self, anchor: Op) -> None:
        """Moves the op to just before `anchor`, which may be in another block."""
        self._move(_block_of(anchor), anchor._prev, anchor)

    def move_after(self, anchor: Op) -> None:
        """Moves the op to just after `anchor`, which may be in another block."""
        self._move(_block_of(anchor), anchor, anchor._next)

    def _move(self, block: Block, previous: Op | None, following: Op | None) -> None:
        if self is previous or self is following:
            return  # it stands there already
        if self._block is not block:
            block._check_insertable(self, moving=True)
        if self._block is not None:
            self._block._unlink(self)
        block._link(self, previous, following)

    def __repr__(self) -> str:
        from ir.text import print_op  # the printer knows ops, ops do not know the printer

        return print_op(self)


class _Cursor:
    """A position of a running iteration. The block moves it when the op that it stands on goes away."""

    __slots__ = ("backwards", "op")

    def __init__(self, backwards: bool) -> None:
        self.op: Op | None = None
        self.backwards = backwards


class Block:
    """A sequence of ops with inputs of its own (nested blocks only) and the values that it returns.

    The order is an intrusive list: inserting, erasing and moving are O(1), and so is asking which of two ops comes first. Iteration is
    safe under all three: an op inserted behind the current one is visited, one inserted before it is not; erasing or moving any op,
    the current one too, neither repeats nor skips another.
    """

    __slots__ = (
        "_attributes", "_count", "_cursors", "_first", "_index", "_inputs", "_last", "_names", "_nesting", "_outputs", "_parent",
        "_unsorted", "_version",
    )  # fmt: skip

    def __init__(self, inputs: Iterable[tuple[str, Type]] = (), attributes: Mapping[str, Const] | None = None) -> None:
        """An empty block.

        Raises:
            MutationError: two inputs have one name.
        """
        self._parent: Function | Op | None = None
        self._names: dict[str, Value] = {}
        self._inputs = _named_values(inputs, self, self._names)
        self._outputs: tuple[Value, ...] = ()
        self._attributes: dict[str, Const] = dict(attributes) if attributes else {}
        self._first: Op | None = None
        self._last: Op | None = None
        self._count = 0
        self._index: dict[str, dict[Op, None]] = {}
        self._unsorted: set[str] = set()
        self._nesting: dict[Op, None] = {}
        self._cursors: list[_Cursor] = []
        self._version = 0

    @property
    def parent(self) -> Function | Op | None:
        """The function that the block is a specialization of, or the op that it is nested in."""
        return self._parent

    @property
    def function(self) -> Function | None:
        """The function that the block belongs to, however deeply nested."""
        parent = self._parent
        while isinstance(parent, Op):
            parent = None if parent._block is None else parent._block._parent
        return parent

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The values that the block returns; `set_outputs` changes them."""
        return self._outputs

    @property
    def attributes(self) -> Mapping[str, Const]:
        return MappingProxyType(self._attributes)

    @property
    def version(self) -> int:
        """Grows with every change of the block or of anything in it."""
        return self._version

    @property
    def first(self) -> Op | None:
        return self._first

    @property
    def last(self) -> Op | None:
        return self._last

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Op]:
        return self._iterate(_Cursor(backwards=False))

    def __reversed__(self) -> Iterator[Op]:
        return self._iterate(_Cursor(backwards=True))

    def __contains__(self, op: object) -> bool:
        return isinstance(op, Op) and op._block is self

    def _iterate(self, cursor: _Cursor) -> Iterator[Op]:
        self._cursors.append(cursor)
        try:
            while True:
                at = cursor.op
                if cursor.backwards:  # noqa: SIM108
                    following = self._last if at is None else at._prev
                else:
                    following = self._first if at is None else at._next
                if following is None:
                    return
                cursor.op = following
                yield following
        finally:
            self._cursors.remove(cursor)

    def ops(self, *op_types: str) -> Iterator[Op]:
        """The ops of these types that stand in this block itself, in order.

        Costs what it finds, not what the block holds. Works on what was there at the call: an op erased meanwhile is left out, one
        inserted meanwhile is not visited. Where no type is named it is the plain iteration over the block, with that one's rules.
        """
        if not op_types:
            return iter(self)
        return (op for op in self._of_types(op_types) if op._block is self)

    def op_types(self) -> dict[str, int]:
        """How many ops of each type stand in this block itself."""
        return {op_type: len(bucket) for op_type, bucket in self._index.items() if bucket}

    def nesting_ops(self) -> list[Op]:
        """The ops of this block that hold nested blocks, in order."""
        return sorted(self._nesting, key=_order_of)

    @property
    def names(self) -> KeysView[str]:
        """The names of the values that the block itself defines, in no particular order."""
        return self._names.keys()

    def value_named(self, name: str) -> Value | None:
        """The value of this name that the block itself defines."""
        return self._names.get(name)

    def append(self, op: Op) -> None:
        """Puts a detached op at the end.

        Raises:
            MutationError: the op stands in a block already, or a name that it defines is taken.
        """
        self._check_insertable(op)
        self._link(op, self._last, None)

    def insert_before(self, anchor: Op, op: Op) -> None:
        """Puts a detached op just before `anchor`. Raises as `append` does."""
        self._check_anchor(anchor)
        self._check_insertable(op)
        self._link(op, anchor._prev, anchor)

    def insert_after(self, anchor: Op, op: Op) -> None:
        """Puts a detached op just after `anchor`. Raises as `append` does."""
        self._check_anchor(anchor)
        self._check_insertable(op)
        self._link(op, anchor, anchor._next)

    def insert_first(self, op: Op) -> None:
        """Puts a detached op at the start. Raises as `append` does."""
        self._check_insertable(op)
        self._link(op, None, self._first)

    def erase(self, ops: Iterable[Op]) -> None:
        """Erases several ops of this block at once; they may use one another. Checks all, then changes anything.

        Raises:
            MutationError: an op is not in this block, or an output is used by what is not erased with it.
        """
        doomed = dict.fromkeys(ops)
        for op in doomed:
            self._check_anchor(op)
            for value in op._outputs:
                for user, _, _ in value._uses:
                    if user not in doomed and not _is_inside(user, doomed):
                        raise MutationError(f"{_describe(op)} cannot be erased: {value._name} is still used by {_describe(user)}")
        for op in doomed:
            self._unlink(op)
            _drop_uses(op)

    def replace(self, old: Op, new: Op) -> None:
        """Puts the detached op `new` where `old` stands, lets it take over all uses output by output, and erases `old`.

        The outputs of `new` may have the names of those of `old`. An iteration that stands on `old` goes on behind `new`. Checks all,
        then changes anything.

        Raises:
            MutationError: the ops differ in their number of outputs, `new` uses an output of `old`, `old` is not in this block, or
                `append` would refuse `new`.
        """
        self._check_anchor(old)
        if len(old._outputs) != len(new._outputs):
            mismatch = f"{_describe(new)} has {len(new._outputs)} outputs and cannot replace {_describe(old)} with {len(old._outputs)}"
            raise MutationError(mismatch)
        users = [user for value in old._outputs for user, _, _ in value._uses]
        if new in users or (new._blocks and any(_is_inside(user, (new,)) for user in users)):
            used = f"{_describe(new)} uses {_describe(old)}, so it cannot replace it"
            raise MutationError(f"{used}: insert it behind, and let the others use it")
        for value in old._outputs:
            del self._names[value._name]
        try:
            self._check_insertable(new)
        finally:
            self._names.update((value._name, value) for value in old._outputs)
        previous = old._prev
        for value, substitute in zip(old._outputs, new._outputs, strict=True):
            value.replace_uses(substitute)
        standing = [cursor for cursor in self._cursors if cursor.op is old]
        self._unlink(old)
        _drop_uses(old)
        self._link(new, previous, self._first if previous is None else previous._next)
        for cursor in standing:
            cursor.op = new

    def set_outputs(self, values: Sequence[Value]) -> None:
        """Lets the block return these values.

        Raises:
            MutationError: one of them is no value.
        """
        held = tuple(values)
        for value in held:
            if value.__class__ is not Value:
                raise MutationError(f"a block returns values only, not a {type(value).__name__}: return a const op's output")
        for index, value in enumerate(self._outputs):
            del value._uses[(self, OUTPUTS, index)]
        self._outputs = held
        for index, value in enumerate(self._outputs):
            value._uses[(self, OUTPUTS, index)] = None
        _touch(self)

    def set_attribute(self, name: str, value: Const) -> None:
        self._attributes[name] = value
        _touch(self)

    def clone(self, outer: Mapping[Value, Value] | None = None, substitute: Callable[[Const], Const] | None = None) -> Block:
        """A detached copy: ops, nested blocks, inputs and outputs are new, literals and their weights are shared.

        `outer` says what stands for values defined outside; those that it does not name are used as they are. `substitute` says what
        stands for each literal that an op holds, its name apart.
        """
        from ir.cloning import clone_block  # it knows the object model, the object model does not know it

        return clone_block(self, dict(outer) if outer else {}, substitute)

    def _of_types(self, op_types: Iterable[str]) -> list[Op]:
        """The ops of these types, in order: out of the index, or by a look at all ops where those are not many more.

        Sorting what the index has takes 0.2 µs for each op found, a look 0.03 µs for each there is.
        """
        wanted = dict.fromkeys(op_types)
        if len(wanted) == 1 or FEW * sum(len(self._index.get(op_type, ())) for op_type in wanted) < self._count:
            found = [op for op_type in wanted for op in self._bucket(op_type)]
            if len(wanted) > 1:
                found.sort(key=_order_of)
            return found
        found = []
        at = self._first
        while at is not None:
            if at._op_type in wanted:
                found.append(at)
            at = at._next
        return found

    def _bucket(self, op_type: str) -> dict[Op, None]:
        bucket = self._index.get(op_type, {})
        if op_type in self._unsorted:
            bucket = self._index[op_type] = dict.fromkeys(sorted(bucket, key=_order_of))
            self._unsorted.discard(op_type)
        return bucket

    def _check_anchor(self, anchor: Op) -> None:
        if anchor._block is not self:
            raise MutationError(f"{_describe(anchor)} is not in this block")

    def _check_insertable(self, op: Op, moving: bool = False) -> None:
        if op._block is not None and not moving:
            raise MutationError(f"{_describe(op)} stands in a block already: move it, or erase it there first")
        if op._blocks and _is_inside(self, (op,)):
            raise MutationError(f"{_describe(op)} cannot be put inside itself")
        names = self._names
        outputs = op._outputs
        for value in outputs:
            if value._name in names:
                raise MutationError(f"the name {value._name} is taken by {_describe(names[value._name])}")
        if len(outputs) > 1 and len({v._name for v in outputs}) < len(outputs):
            raise MutationError(f"two outputs of {_describe(op)} have one name")

    def _link(self, op: Op, previous: Op | None, following: Op | None) -> None:
        op._block = self
        op._prev = previous
        op._next = following
        if previous is None:
            self._first = op
        else:
            previous._next = op
        op_type = op._op_type
        if following is None:
            self._last = op
            op._order = STRIDE if previous is None else previous._order + STRIDE
        else:
            following._prev = op
            label_between(op, previous, following)
            self._unsorted.add(op_type)
        bucket = self._index.get(op_type)
        if bucket is None:
            bucket = self._index[op_type] = {}
        bucket[op] = None
        if op._blocks:
            self._nesting[op] = None
        for value in op._outputs:
            self._names[value._name] = value
        self._count += 1
        self._version += 1
        if self._parent is not None:
            _touch(self._parent)

    def _unlink(self, op: Op) -> None:
        for cursor in self._cursors:
            if cursor.op is op:
                # None, where the op was the outermost in its direction, starts at what is outermost then: no op is repeated or skipped.
                cursor.op = op._next if cursor.backwards else op._prev
        if op._prev is None:
            self._first = op._next
        else:
            op._prev._next = op._next
        if op._next is None:
            self._last = op._prev
        else:
            op._next._prev = op._prev
        op._prev = op._next = op._block = None
        del self._index[op._op_type][op]
        self._nesting.pop(op, None)
        for value in op._outputs:
            del self._names[value._name]
        self._count -= 1
        _touch(self)

    def __repr__(self) -> str:
        from ir.text import print_block

        return print_block(self)


class Function:
    """A function: named inputs, and one block for each opset that it is specialized for, of which `opset` names the active one."""

    __slots__ = ("_attributes", "_blocks", "_inputs", "_name", "_names", "_opset", "_program", "_version")

    def __init__(
        self, name: str, inputs: Iterable[tuple[str, Type]] = (), opset: str = "CoreML5", attributes: Mapping[str, Const] | None = None
    ) -> None:
        """A function without a block; `add_block` gives it one.

        Raises:
            MutationError: two inputs have one name.
        """
        self._name = name
        self._names: dict[str, Value] = {}
        self._inputs = _named_values(inputs, self, self._names)
        self._opset = opset
        self._blocks: dict[str, Block] = {}
        self._attributes: dict[str, Const] = dict(attributes) if attributes else {}
        self._program: Program | None = None
        self._version = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def program(self) -> Program | None:
        return self._program

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self._inputs

    @property
    def opset(self) -> str:
        """The key of the active specialization: `CoreML8`."""
        return self._opset

    @property
    def specializations(self) -> Mapping[str, Block]:
        """The blocks by opset key, read-only; `add_block`, `drop_block` and `set_opset` change them."""
        return MappingProxyType(self._blocks)

    @property
    def body(self) -> Block:
        """The active block.

        Raises:
            ValueError: the function has no block for its opset.
        """
        found = self._blocks.get(self._opset)
        if found is None:
            raise ValueError(f"function {self._name} has no block for its opset {self._opset}; it has {', '.join(self._blocks) or 'none'}")
        return found

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The values that the active block returns."""
        return self.body._outputs

    @property
    def attributes(self) -> Mapping[str, Const]:
        return MappingProxyType(self._attributes)

    @property
    def version(self) -> int:
        """Grows with every change of the function or of anything in it."""
        return self._version

    def add_block(self, opset: str, block: Block) -> None:
        """Adds a detached block as the specialization for `opset`.

        Raises:
            MutationError: there is one already, or the block belongs somewhere.
        """
        if opset in self._blocks:
            raise MutationError(f"function {self._name} has a block for {opset} already")
        if block._parent is not None:
            raise MutationError("the block belongs to another function or op: clone it")
        self._blocks[opset] = block
        block._parent = self
        _touch(self)

    def drop_block(self, opset: str) -> None:
        """Removes a specialization that is not the active one.

        Raises:
            MutationError: there is none for `opset`, or it is the active one.
        """
        if opset not in self._blocks or opset == self._opset:
            raise MutationError(f"function {self._name} has no inactive block for {opset}")
        block = self._blocks.pop(opset)
        block._parent = None
        _drop_block_uses(block)
        _touch(self)

    def set_opset(self, opset: str) -> None:
        """Renames the active specialization, and makes the new name the active one.

        Raises:
            MutationError: another specialization has that name.
        """
        if opset == self._opset:
            return
        if opset in self._blocks:
            raise MutationError(f"function {self._name} has another block for {opset}: drop it first")
        self._blocks = {opset if key == self._opset else key: block for key, block in self._blocks.items()}
        self._opset = opset
        _touch(self)

    def set_attribute(self, name: str, value: Const) -> None:
        self._attributes[name] = value
        _touch(self)

    def ops(self, *op_types: str) -> Iterator[Op]:
        """The ops of these types in every specialization, nested blocks included; all where no type is named. As `Block.ops`."""
        for block in self.blocks():
            yield from block.ops(*op_types)

    def blocks(self) -> Iterator[Block]:
        """Every block of the function, nested ones after the one that they are nested in."""
        for block in tuple(self._blocks.values()):
            yield from _nested_blocks(block)

    def clone(self, name: str | None = None, substitute: Callable[[Const], Const] | None = None) -> Function:
        """A detached copy, weights shared; `substitute` as for blocks."""
        copy = Function(self._name if name is None else name, [(v._name, v._type) for v in self._inputs], self._opset, self._attributes)
        outer = dict(zip(self._inputs, copy._inputs, strict=True))
        for opset, block in self._blocks.items():
            copy.add_block(opset, block.clone(outer, substitute))
        return copy

    def __repr__(self) -> str:
        from ir.text import print_function

        return print_function(self)


class Program:
    """An ML Program with what its model says of it: functions, attributes, a specification version, the user's metadata.

    A pipeline of models is a program without functions whose `stages` are the ML Programs in it, by their position in the pipeline.
    `document` is what else the package holds (the interface's description, the manifest, other files): opaque here, shared by clones,
    written back by `ir.mil`; None for a program that was built rather than loaded.
    """

    __slots__ = ("_functions", "_version", "attributes", "doc", "document", "format_version", "metadata", "spec_version", "stages")

    def __init__(self, functions: Iterable[Function] = (), *, spec_version: int = 6, format_version: int = 1, doc: str = "") -> None:
        self._functions: dict[str, Function] = {}
        self._version = 0
        self.attributes: dict[str, Const] = {}
        self.doc = doc
        self.format_version = format_version
        """The protobuf's `Program.version`."""
        self.spec_version = spec_version
        """The model's `specificationVersion`."""
        self.metadata: dict[str, str] = {}
        """The user-defined metadata of the model's description."""
        self.stages: dict[tuple[int, ...], Program] = {}
        self.document: object = None
        for function in functions:
            self.add_function(function)

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions by name, read-only; `add_function` and `drop_function` change them."""
        return MappingProxyType(self._functions)

    @property
    def main(self) -> Function:
        """The only function, or the one called `main`.

        Raises:
            ValueError: there are several and none is called main.
        """
        if len(self._functions) == 1:
            return next(iter(self._functions.values()))
        if "main" in self._functions:
            return self._functions["main"]
        raise ValueError(f"the program has no function main; it has {', '.join(self._functions) or 'none'}")

    @property
    def version(self) -> int:
        """Grows with every change of a function or of anything in one."""
        return self._version + sum(stage.version for stage in self.stages.values())

    def add_function(self, function: Function) -> None:
        """Adds a detached function.

        Raises:
            MutationError: there is one of that name, or it belongs to another program.
        """
        if function._name in self._functions:
            raise MutationError(f"the program has a function {function._name} already")
        if function._program is not None:
            raise MutationError(f"function {function._name} belongs to another program: clone it")
        self._functions[function._name] = function
        function._program = self
        self._version += 1

    def drop_function(self, name: str) -> None:
        """Removes a function.

        Raises:
            MutationError: there is none of that name.
        """
        if name not in self._functions:
            raise MutationError(f"the program has no function {name}; it has {', '.join(self._functions) or 'none'}")
        self._functions.pop(name)._program = None
        self._version += 1

    def programs(self) -> Iterator[Program]:
        """The program itself, then every stage of a pipeline, nested pipelines' too."""
        yield self
        for stage in self.stages.values():
            yield from stage.programs()

    def all_functions(self) -> Iterator[Function]:
        """Every function of the program and of its stages."""
        for program in self.programs():
            yield from tuple(program._functions.values())

    def ops(self, *op_types: str) -> Iterator[Op]:
        """The ops of these types in every function, specialization and nested block; all where no type is named. As `Block.ops`."""
        for function in self.all_functions():
            yield from function.ops(*op_types)

    def blocks(self) -> Iterator[Block]:
        """Every block of every function, nested ones after the one that they are nested in."""
        for function in self.all_functions():
            yield from function.blocks()

    def weights(self, min_elements: int = 2048) -> Iterator[Weight]:
        """The logical weights: constants as consumers see them, whatever form they are stored in; see `ir.weights.logical_weights`."""
        from ir.weights import logical_weights  # it knows the object model, the object model does not know it

        return logical_weights(self, min_elements)

    def clone(self, substitute: Callable[[Const], Const] | None = None) -> Program:
        """A copy that shares weights, literals, types and the document, and no op or value; `substitute` as for blocks."""
        copy = Program(spec_version=self.spec_version, format_version=self.format_version, doc=self.doc)
        copy.attributes = dict(self.attributes)
        copy.metadata = dict(self.metadata)
        copy.document = self.document
        copy.stages = {position: stage.clone(substitute) for position, stage in self.stages.items()}
        for function in self._functions.values():
            copy.add_function(function.clone(substitute=substitute))
        return copy

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes an `.mlpackage`, atomically: whatever happens, `path` holds the old package or the new one, whole.

        Raises:
            PackageError: `path` exists and `overwrite` was not asked for, or it is a folder that is no package; or writing failed.
            InvalidProgramError: the program breaks its specification; nothing is written.
        """
        from ir.mil.save import save_program  # ir.mil knows the object model, the object model does not know files

        return save_program(self, path, overwrite=overwrite)

    def __repr__(self) -> str:
        ops = sum(len(block) for block in self.blocks())
        return f"<Program: {', '.join(f.name for f in self.all_functions())}; {ops} ops>"

    def __str__(self) -> str:
        from ir.text import print_program

        return print_program(self)


def constant_of(operand: Operand) -> Const | None:
    """The literal that an operand is, directly or as the output of a `const` op; None where it is computed."""
    if isinstance(operand, Const):
        return operand
    op = operand._owner
    if isinstance(op, Op) and op._op_type == "const":
        return op._attributes.get("val")
    return None


def source_of(operand: Operand) -> tuple[str, Any]:
    """What an operand comes from: the type of an op, `const` for a literal as for the output of a `const` op, "" for an input.

    With it, of a constant: what `Const.scalar` answered, or `UNREAD` where nobody has asked it. No constant is read for this.
    """
    if operand.__class__ is not Value:
        return "const", operand._scalar  # type: ignore[union-attr]  # what is no value is a literal
    owner = operand._owner
    if owner.__class__ is not Op:
        return "", None
    op_type = owner._op_type
    if op_type != "const":
        return op_type, None
    literal = owner._attributes.get("val")
    return "const", UNREAD if literal is None else literal._scalar


def forget_sources(op: Op) -> None:
    """What `op` has as its value is another: those that use it have other sources."""
    if op._op_type == "const":
        for value in op._outputs:
            for user, _, _ in value._uses:
                if user.__class__ is Op:
                    user._sources = None


def _order_of(op: Op) -> int:
    return op._order


def _block_of(op: Op) -> Block:
    if op._block is None:
        raise MutationError(f"{_describe(op)} stands in no block")
    return op._block


def _touch(changed: Op | Block | Function) -> None:
    """Raises the version of every block and function around a change, and the program's."""
    at = changed._block if isinstance(changed, Op) else changed
    while at is not None:
        at._version += 1
        if isinstance(at, Function):
            if at._program is not None:
                at._program._version += 1
            return
        parent = at._parent
        at = parent._block if isinstance(parent, Op) else parent


def _names_of(owner: Op | Block | Function) -> dict[str, Value] | None:
    """Where the names of an owner's values are registered; None for a detached op."""
    if isinstance(owner, Op):
        return None if owner._block is None else owner._block._names
    return owner._names


def _named_values(named: Iterable[tuple[str, Type]], owner: Block | Function, names: dict[str, Value]) -> tuple[Value, ...]:
    values = tuple(Value(name, kind, owner) for name, kind in named)
    for value in values:
        if value._name in names:
            raise MutationError(f"two inputs are called {value._name}")
        names[value._name] = value
    return values


def _is_inside(user: Op | Block, ops: Iterable[Op]) -> bool:
    """Whether `user` stands in a nested block, at any depth, of one of `ops` (a mapping or set keeps this O(depth))."""
    at: Op | Block | Function | None = user._block if isinstance(user, Op) else user
    while isinstance(at, Block):
        parent = at._parent
        if not isinstance(parent, Op):
            return False
        if parent in ops:
            return True
        at = parent._block
    return False


def _check_ownable(blocks: tuple[Block, ...]) -> None:
    if len(set(blocks)) < len(blocks):
        raise MutationError("an op cannot hold one block twice: clone it")
    for block in blocks:
        if block._parent is not None:
            raise MutationError("the block belongs to another op or function: clone it")


def _as_tuple(given: Operand | Sequence[Operand]) -> tuple[Operand, ...]:
    return tuple(given) if isinstance(given, Sequence) else (given,)


def _no_operand(op: Op, parameter: str, operand: object) -> str:
    return (
        f"operand {parameter} of {_describe(op)} has to be a value or a literal, not a {type(operand).__name__}: "
        "take an op's output, and make literals with Const.of"
    )


def _drop_uses(op: Op) -> None:
    """Lets go of everything that an op and its nested blocks use."""
    _drop_operands(op)
    for block in op._blocks:
        _drop_block_uses(block)


def _drop_operands(op: Op) -> None:
    for parameter, operands in op._operands.items():
        for index, operand in enumerate(operands):
            if operand.__class__ is Value:
                operand._uses.pop((op, parameter, index), None)
    op._operands = {}
    op._sources = ()


def _drop_block_uses(block: Block) -> None:
    pending = [block]
    while pending:
        dropped = pending.pop()
        for index, value in enumerate(dropped._outputs):
            value._uses.pop((dropped, OUTPUTS, index), None)
        dropped._outputs = ()
        at = dropped._first
        while at is not None:
            _drop_operands(at)
            pending.extend(at._blocks)
            at = at._next


def _nested_blocks(block: Block) -> Iterator[Block]:
    """The block, then those nested in it, each after the one that it is nested in; without those of ops erased meanwhile."""
    yield block
    pending = [(block, op) for op in reversed(block.nesting_ops())]
    while pending:
        around, op = pending.pop()
        if op._block is not around:
            continue
        inner: list[tuple[Block, Op]] = []
        for nested in op._blocks:
            yield nested
            inner.extend((nested, deeper) for deeper in nested.nesting_ops())
        pending.extend(reversed(inner))


def _describe(thing: Op | Value | Block) -> str:
    """A short name for error texts."""
    if isinstance(thing, Op):
        return f"{thing._op_type} {thing.name}".rstrip()
    if isinstance(thing, Value):
        return _describe(thing._owner) if isinstance(thing._owner, Op) else f"input {thing._name}"
    parent = thing._parent
    if parent is None:
        return "a block's outputs"
    return f"the outputs of {parent._name}" if isinstance(parent, Function) else f"the outputs of a block of {_describe(parent)}"
