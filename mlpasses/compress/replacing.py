"""A weight in a new form: its ops take the place of the one that yields it."""

from __future__ import annotations

from ir.core import Block, Op
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
    for op in ops[:-1]:
        _free_names(op, block)
        block.insert_before(old, op)
    block.replace(old, ops[-1])
    erase_unused(sources)
    cx.made(*ops, sources=(old,))


def _free_names(op: Op, block: Block) -> None:
    """Renames the outputs of a detached op whose names are taken in a block."""
    for value in op.outputs:
        name, number = value.name, 0
        while block.value_named(value.name) is not None:
            number += 1
            value.rename(f"{name}_{number}")
