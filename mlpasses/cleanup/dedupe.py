"""`DeduplicateConsts`: equal constants are one.

    %a: fp16[2] = const([1.0, 2.0])             %a: fp16[2] = const([1.0, 2.0])
    %b: fp16[2] = const([1.0, 2.0])       →
    %y: fp16[2] = add(x=%a, y=%b)               %y: fp16[2] = add(x=%a, y=%a)

Where one `const` cannot stand for both, because they are in different functions, specializations, or blocks that do not see one another,
each keeps its own, and they share one tensor, so that the weight file holds it once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import ClassVar

from attrs import frozen

from ir.const import Const
from ir.core import Op, Program
from ir.mil.placement import goes_to_file, takes_blobs
from ir.substitute import substitute_literals
from ir.tensors import Tensor
from ir.walk import literals as literals_of
from mlpasses.cleanup.literals import Literals, place_of
from mlpasses.cleanup.scopes import NAME, merge_equal
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.passes import ProgramPass


@frozen
class DeduplicateConsts(ProgramPass):
    """Merges equal `const` ops where one is visible to all users, and lets equal weights elsewhere share one blob.

    Equal means bit for bit, in type, shape and docstring: -0 differs from 0, and one NaN from another. Nothing that is merely close is
    merged, and no byte of a weight changes. A constant that a block returns keeps its name. Weights are those tensors that a weight file
    holds, of `const` ops and, as operands or attributes, of constexpr ops; what stands in the program itself stays where it is.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    def run(self, program: Program, cx: Context) -> int:
        literals = Literals()
        blocks = [block for function in program.all_functions() for block in function.specializations.values()]
        merged = sum(merge_equal(block, _is_const, _group, lambda op: _key(op, literals), cx) for block in blocks)
        return merged + _share(program, literals, cx)


def _is_const(op_type: str) -> bool:
    return op_type == "const"


def _group(op: Op) -> Hashable | None:
    """The type of a constant: one that is alone in its type is not looked at."""
    outputs = op.outputs
    return outputs[0].type if len(outputs) == 1 and not op.operands else None


def _key(op: Op, literals: Literals) -> Hashable:
    held = [(name, id(literals.first(value))) for name, value in op.attributes.items() if name != NAME]
    return op.outputs[0].type, tuple(held if len(held) == 1 else sorted(held))


def _share(program: Program, literals: Literals, cx: Context) -> int:
    """Lets equal tensors that weight files hold be one; answers with the number of literals that have another tensor than before."""
    if not _has_doubles(program, literals):
        return 0
    weights: dict[int, Tensor] = {}
    """The first weight of each content, by the identity of the tensor that `literals` has for the content."""
    shared = 0
    for part in program.programs():
        version = part.spec_version

        def substitute(const: Const, version: int = version) -> Const:
            data = const.data
            if isinstance(data, tuple) or not goes_to_file(data, version):
                return const
            weight = weights.setdefault(id(literals.tensor(data)), data)
            return const if place_of(weight) == place_of(data) else Const(const.type, weight, const.doc)

        for op in _holders(part):
            changed = substitute_literals(op, substitute)
            if changed:
                cx.touched[op] = None
                shared += changed
    return shared


def _has_doubles(program: Program, literals: Literals) -> bool:
    """Whether some weight is stored twice. Looking at literals takes a quarter of what it takes to ask each op for substitutes."""
    weights: dict[int, Tensor] = {}
    for part in program.programs():
        for op in _holders(part):
            for const in literals_of(op):
                data = const.data
                if not isinstance(data, tuple) and goes_to_file(data, part.spec_version):
                    first = weights.setdefault(id(literals.tensor(data)), data)
                    if first is not data and place_of(first) != place_of(data):
                        return True
    return False


def _holders(program: Program) -> Iterator[Op]:
    """The ops of a program whose literals weight files hold, stages' apart."""
    for function in program.functions.values():
        for block in function.blocks():
            op_types = [op_type for op_type in block.op_types() if op_type == "const" or takes_blobs(op_type)]
            if op_types:
                yield from block.ops(*op_types)
