"""`RaiseOpset`: a program of a later opset that means the same."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from ir.core import Function, Op, Program
from ir.opset import OPSETS, Opset, opset_of_key, opset_of_target
from ir.specs import Change, changes, first_opset, spec_of
from ir.walk import walk
from mlpasses.context import Context
from mlpasses.contract import Preserved
from mlpasses.errors import ConfigError
from mlpasses.passes import ProgramPass
from mlpasses.raising.defaults import write_defaults
from mlpasses.raising.function import InexpressibleError, Raising
from mlpasses.raising.rewrites import REPLACED, REWRITES, Replaced
from mlpasses.raising.tensors import Reheaded


def _as_opset(target: Opset | str) -> Opset:
    return target if isinstance(target, Opset) else opset_of_target(target)


@frozen
class RaiseOpset(ProgramPass):
    """Raises every function to the opset of `target`, and rewrites the ops whose definition changed on the way.

        main<CoreML6>(%x: fp16[8], %i: int32[2])      →  main<CoreML7>(%x: fp16[8], %i: int32[2])
          %y: fp16[2] = gather(x=%x, indices=%i,           %c: bool[2] = greater_equal(x=%i, y=0)
                               axis=0, batch_dims=0)       %a: int32[2] = add(x=%i, y=8)
                                                           %s: int32[2] = select(cond=%c, a=%i, b=%a)
                                                           %y: fp16[2] = gather(x=%x, indices=%s, axis=0, batch_dims=0,
                                                                                validate_indices=false)

    Which ops those are is for the op tables to say (`ir.specs.changes`); what is done about each is in `REWRITES`. New parameters that have
    a default are written out: coremltools' loader fills gaps, and the runtime may not. Weights are neither read nor copied, but for the
    iOS16 constexpr ops, whose tensors get another type or shape over the same bytes.

    Functions that are at the target, or above it, stay as they are. Specializations other than the active one are dropped, with a note.

    Raises:
        MLPassesError: `target` names no opset.
        ConfigError: a function has an opset that this version does not know, or an op cannot be expressed in the new one. All such ops
            are named together.
    """

    preserves: ClassVar[frozenset[Preserved]] = frozenset({Preserved.INTERFACE, Preserved.MEANING})

    target: Opset = field(converter=_as_opset)
    """The opset to raise to: `IOS18`, or its name as users write it, `"iOS18"`."""

    def run(self, program: Program, cx: Context) -> int:
        raisings: list[Raising] = []
        reheaded = Reheaded()
        for function in program.all_functions():
            old = _opset_of(function)
            if old < self.target:
                raisings.append(Raising(function, old, self.target, cx, reheaded))
            elif old > self.target:
                cx.note(f"function {function.name}", f"it is at {old}, and an opset is never lowered, not to {self.target} either")
        count = sum(_raise_function(raising) for raising in raisings)
        problems = [problem for raising in raisings for problem in raising.problems]
        if problems:
            raise ConfigError(f"the program cannot be raised to {self.target}:\n" + "\n".join(f"- {problem}" for problem in problems))
        return count + sum(self._raise_version(part) for part in program.programs())

    def _raise_version(self, part: Program) -> int:
        if part.spec_version >= self.target.spec_version:
            return 0
        part.spec_version = self.target.spec_version
        return 1


def _opset_of(function: Function) -> Opset:
    opset = opset_of_key(function.opset)
    if opset is None:
        known = ", ".join(f"{o.key} ({o})" for o in OPSETS)
        raise ConfigError(f"function {function.name} has the opset {function.opset}, which mlpasses does not know; it knows {known}")
    if function.opset not in function.specializations:
        raise ConfigError(f"function {function.name} has the opset {function.opset}, and no block for it")
    return opset


def _raise_function(raising: Raising) -> int:
    """Raises one function; answers with the number of changes, its own opset counted as one."""
    function, cx = raising.function, raising.cx
    for key in [key for key in function.specializations if key != function.opset]:
        function.drop_block(key)
        cx.note(f"function {function.name}", f"dropped its specialization for {key}, which is not the active one")
    function.set_opset(raising.new.key)
    asked: dict[str, tuple[list[Change], Replaced | None] | None] = {}
    for op in list(walk(function)):  # a list: the ops that the rewrites make are of the new opset already
        op_type = op.op_type
        if op_type not in asked:
            found = changes(op_type, raising.old, raising.new), _replaced(raising, op_type)
            asked[op_type] = found if any(found) else None
            if first_opset(op_type) is None:
                cx.note(f"function {function.name}", f"nothing is known of {op_type} in any opset: it was carried over as it is")
        due = asked[op_type]
        if due is not None and op.block is not None:
            _raise_op(raising, op, *due)
    return sum(op.block is not None for op in raising.changed) + 1


def _replaced(raising: Raising, op_type: str) -> Replaced | None:
    found = REPLACED.get(op_type)
    return found if found is not None and raising.old < found.since <= raising.new else None


def _raise_op(raising: Raising, op: Op, changed: list[Change], replaced: Replaced | None) -> None:
    with raising.problems_of(op):
        _check_outputs(raising, op)
        for change in changed:
            if change.meaning is not None:
                op = REWRITES[change.meaning](raising, op)
            write_defaults(raising, op, change)
        if replaced is not None:
            replaced.rewrite(raising, op)


def _check_outputs(raising: Raising, op: Op) -> None:
    spec = spec_of(op.op_type, raising.old)
    if spec is not None and spec.outputs not in (None, len(op.outputs)):
        raise InexpressibleError(f"it has {len(op.outputs)} outputs, and {spec.outputs} by its definition")
