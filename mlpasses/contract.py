"""What a pass declares: which opset it needs, and what it leaves as it was; and whether it kept to that.

Declarations are class variables of `Pass`, so they are known before anything runs. Names and types of the interface and opsets are compared
around every pass of a run, which costs a look at each function; that the meaning stays is for tests to show.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from attrs import frozen

from ir.core import Block, Function, Program
from ir.opset import Opset, opset_of_key
from ir.types import Type
from ir.verify.structure import IDENTIFIER


class Preserved(enum.Enum):
    """Something that a pass leaves as it was."""

    INTERFACE = "interface"
    """Which functions there are, and the names, types and order of what they take and return. Compared after every pass of a run.

    A name that is no identifier may become one: no file can hold it."""
    OPSET = "opset"
    """The opsets that functions are written for. Compared after every pass of a run."""
    MEANING = "meaning"
    """What functions compute, to the last bit, as `mlpasses.runtime` evaluates them. Tests compare it."""


EVERYTHING: Final = frozenset(Preserved)

Named: TypeAlias = "tuple[tuple[str, Type], ...]"


@frozen
class Signature:
    """What is to be seen of a function from outside, and the opsets that it is written for."""

    inputs: Named
    opset: str
    outputs: Mapping[str, Named]
    """What each specialization returns, by its opset key."""

    @classmethod
    def of(cls, function: Function) -> Signature:
        inputs = tuple([(value.name, value.type) for value in function.inputs])
        return cls(inputs, function.opset, {key: _returned(block) for key, block in function.specializations.items()})


Signatures: TypeAlias = "Mapping[str, Signature]"


def signatures(program: Program) -> dict[str, Signature]:
    """The signature of every function of a program and of its stages, by name with the stage before it. O(functions)."""
    return {where: Signature.of(function) for where, function in placed_functions(program)}


def broken(before: Signatures, after: Signatures, preserved: frozenset[Preserved]) -> list[str]:
    """What was to stay and did not: half sentences, `output %y of function main was …`."""
    found: list[str] = []
    if Preserved.INTERFACE in preserved:
        found += [f"function {where} is gone" for where in before if where not in after]
        found += [f"function {where} is new" for where in after if where not in before]
    for where in before:
        if where not in after or before[where] == after[where]:
            continue
        if Preserved.INTERFACE in preserved:
            found += _interface_changes(where, before[where], after[where])
        if Preserved.OPSET in preserved:
            found += _opset_changes(where, before[where], after[where])
    return found


def raised_first(opset: Opset, pass_name: str) -> str:
    """What to do about a function that is too old for a pass, in Python and in a recipe."""
    return f'put RaiseOpset("{opset}") before {pass_name} ("raise-opset: {opset}" in a recipe)'


def lacking(program: Program, needed: Opset | None, pass_name: str) -> list[str]:
    """The functions and specializations that are written for an older opset than a pass needs: sentences, with the way out."""
    if needed is None:
        return []
    found: list[str] = []
    for where, function in placed_functions(program):
        for key in function.specializations:
            opset = opset_of_key(key)
            if opset is not None and opset < needed:
                written = f"is written for {opset}" if key == function.opset else f"has a specialization for {opset}"
                found.append(f"function {where} {written}, and {pass_name} needs {needed}: {raised_first(needed, pass_name)}")
    return found


def placed_functions(program: Program, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function of a program and of its stages, by name with the stage before it."""
    for name, function in program.functions.items():
        yield prefix + name, function
    for position, stage in program.stages.items():
        yield from placed_functions(stage, f"{prefix}stage {'.'.join(map(str, position))}: ")


def _returned(block: Block) -> Named:
    return tuple([(value.name, value.type) for value in block.outputs])


def _interface_changes(where: str, before: Signature, after: Signature) -> Iterator[str]:
    yield from _differences("input", where, before.inputs, after.inputs)
    old, new = before.outputs.get(before.opset), after.outputs.get(after.opset)
    if old is not None and new is not None:
        yield from _differences("output", where, old, new)
    for key in before.outputs.keys() & after.outputs.keys() - {before.opset, after.opset}:
        yield from _differences("output", f"{where}<{key}>", before.outputs[key], after.outputs[key])


def _differences(kind: str, where: str, before: Named, after: Named) -> Iterator[str]:
    if len(before) != len(after):
        yield f"function {where} had {len(before)} {kind}s, and has {len(after)}"
        return
    for (old_name, old_type), (name, type_) in zip(before, after, strict=True):
        renamed = name != old_name and IDENTIFIER.fullmatch(old_name) is not None
        if renamed or old_type is not type_:
            yield f"{kind} %{old_name}: {old_type} of function {where} is %{name}: {type_} now"


def _opset_changes(where: str, before: Signature, after: Signature) -> Iterator[str]:
    if (before.opset, before.outputs.keys()) != (after.opset, after.outputs.keys()):
        yield f"function {where} was written for {_opsets(before)}, and is for {_opsets(after)}"


def _opsets(signature: Signature) -> str:
    keys = [signature.opset, *(key for key in signature.outputs if key != signature.opset)]
    return " and ".join(str(opset_of_key(key) or key) for key in keys)
