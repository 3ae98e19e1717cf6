"""`SanitizeNames`: every value has a name that a file can hold, and no other value of its function that is visible beside it has the same.

    inputs %x: fp16[4]                                  inputs %x: fp16[4]
    %"block/0:relu": fp16[4] = relu(x=%x)         →     %block_0_relu: fp16[4] = relu(x=%x)
    %"1": fp16[4] = exp(x=%"block/0:relu")              %_1: fp16[4] = exp(x=%block_0_relu)
    return %"1"                                         return %_1
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from attrs import frozen

from ir.builder import Names
from ir.const import Const
from ir.core import Block, Function, Value
from ir.verify.structure import IDENTIFIER
from mlpasses.cleanup.scopes import NAME
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.passes import FunctionPass


@frozen
class SanitizeNames(FunctionPass):
    """Makes the names of values identifiers, and unique among what is visible where they are defined.

    What no identifier may hold becomes `_`, and a number is added where the name is taken; so the same program always gets the same names.
    Legal names stay, but for a value in a nested block that has the name of one around it; blocks side by side may use one name, as files
    do. The inputs and outputs of functions keep their names unless these are illegal, and then a note says so, since callers and the
    package's description know them. An op whose `name` was that of its first result follows it. Names of functions, parameters and
    attributes have a meaning, and stay.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    def run(self, fn: Function, cx: Context) -> int:
        bodies = list(fn.specializations.values())
        names = [Names(body) for body in bodies]
        renamed = 0
        for value in fn.inputs:
            if not IDENTIFIER.fullmatch(value.name):
                renamed += _rename_interface([value], "input", fn, names, cx)
        for returned in _outputs_by_name(bodies):
            if not IDENTIFIER.fullmatch(returned[0].name):
                renamed += _rename_interface(returned, "output", fn, names, cx)
        around = {value.name for value in fn.inputs}
        for body, free in zip(bodies, names, strict=True):
            renamed += _rename_inside(body, around, free)
        return renamed


def _outputs_by_name(bodies: list[Block]) -> list[list[Value]]:
    """What the specializations return, by name, since those of one name are one output. An input that is returned is named as an input."""
    found: dict[str, dict[Value, None]] = {}
    for body in bodies:
        for value in body.outputs:
            if value.op is not None:
                found.setdefault(value.name, {})[value] = None
    return [list(values) for values in found.values()]


def _rename_interface(values: list[Value], kind: str, fn: Function, names: list[Names], cx: Context) -> int:
    old = values[0].name
    new = names[0].fresh(old) if names else Names(Block()).fresh(old)
    while any(free.is_taken(new) for free in names):
        new = names[0].fresh(old)
    for value in values:
        _rename(value, new)
    cx.note(f"function {fn.name}", f"its {kind} {old!r} is no identifier, so it is called {new} now: callers have to know")
    return len(values)


def _rename_inside(body: Block, around: set[str], free: Names) -> int:
    """Renames what is left: values that no function takes or returns."""
    renamed = 0
    interface = dict.fromkeys(body.outputs)
    pending: list[tuple[Block, set[str]]] = [(body, around)]
    while pending:
        block, visible = pending.pop()
        suspect = {name for name in block.names if not IDENTIFIER.fullmatch(name) or name in visible}
        if suspect:  # seldom, and names are asked for at a fifth of what it costs to ask each value
            for value in [value for value in _defined(block) if value.name in suspect]:
                if value not in interface or not IDENTIFIER.fullmatch(value.name):
                    _rename(value, free.fresh(value.name))
                    renamed += 1
        nested = [inner for op in reversed(block.nesting_ops()) for inner in reversed(op.blocks)]
        if nested:
            visible = visible | block.names
            pending.extend((inner, visible) for inner in nested)
    return renamed


def _defined(block: Block) -> Iterator[Value]:
    yield from block.inputs
    for op in block:
        yield from op.outputs


def _rename(value: Value, name: str) -> None:
    op = value.op
    if op is not None and value is op.outputs[0] and NAME in op.attributes and op.name == value.name:
        op.set_attribute(NAME, Const.of(name))
    value.rename(name)
