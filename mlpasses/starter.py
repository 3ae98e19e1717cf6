"""A recipe to start from, for one model: what it needs, its op types with weights, and its largest weights as examples in comments."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from typing import Final

from ir.core import Op, Program
from ir.diagnostics import MLPassesError
from ir.opset import Opset, opset_of_key
from mlpasses.candidates import Candidate, candidates, survey
from mlpasses.compress.joint import row_of
from mlpasses.config import Quantize
from mlpasses.context import Context
from mlpasses.findings import plural
from mlpasses.plan import weight_free
from mlpasses.quantities import bytes_text, printable, shape_text
from mlpasses.raising import RaiseOpset
from mlpasses.yamltree import dump_inline

EXAMPLES: Final = 5
"""Weights that are shown as examples."""


def starter_recipe(program: Program, name: str) -> str:
    """The recipe, for the model called `name`: raises the opset where 8-bit weights need it, quantizes by op type, cleans up.

    It loads, and nothing is wrong with it for `program`. No weight is read.
    """
    found = candidates(program, 1)
    lowest = min((each.opset for each in found), default=None)
    compressed = [each.form for each in survey(program) if isinstance(each, Candidate) and each.form is not None]
    joint = [row.since for row in (row_of(form, "quantize") for form in compressed) if row.becomes is not None]
    needs = max((*joint, *(Quantize().needs(each.dtype) for each in found)), default=None)
    target = needs if lowest is not None and needs is not None and lowest < needs else None
    obstacle = ""
    if target is not None:
        raised = weight_free(program)
        try:
            RaiseOpset(target).apply(raised, Context())
            found = candidates(raised, 1)
        except MLPassesError as error:
            obstacle = str(error)
    lines = [*_head(program, found, name), "version: 1", "passes:"]
    if obstacle:
        lines += [f"  # It cannot be raised to {target}, which 8-bit weights need:", *_commented(obstacle)]
    else:
        lines += [*_raising(lowest, target), *_quantizing(found)]
    return "\n".join([*lines, "  - cleanup", ""])


def _head(program: Program, found: Sequence[Candidate], name: str) -> Iterator[str]:
    opsets = ", ".join(f"{function.name} for {opset_of_key(function.opset) or function.opset}" for function in program.all_functions())
    stored = {id(each.tensor): each.nbytes for each in found}
    size = bytes_text(sum(stored.values()))
    yield f"# A recipe for {printable(name)}: {printable(opsets)}; {plural(len(stored), 'weight')}, {size}."
    yield "#   mlpasses plan MODEL RECIPE             shows what it would do"
    yield "#   mlpasses passes quantize-weights       explains the options"
    yield "# Fewer bits, by rules of the same form:"
    yield "#   quantize: {dtype: int4, granularity: per-block}                              from iOS18 on"
    yield "#   palettize: {nbits: 4}, in palettize-weights                                  from iOS16 on"
    yield "#   palettize: {nbits: 4, group_size: 16}, in palettize-weights                  from iOS18 on"


def _raising(lowest: Opset | None, target: Opset | None) -> Iterator[str]:
    if target is not None:
        yield f"  - raise-opset: {target}    # it is written for {lowest}, and 8-bit weights need {target}"
    else:
        yield "  # - raise-opset: iOS18    # newer targets have more schemes, and run on newer systems only"


def _quantizing(found: Sequence[Candidate]) -> Iterator[str]:
    if not found:
        yield "  # - quantize-weights    # it has no weights that could be compressed"
        return
    by_type: dict[str, dict[int, Candidate]] = {}
    for each in found:
        for op_type in _op_types(each):
            by_type.setdefault(op_type, {})[id(each.tensor)] = each
    yield "  - quantize-weights:"
    yield "      rules:"
    examples = _examples(found, {op_type: len(weights) for op_type, weights in by_type.items()})
    if examples:
        yield "        # The first rule that matches decides. By name, the largest weights first (remove the # to make them rules):"
    for index, each in enumerate(examples):
        outcome = 'skip: "the reason"' if index == 0 else "quantize: {mode: asymmetric}"
        facts = f"{each.op_type}, {shape_text(each.shape)}, {bytes_text(each.nbytes)}"
        yield f"        # - {{name: {_name(_exactly(each.name))}, {outcome}}}    # {printable(facts)}"
    yield "        # By the type of op that uses them:"
    sizes = {op_type: sum(each.nbytes for each in weights.values()) for op_type, weights in by_type.items()}
    for op_type in sorted(by_type, key=lambda each: -sizes[each]):
        facts = f"{plural(len(by_type[op_type]), 'weight')}, {bytes_text(sizes[op_type])}"
        yield f"        - {{op_type: {_name(op_type)}, quantize: {{dtype: int8}}}}    # {facts}"


def _examples(found: Sequence[Candidate], left: dict[str, int]) -> list[Candidate]:
    """Weights to name, large ones, each name once; of each op type `left` are as many weights, and one at least is not named, so that the
    rule for them still decides something."""
    named: dict[str, Candidate] = {}
    for each in sorted(found, key=lambda each: -each.nbytes):
        types = _op_types(each)
        if each.name in named or len(named) == EXAMPLES or any(left[op_type] < 2 for op_type in types):
            continue
        named[each.name] = each
        for op_type in types:
            left[op_type] -= 1
    return list(named.values())


def _op_types(candidate: Candidate) -> set[str]:
    """The types of the ops that use a weight."""
    return {use.user.op_type for use in candidate.uses if isinstance(use.user, Op)}


def _exactly(name: str) -> str:
    """The pattern that a name alone matches."""
    escaped = glob.escape(name)
    return f"[{escaped[0]}]{escaped[1:]}" if escaped.startswith("re:") else escaped


def _name(text: str) -> str:
    """Text inside of a mapping on one line."""
    return dump_inline([text])[1:-1]


def _commented(text: str) -> Iterator[str]:
    return (f"  #   {printable(line)}" for line in text.splitlines())
