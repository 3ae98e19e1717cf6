"""`CommonSubexpressions`: what is computed twice is computed once.

    inputs %x: fp16[4]                          inputs %x: fp16[4]
    %a: fp16[4] = exp(x=%x)                     %a: fp16[4] = exp(x=%x)
    %b: fp16[4] = exp(x=%x)               →
    %y: fp16[4] = add(x=%a, y=%b)               %y: fp16[4] = add(x=%a, y=%a)
    return %y                                   return %y

Each op is looked up by what it computes (its type, operands, attributes and result types) among those that are visible where it stands, and
ops are seen before those that use them, so chains of equal ops merge from the top in one go. O(ops + operands).
"""

from __future__ import annotations

from collections.abc import Hashable
from operator import itemgetter
from typing import ClassVar, Final

from attrs import frozen

from ir.core import Function, Op, Value, constant_of
from ir.opset import OPSETS
from ir.specs import spec_of
from mlpasses.cleanup.literals import Literals
from mlpasses.cleanup.scopes import NAME, merge_equal
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.passes import FunctionPass


@frozen
class CommonSubexpressions(FunctionPass):
    """Merges ops that compute the same: of one type, of equal operands and attributes, of the same result types.

    The first one stays, for its own block and for blocks nested behind it. Constants are equal operands if they are equal bit for bit,
    whether they are literals or `const` ops (which themselves are for `DeduplicateConsts`). What a block returns keeps its name; where two
    ops that compute the same are both returned, both stay. Ops whose outcome depends on more than their operands (states, lists, random
    numbers), ops with nested blocks, and ops of types that the op tables do not have, are left alone.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    def run(self, fn: Function, cx: Context) -> int:
        literals = Literals()
        return sum(merge_equal(block, _is_mergeable, _group, lambda op: _key(op, literals), cx) for block in fn.specializations.values())


_first: Final = itemgetter(0)


def _is_mergeable(op_type: str) -> bool:
    """Whether the operands are all that counts of an op."""
    spec = spec_of(op_type, OPSETS[-1])
    return spec is not None and spec.deterministic and op_type != "const"


def _group(op: Op) -> Hashable:
    """The type of an op, and what is likely to tell it from others of that type."""
    x = op.get("x")
    return op.op_type, x if isinstance(x, Value) and constant_of(x) is None else None


def _key(op: Op, literals: Literals) -> Hashable:
    """What an op computes: its type, then each parameter with its operands, the result types, and each attribute with its literal."""
    key: list[Hashable] = [op.op_type]
    for name, held in sorted(op.operands.items(), key=_first):
        key.append(name)
        for operand in held:
            const = constant_of(operand)
            key.append(operand if const is None else id(literals.first(const)))
    key += [value.type for value in op.outputs]
    key += [(name, id(literals.first(value))) for name, value in sorted(op.attributes.items(), key=_first) if name != NAME]
    return tuple(key)
