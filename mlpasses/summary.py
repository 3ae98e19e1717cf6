"""What a program holds, in short: its interface, its ops by type, its weights by scheme. Plain data, and the same as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from ir.core import Function, Program, Value
from ir.opset import opset_of_key
from ir.types import StateType
from mlpasses.quantities import bytes_text, printable

LONGEST: Final = 100
"""Characters of a metadata value that the text shows; some hold whole configurations."""


def summarize(program: Program) -> dict[str, Any]:
    """The facts as plain data, for JSON. No weight is read.

    A pipeline of models has no functions of its own; its `stages` are summaries of its ML Programs, by their position in it.
    """
    facts: dict[str, Any] = {
        "spec_version": program.spec_version,
        "functions": [_function(function) for function in program.functions.values()],
        "weights": _weights(program),
        "metadata": dict(sorted(program.metadata.items())),
    }
    if program.stages:
        facts["stages"] = {".".join(map(str, position)): summarize(stage) for position, stage in program.stages.items()}
    return facts


def summary_text(facts: dict[str, Any]) -> str:
    """What `summarize` found, as text."""
    return "\n".join(_lines(facts, ""))


def _function(function: Function) -> dict[str, Any]:
    opset = opset_of_key(function.opset)
    counts = Counter(op.op_type for op in function.ops())
    consts = counts.pop("const", 0)
    return {
        "name": function.name,
        "opset": function.opset,
        "target": opset.target if opset is not None else None,
        "specializations": list(function.specializations),
        "inputs": [_value(value) for value in function.inputs if not isinstance(value.type, StateType)],
        "states": [_value(value) for value in function.inputs if isinstance(value.type, StateType)],
        "outputs": [_value(value) for value in function.outputs] if function.opset in function.specializations else [],
        "ops": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "consts": consts,
    }


def _value(value: Value) -> dict[str, str]:
    return {"name": value.name, "type": repr(value.type)}


def _weights(program: Program) -> dict[str, Any]:
    """Each weight once, however many functions share it."""
    schemes: dict[str, dict[str, int]] = {}
    seen: set[tuple[int, ...]] = set()
    for weight in program.weights():
        stored = tuple(map(id, weight.tensors))
        if stored in seen:
            continue
        seen.add(stored)
        entry = schemes.setdefault(weight.scheme, {"count": 0, "bytes": 0})
        entry["count"] += 1
        entry["bytes"] += weight.nbytes
    return {
        "count": sum(entry["count"] for entry in schemes.values()),
        "bytes": sum(entry["bytes"] for entry in schemes.values()),
        "schemes": schemes,
    }


def _lines(facts: dict[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}specification version {facts['spec_version']}"
    for function in facts["functions"]:
        yield from (f"{indent}{line}" for line in _function_lines(function))
    weights = facts["weights"]
    schemes = ", ".join(f"{entry['count']} {scheme} ({bytes_text(entry['bytes'])})" for scheme, entry in weights["schemes"].items())
    yield f"{indent}weights     {weights['count']}, {bytes_text(weights['bytes'])}" + (f": {schemes}" if schemes else "")
    for key, text in facts["metadata"].items():
        short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        yield f"{indent}metadata    {printable(key)}: {printable(short)}"
    for position, stage in facts.get("stages", {}).items():
        yield f"{indent}stage {position}"
        yield from _lines(stage, indent + "  ")


def _function_lines(function: dict[str, Any]) -> Iterator[str]:
    target = function["target"] or "an opset that this version does not know"
    others = [key for key in function["specializations"] if key != function["opset"]]
    yield f"function {function['name']}, {function['opset']} ({target})" + (f"; also for {', '.join(others)}" if others else "")
    for kind in ("inputs", "states", "outputs"):
        for index, value in enumerate(function[kind]):
            yield f"  {kind if index == 0 else '':10}{printable(value['name'])}: {value['type']}"
    ops = ", ".join(f"{count} {op_type}" for op_type, count in function["ops"].items())
    yield f"  ops       {sum(function['ops'].values())}, and {function['consts']} const" + (f": {ops}" if ops else "")
