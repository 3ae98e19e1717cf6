"""A weight in a new form: its ops take the place of the one that yields it."""

from __future__ import annotations

from ir.core import Block
from ir.substitute import constant_sources, erase_unused
from mlpasses.candidates import Candidate
from mlpasses.context import Context
from mlpasses.forms.emission import ops_of
from mlpasses.forms.form import Form


def replace_weight(candidate: Candidate, form: Form, cx: Context) -> None:
    """Puts the ops of a form in the place of a const or constexpr op; what only that used goes."""
    old = candidate.op
    block = old.block
    assert block is not None  # it was found in one
    ops = ops_of(form, old, candidate.opset)
    sources = constant_sources(old)
    names = {value: value.name for op in ops[:-1] for value in op.outputs}
    for op in ops[:-1]:
        for value in op.outputs:
            value.rename(_free_name(value.name, block))
        block.insert_before(old, op)
    block.replace(old, ops[-1])
    erase_unused(sources)
    for value, name in names.items():  # which may have been that of an op of the old form
        if block.value_named(name) is None:
            value.rename(name)
    cx.made(*ops, sources=(old,))


def _free_name(name: str, block: Block) -> str:
    """The name, or one made of it that nothing in a block has."""
    free, number = name, 0
    while block.value_named(free) is not None:
        number += 1
        free = f"{name}_{number}"
    return free
