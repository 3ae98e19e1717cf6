"""What a program holds, in short: its interface, its ops by type, its weights by scheme. Plain data, and the same as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ir.core import Function, Program, Value
from ir.mil.description import Description, Feature, Interface, read_description
from ir.opset import opset_of_key
from ir.types import StateType
from mlpasses.quantities import bytes_text, printable

LONGEST: Final = 100
"""Characters of a metadata value that the text shows; some hold whole configurations."""
LONGEST_FEATURE: Final = 200
"""Characters of a feature that the text shows; some list dozens of shapes."""


MOST_SCHEMES: Final = 6
"""Forms of weights that the text lists; JSON has all."""


def summarize(program: Program) -> dict[str, Any]:
    """The facts as plain data, for JSON. No weight is read.

    Values have a `type`, which the function gives them, and a `text`, which goes on with what the model's description adds to it.
    A pipeline of models has no functions of its own: it has an `interface`, and its `stages` are summaries of its ML Programs, by their
    position in it.
    """
    return _summary(program, read_description(program.document) or Description())


def _summary(program: Program, description: Description) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "spec_version": program.spec_version,
        "about": dict(description.about),
        "default_function": description.default_function or None,
        "functions": [_function(function, description.interface_of(function.name)) for function in program.functions.values()],
        "weights": _weights(program),
        "metadata": dict(sorted(program.metadata.items())),
    }
    if program.stages:
        facts["interface"] = _interface(description.interface)
        facts["stages"] = {
            ".".join(map(str, position)): _summary(stage, description.stages.get(position, Description()))
            for position, stage in program.stages.items()
        }
    return facts


def summary_text(facts: dict[str, Any]) -> str:
    """What `summarize` found, as text."""
    return "\n".join(_lines(facts, ""))


def _interface(interface: Interface) -> dict[str, Any]:
    """Of a model without functions: all there is to tell is what its description says."""
    return {
        kind: [{"name": feature.name, "type": feature.type, "text": feature.text} for feature in features]
        for kind, features in (("inputs", interface.inputs), ("states", interface.states), ("outputs", interface.outputs))
    } | _predicted(interface)


def _predicted(interface: Interface) -> dict[str, Any]:
    return {
        "predicted_feature": interface.predicted_feature or None,
        "predicted_probabilities": interface.predicted_probabilities or None,
    }


def _function(function: Function, interface: Interface) -> dict[str, Any]:
    opset = opset_of_key(function.opset)
    counts = Counter(op.op_type for op in function.ops())
    consts = counts.pop("const", 0)
    return {
        "name": function.name,
        "opset": function.opset,
        "target": opset.target if opset is not None else None,
        "specializations": list(function.specializations),
        "inputs": _values((value for value in function.inputs if not isinstance(value.type, StateType)), interface.inputs),
        "states": _values((value for value in function.inputs if isinstance(value.type, StateType)), interface.states),
        "outputs": _values(function.outputs if function.opset in function.specializations else (), interface.outputs),
        **_predicted(interface),
        "ops": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "consts": consts,
    }


def _values(values: Iterable[Value], features: Iterable[Feature]) -> list[dict[str, Any]]:
    described = {feature.name: feature for feature in features}
    return [_value(value.name, repr(value.type), described.get(value.name)) for value in values]


def _value(name: str, mil_type: str, feature: Feature | None) -> dict[str, Any]:
    return {"name": name, "type": mil_type, "text": mil_type if feature is None else feature.text_beside(mil_type)}


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
    yield from (f"{indent}{line}" for line in _feature_lines(facts.get("interface", {})))
    if facts["default_function"] is not None:
        yield f"{indent}default function {printable(facts['default_function'])}"
    for function in facts["functions"]:
        yield from (f"{indent}{line}" for line in _function_lines(function))
    weights = facts["weights"]
    schemes = "; ".join(_schemes(weights["schemes"]))
    yield f"{indent}weights     {weights['count']}, {bytes_text(weights['bytes'])}" + (f": {schemes}" if schemes else "")
    for title in ("about", "metadata"):
        yield from (f"{indent}{title:12}{printable(key)}: {_cut(text, LONGEST)}" for key, text in facts[title].items())
    for position, stage in facts.get("stages", {}).items():
        yield f"{indent}stage {position}"
        yield from _lines(stage, indent + "  ")


def _schemes(schemes: dict[str, dict[str, int]]) -> Iterator[str]:
    """The schemes that take most, and the rest in a word: of sparse weights each may have a share of zeros of its own."""
    by_size = sorted(schemes.items(), key=lambda item: -item[1]["bytes"])
    yield from (f"{entry['count']} {scheme} ({bytes_text(entry['bytes'])})" for scheme, entry in by_size[:MOST_SCHEMES])
    rest = [entry for _, entry in by_size[MOST_SCHEMES:]]
    if rest:
        yield f"{sum(entry['count'] for entry in rest)} in {len(rest)} other forms ({bytes_text(sum(entry['bytes'] for entry in rest))})"


def _function_lines(function: dict[str, Any]) -> Iterator[str]:
    target = function["target"] or "an opset that this version does not know"
    others = [key for key in function["specializations"] if key != function["opset"]]
    yield f"function {function['name']}, {function['opset']} ({target})" + (f"; also for {', '.join(others)}" if others else "")
    yield from _feature_lines(function)
    ops = ", ".join(f"{count:,} {op_type}" for op_type, count in function["ops"].items())
    yield f"  ops       {sum(function['ops'].values()):,}, and {function['consts']:,} const" + (f": {ops}" if ops else "")


def _feature_lines(interface: dict[str, Any]) -> Iterator[str]:
    for kind in ("inputs", "states", "outputs"):
        for index, value in enumerate(interface.get(kind, ())):
            yield f"  {kind if index == 0 else '':10}{printable(value['name'])}: {_cut(value['text'], LONGEST_FEATURE)}"
    for title, key in (("predicts", "predicted_feature"), ("by", "predicted_probabilities")):
        if interface.get(key) is not None:
            yield f"  {title:10}{printable(interface[key])}"


def _cut(text: str, longest: int) -> str:
    return printable(text if len(text) <= longest else f"{text[:longest]}…")
