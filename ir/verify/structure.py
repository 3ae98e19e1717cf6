"""The invariants of the object model: ownership, order, def-use, dominance, names.

Cheap enough for after every pass: each op is visited once, and what is right costs a few look-ups. Values are resolved as a file's reader
would resolve them, by name and innermost block first, so one look-up answers for dominance, shadowing and foreign values together. That
no use is stale follows from counting: every operand slot is among its value's uses, and there are as many uses as slots.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ir.const import Const
from ir.core import OUTPUTS, Block, Function, Op, Program, Value
from ir.diagnostics import IllegalName, Problem
from ir.verify import raise_problems

IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_@]*")
"""What `MIL.proto` demands of names and keys."""


def verify(root: Program | Function | Block) -> None:
    """Checks the structure of `root`.

    Raises:
        InvalidProgramError: something is wrong; it says what, all of it.
    """
    raise_problems(problems(root))


def problems(root: Program | Function | Block) -> list[Problem]:
    """All that is wrong with the structure of `root`. Linear: 0.9 µs an op, measured on 50,000.

    Of a single block, uses of values from around it are followed from the inside only.
    """
    found: list[Problem] = []
    if isinstance(root, Program):
        found += problems_around(root)
        for function in root.all_functions():
            _check_function(function, found)
    elif isinstance(root, Function):
        _check_function(root, found)
    else:
        checker = _Checker(found, _values_around(root))
        checker.check(root, root._parent)
        checker.finish()
    return found


def problems_around(root: Program) -> list[Problem]:
    """All that is wrong with a program beside what is wrong inside of its functions."""
    found: list[Problem] = []
    for program in root.programs():
        _check_identifiers(program.attributes, "attribute", None, found)
        for name, function in program._functions.items():
            if function._name != name:
                found.append(Problem(f"function {function._name} is listed under the name {name}", function))
            if function._program is not program:
                found.append(Problem(f"function {name} is listed in a program that it does not belong to", function))
    return found


def _check_function(function: Function, found: list[Problem]) -> None:
    name = function._name
    _check_identifiers((name,), "function", function, found)
    _check_identifiers(function._names, "input", function, found)
    _check_identifiers(function._attributes, "attribute", function, found)
    _check_identifiers(function._blocks, "specialization", function, found)
    inputs = {value._name: value for value in function._inputs}
    if inputs != function._names or len(inputs) < len(function._inputs):
        found.append(Problem(f"the inputs of function {name} and their names are out of step, or two inputs have one name", function))
    if function._opset not in function._blocks:
        listed = ", ".join(function._blocks) or "none"
        found.append(Problem(f"function {name} has no block for its opset {function._opset}; it has {listed}", function))
    checker = _Checker(found, {})
    checker.inputs = inputs
    for value in function._inputs:
        checker.define(value, function)
    for block in function._blocks.values():
        checker.check(block, function)
    checker.finish()
    _check_same_outputs(function, found)


def _check_same_outputs(function: Function, found: list[Problem]) -> None:
    first: tuple[str, ...] | None = None
    for opset, block in function._blocks.items():
        named = tuple(value._name for value in block._outputs)
        if first is None:
            first = named
        elif named != first:
            message = f"the specializations of function {function._name} return different values; {opset} returns {', '.join(named)}"
            found.append(Problem(message, block))


class _Frame:
    """How far the check of one block has come. It stops at each op with nested blocks, and goes on once those are done."""

    __slots__ = ("at", "block", "count", "defined", "nested", "nesting", "order", "previous", "resumed")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.at = block._first
        self.previous: Op | None = None
        self.order = -(1 << 200)
        self.count = 0
        self.defined: dict[str, Value] = {}
        self.nested: list[Block] = []
        self.nesting = 0
        self.resumed = False


class _Checker:
    """One check of a function, or of a block alone. `around` holds what is visible from outside of what is checked."""

    def __init__(self, found: list[Problem], around: dict[str, Value]) -> None:
        self.found = found
        self.known = len(found)
        self.around = around
        self.inputs: dict[str, Value] = {}
        self.slots = 0
        self.outer_slots = 0
        self.uses = 0
        self.frames: list[_Frame] = []
        self.keys: set[str] = set()
        self.checked: list[tuple[Block, dict[str, Value]]] = []

    def report(self, message: str, where: Op | Value | Block | None, fix: str | None = None) -> None:
        self.found.append(Problem(message, where, fix))

    def define(self, value: Value, owner: Op | Block | Function) -> None:
        if value._owner is not owner:
            self.report(f"value {value._name} names another owner than the one that lists it", value)
        self.uses += len(value._uses)

    def check(self, block: Block, parent: Op | Function | None) -> None:
        """Checks a block and all nested in it."""
        self._enter(block, parent)
        frames = self.frames
        while frames:
            frame = frames[-1]
            if frame.nested:
                self._enter(frame.nested.pop(), frame.at)
                continue
            op = self._scan(frame)
            if op is None:
                self._leave(frame)
                frames.pop()
            else:
                frame.nested = list(reversed(op._blocks))

    def _enter(self, block: Block, parent: Op | Function | None) -> None:
        if block._parent is not parent:
            self.report("a block names another parent than the one that holds it", block)
        frame = _Frame(block)
        for value in block._inputs:
            self.define(value, block)
            if value._name in frame.defined:
                self.report(f"two inputs of a block are called {value._name}", block)
            frame.defined[value._name] = value
        self.checked.append((block, frame.defined))
        self.frames.append(frame)

    def _leave(self, frame: _Frame) -> None:
        """Checks what can be told of a block only when all its ops were seen."""
        block = frame.block
        for position, value in enumerate(block._outputs):
            if frame.defined.get(value._name) is not value and not self._is_visible(value):
                self.report(f"a block returns {value._name}, which is not defined where the block ends", block)
            if (block, OUTPUTS, position) not in value._uses:
                self.report(f"a block returns {value._name}, which does not know of it", block)
        self.slots += len(block._outputs)
        if frame.count != block._count:
            self.report(f"a block counts {block._count} ops and links {frame.count}", block)
        if block._last is not frame.previous:
            self.report("a block's last op is not the one at the end of its links", block)
        if block._names != frame.defined:
            self.report("a block's register of names is out of step with the values that it defines", block)
        if len(block._nesting) != frame.nesting:
            self.report("a block's register of ops with nested blocks is out of step with its ops", block)
        if sum(map(len, block._index.values())) != frame.count:
            self.report("a block's index by type lists ops that do not stand in it", block)
        for op_type, bucket in block._index.items():
            orders = [op._order for op in bucket]
            if op_type not in block._unsorted and orders != sorted(orders):
                self.report(f"a block's index lists its {op_type} ops in another order than they stand in", block)
        if not (all(map(str.isidentifier, frame.defined)) and all(map(str.isascii, frame.defined))):
            for name, value in frame.defined.items():
                if not IDENTIFIER.fullmatch(name):
                    self.found.append(IllegalName(f"value name {name!r} is no identifier", value, _IDENTIFIER_FIX))

    def _scan(self, frame: _Frame) -> Op | None:
        """Checks op after op, up to the next with nested blocks, which it answers with. Local names throughout: this is the hot loop."""
        block, at, previous, order, count = frame.block, frame.at, frame.previous, frame.order, frame.count
        defined, index, keys = frame.defined, block._index, self.keys
        limit, resumed = block._count, frame.resumed
        slots = uses = 0
        while at is not None:
            operands = at._operands
            if not resumed:
                if count >= limit:
                    self.report(f"a block of {limit} ops has more that are linked, or its links run in a circle", at)
                    count += 1
                    break
                count += 1
                if at._prev is not previous or at._block is not block or at._order <= order:
                    self._report_links(at, previous, block, order)
                order = at._order
                bucket = index.get(at._op_type)
                if bucket is None or at not in bucket:
                    self.report(f"{_of(at)} is missing from its block's index by type", at)
                if operands:
                    keys.update(operands)
                    for parameter, held in operands.items():
                        position = 0
                        for operand in held:
                            if operand.__class__ is Value:
                                if defined.get(operand._name) is not operand and not self._is_visible(operand):
                                    self._report_invisible(at, parameter, operand)
                                if (at, parameter, position) not in operand._uses:
                                    self.report(f"{_of(at)} uses {operand._name} as {parameter}, which does not know of it", at)
                                slots += 1
                            elif not isinstance(operand, Const):
                                self.report(f"operand {parameter} of {_of(at)} is neither a value nor a literal", at)
                            position += 1  # noqa: SIM113
                if at._blocks:
                    frame.nesting += 1
                    if at not in block._nesting:
                        self.report(f"{_of(at)} is missing from its block's register of ops with nested blocks", at)
                    frame.at, frame.previous, frame.order, frame.count, frame.resumed = at, previous, order, count, True
                    self.slots += slots
                    self.uses += uses
                    return at
            resumed = False
            keys.update(at._attributes)
            for value in at._outputs:
                if value._owner is not at:
                    self.report(f"value {value._name} names another owner than the one that lists it", value)
                if value._name in defined:
                    self._report_taken(at, value, defined)
                defined[value._name] = value
                uses += len(value._uses)
            previous = at
            at = at._next
        frame.previous, frame.count = previous, count
        self.slots += slots
        self.uses += uses
        return None

    def _is_visible(self, value: Value) -> bool:
        """Whether the name of `value`, looked up from the innermost block outwards, leads to `value`."""
        name = value._name
        for frame in reversed(self.frames):
            found = frame.defined.get(name)
            if found is not None:
                return found is value
        found = self.inputs.get(name)
        if found is not None:
            return found is value
        if self.around.get(name) is value:
            self.outer_slots += 1
            return True
        return False

    def finish(self) -> None:
        """Checks what can be told only of the whole: that no use is stale, and that keys are identifiers."""
        if self.slots - self.outer_slots != self.uses:
            self._report_stale_uses()
            if len(self.found) == self.known:
                self.report(f"values list {self.uses} uses, and operands and block outputs are {self.slots}", None)
        for key in sorted(self.keys):
            if not IDENTIFIER.fullmatch(key):
                self._report_key(key)

    def _report_stale_uses(self) -> None:
        blocks = {block for block, _ in self.checked}
        for _, defined in [*self.checked, (None, self.inputs)]:
            for value in defined.values():
                for use in value.uses:
                    user = use.user
                    held = user._operands.get(use.parameter, ()) if isinstance(user, Op) else user._outputs
                    if use.position >= len(held) or held[use.position] is not value:
                        self.report(f"{value._name} lists a use as {use.parameter} by {_of(user)}, which does not use it there", value)
                    elif (user._block if isinstance(user, Op) else user) not in blocks:
                        message = f"{value._name} is used by {_of(user)}, which stands in no block of the function"
                        self.report(message, value, "erase it, or insert it")

    def _report_links(self, op: Op, previous: Op | None, block: Block, order: int) -> None:
        if op._prev is not previous:
            self.report(f"{_of(op)} names another op before it than the one that it follows", op)
        if op._block is not block:
            self.report(f"{_of(op)} names another block than the one that it stands in", op)
        if op._order <= order:
            self.report(f"{_of(op)} has an order label below that of the op before it", op)

    def _report_invisible(self, op: Op, parameter: str, value: Value) -> None:
        using = f"{_of(op)} uses {value._name} as {parameter}"
        namesake = self._lookup(value._name)
        definer = value._owner
        if namesake is not None:
            self.report(f"{using}, and there the name means another value, {_defined(namesake)}", op, "rename one of the two")
        elif isinstance(definer, Op) and definer._block is None:
            self.report(f"{using}, which {_of(definer)} defines, and that stands in no block", op, "insert it before the op")
        elif isinstance(definer, Op) and any(definer._block is frame.block for frame in self.frames):
            self.report(f"{using} before {_of(definer)} defines it", op, "move the op, or sort its block topologically")
        else:
            self.report(f"{using}, which is not visible there: it is {_defined(value)}", op)

    def _lookup(self, name: str) -> Value | None:
        for frame in reversed(self.frames):
            if name in frame.defined:
                return frame.defined[name]
        return self.inputs.get(name, self.around.get(name))

    def _report_taken(self, op: Op, value: Value, defined: dict[str, Value]) -> None:
        holder = _defined(defined[value._name])
        self.report(f"the name {value._name} of a result of {_of(op)} is taken by {holder}", op, "rename one of the two")

    def _report_key(self, key: str) -> None:
        for block, _ in self.checked:
            for op in block:
                for keys, kind in ((op._operands, "parameter"), (op._attributes, "attribute")):
                    if key in keys:
                        self.report(f"{kind} {key!r} of {_of(op)} is no identifier", op, _IDENTIFIER_FIX)


_IDENTIFIER_FIX: Final = "use letters, digits, _ and @, and do not start with a digit or @"


def _check_identifiers(names: Iterable[str], kind: str, where: Function | None, found: list[Problem]) -> None:
    for name in names:
        if not IDENTIFIER.fullmatch(name):
            make = IllegalName if kind == "input" else Problem
            found.append(make(f"{kind} name {name!r} is no identifier", where, _IDENTIFIER_FIX))


def _values_around(block: Block) -> dict[str, Value]:
    """What is visible in a nested block from outside: of each block around it what is defined before the op that leads in."""
    layers: list[Iterable[Value]] = []
    parent = block._parent
    while isinstance(parent, Op) and parent._block is not None:
        at = parent._prev
        layer: list[Value] = list(parent._block._inputs)
        for _ in range(parent._block._count):
            if at is None:
                break
            layer.extend(at._outputs)
            at = at._prev
        layers.append(layer)
        parent = parent._block._parent
    if isinstance(parent, Function):
        layers.append(parent._inputs)
    return {value._name: value for layer in reversed(layers) for value in layer}


def _of(user: Op | Block) -> str:
    if isinstance(user, Op):
        return f"{user._op_type} {user.name}".rstrip()
    return "a block"


def _defined(value: Value) -> str:
    owner = value._owner
    if isinstance(owner, Op):
        place = "" if owner._block is not None else " that stands in no block"
        function = owner.function
        return f"a result of {_of(owner)}{place}{'' if function is None else f' in function {function._name}'}"
    if isinstance(owner, Function):
        return f"an input of function {owner._name}"
    return "an input of a nested block" if isinstance(owner._parent, Op) else "an input of a block"
