"""In what two programs differ, as people ask: interface, opset, ops by type, weights, metadata.

    spec_version: 6 → 9
    main
      opset: CoreML5 → CoreML8
      ops: const 38 → 31, constexpr_blockwise_shift_scale 0 → 7
      weights: 7 changed, 1.9 MB → 0.96 MB
        conv1_weight: dense fp16 → int8 per-channel, 1.2 KB → 0.7 KB

Weights are matched by place and name, and those that are left by the ops that use them. Whatever this does not speak of, the wiring of ops
above all, is told by its first difference (`ir.compare`). What the models say of themselves is compared too, where both programs were
loaded: features in the words of `ir.mil.description`, the rest by bytes. Other files of a package are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

from ir.compare import Comparison, first_difference
from ir.core import Function, Op, Program, Value
from ir.diagnostics import EvaluationError
from ir.mil.description import read_description
from ir.tensors import same_tensor
from ir.types import StateType
from ir.weights import Weight
from mlpasses.changes import Change, list_changes, map_changes
from mlpasses.described import description_diffs
from mlpasses.quantities import bytes_text, printable

LINES: Final = 60
"""Weights that are shown of each function."""

State: TypeAlias = Literal["added", "removed", "changed"]


@frozen
class Form:
    """How a weight is stored."""

    scheme: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@frozen
class WeightChange:
    """A weight that differs. `before` is None where it is new, `after` where it is gone.

    Where the two are equal, its numbers differ, or only its name does: `renamed` is the new one.
    """

    where: str
    name: str
    before: Form | None
    after: Form | None
    renamed: str | None = None
    other_values: bool = False

    def __str__(self) -> str:
        place = "" if "/" not in self.where and "<" not in self.where else f"{self.where}: "
        name = f"{place}{self.name}" if self.renamed is None else f"{place}{self.name} → {self.renamed}"
        return f"{printable(name)}: {self._what()}"

    def _what(self) -> str:
        before, after = self.before, self.after
        if before is None or after is None:
            form, word = (after, "added") if after is not None else (before, "removed")
            assert form is not None
            return f"{word}, {form.scheme}, {_shape(form)}, {bytes_text(form.nbytes)}"
        if before == after:
            return f"{'other' if self.other_values else 'the same'} values, {after.scheme}, {bytes_text(after.nbytes)}"
        parts = []
        if before.scheme != after.scheme:
            parts.append(f"{before.scheme} → {after.scheme}")
        if before.dtype != after.dtype:
            parts.append(f"{before.dtype} → {after.dtype}")
        if before.shape != after.shape:
            parts.append(f"{_shape(before)} → {_shape(after)}")
        if before.nbytes != after.nbytes:
            parts.append(f"{bytes_text(before.nbytes)} → {bytes_text(after.nbytes)}")
        return ", ".join(parts)


@frozen
class FunctionDiff:
    """What differs in a function; `name` has the stage before it in a pipeline of models. Ops and weights are of all its blocks."""

    name: str
    state: State
    opset: Change | None = None
    interface: tuple[Change, ...] = ()
    ops: Mapping[str, tuple[int, int]] = {}
    """How many ops of a type there were and are, by type, where that differs."""
    weights: tuple[WeightChange, ...] = ()

    def __bool__(self) -> bool:
        return self.state != "changed" or bool(self.opset or self.interface or self.ops or self.weights)


@frozen
class ProgramDiff:
    """In what two programs differ; falsy where they do not. `str` gives the text, `as_dict` the data."""

    program: tuple[Change, ...]
    """Specification version, attributes, stages."""
    about: tuple[Change, ...]
    """Description, author, license, version."""
    interface: tuple[Change, ...]
    """What the descriptions say of features where the functions do not say the very same: images, ranges of sizes, predicted features."""
    metadata: tuple[Change, ...]
    functions: tuple[FunctionDiff, ...]
    first: str | None
    """Where the programs first differ in structure, and how; None where they are the same."""
    otherwise: tuple[str, ...] = ()
    """Sentences: models that differ beside their programs in what there are no words for. Told where there are no others."""

    def __bool__(self) -> bool:
        return bool(self.program or self.about or self.interface or self.metadata or self.functions or self.first or self.otherwise)

    def __str__(self) -> str:
        return "\n".join(self._lines()) if self else "no differences"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return {
            "same": not self,
            "program": [_change(change) for change in self.program],
            "about": [_change(change) for change in self.about],
            "interface": [_change(change) for change in self.interface],
            "metadata": [_change(change) for change in self.metadata],
            "functions": [_function(function) for function in self.functions],
            "first_difference": self.first,
            "otherwise": list(self.otherwise),
        }

    def _lines(self) -> Iterator[str]:
        yield from map(str, self.program)
        for function in self.functions:
            yield from _function_lines(function)
        for title, changes in (("interface", self.interface), ("about", self.about), ("metadata", self.metadata)):
            if changes:
                yield title
                yield from (f"  {change}" for change in changes)
        yield from self.otherwise
        if self.first is not None and not self.functions:
            yield f"first difference: {printable(self.first)}"


def diff(a: Program, b: Program) -> ProgramDiff:
    """In what `b` differs from `a`. Reads the weights whose form is the same, to compare their values.

    Raises:
        EvaluationError: a constexpr op depends on itself.
    """
    before, after = dict(_functions(a)), dict(_functions(b))
    weights_before, weights_after = _weights_of(a, before), _weights_of(b, after)
    functions = []
    for name in dict.fromkeys((*before, *after)):
        found = _function_diff(name, before.get(name), after.get(name), weights_before.get(name, {}), weights_after.get(name, {}))
        if found:
            functions.append(found)
    first = first_difference(a, b, Comparison(labels=False))
    told = {(function.name, change) for function in functions for change in function.interface}
    described = list(description_diffs(a, b, read_description(a.document), read_description(b.document), told))
    return ProgramDiff(
        program=tuple(_program_changes(a, b)),
        about=tuple(change for each in described for change in each.about),
        interface=tuple(change for each in described for change in each.interface),
        metadata=tuple(map_changes(dict(sorted(a.metadata.items())), dict(sorted(b.metadata.items())))),
        functions=tuple(functions),
        first=None if first is None else str(first),
        otherwise=tuple(sentence for each in described for sentence in each.otherwise),
    )


_Key: TypeAlias = tuple[str, str, int]
_Weights: TypeAlias = dict[_Key, Weight]


def _functions(program: Program, prefix: str = "") -> Iterator[tuple[str, Function]]:
    for name, function in program.functions.items():
        yield f"{prefix}{name}", function
    for position, stage in program.stages.items():
        yield from _functions(stage, f"{prefix}stage {'.'.join(map(str, position))}: ")


def _weights_of(program: Program, functions: Mapping[str, Function]) -> dict[str, _Weights]:
    """The weights by function, then by place and name. The active specialization of a function needs no opset in its place."""
    found: dict[str, _Weights] = {}
    for weight in program.weights():
        outermost, slash, path = weight.where.partition("/")
        name = outermost.partition("<")[0]
        place = f"{outermost.removesuffix(f'<{functions[name].opset}>')}{slash}{path}"
        held = found.setdefault(name, {})
        number = 0
        while (place, weight.name, number) in held:
            number += 1
        held[(place, weight.name, number)] = weight
    return found


def _program_changes(a: Program, b: Program) -> Iterator[Change]:
    if a.spec_version != b.spec_version:
        yield Change("spec_version", str(a.spec_version), str(b.spec_version))
    attributes = [{name: repr(value) for name, value in program.attributes.items()} for program in (a, b)]
    yield from map_changes(*attributes)


def _function_diff(name: str, a: Function | None, b: Function | None, weights_a: _Weights, weights_b: _Weights) -> FunctionDiff:
    state: State = "added" if a is None else "removed" if b is None else "changed"
    ops_a, ops_b = _op_counts(a), _op_counts(b)
    return FunctionDiff(
        name,
        state,
        opset=Change("opset", a.opset, b.opset) if a is not None and b is not None and a.opset != b.opset else None,
        interface=tuple(_interface_changes(a, b)) if a is not None and b is not None else (),
        ops={op_type: (ops_a[op_type], ops_b[op_type]) for op_type in sorted({*ops_a, *ops_b}) if ops_a[op_type] != ops_b[op_type]},
        weights=tuple(_weight_changes(weights_a, weights_b)),
    )


def _op_counts(function: Function | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for block in () if function is None else function.blocks():
        counts.update(block.op_types())
    return counts


def _interface_changes(a: Function, b: Function) -> Iterator[Change]:
    for kind, stateful in (("input", False), ("state", True)):
        both = [[value for value in function.inputs if isinstance(value.type, StateType) is stateful] for function in (a, b)]
        yield from list_changes(kind, *map(_typed, both))
    yield from list_changes("output", _typed(a.outputs), _typed(b.outputs))
    specializations = [", ".join(sorted(key for key in function.specializations if key != function.opset)) for function in (a, b)]
    if specializations[0] != specializations[1]:
        yield Change("other specializations", specializations[0] or None, specializations[1] or None)


def _typed(values: Iterable[Value]) -> list[tuple[str, str]]:
    return [(value.name, repr(value.type)) for value in values]


def _weight_changes(before: _Weights, after: _Weights) -> Iterator[WeightChange]:
    renamed = _renamed(before, after)
    taken = set(renamed.values())
    for key, old in before.items():
        new_key = renamed.get(key, key)
        new = after.get(new_key)
        change = _weight_change(key, old, new, None if new_key == key else new_key[1])
        if change is not None:
            yield change
    for key, new in after.items():
        if key not in before and key not in taken:
            yield WeightChange(key[0], key[1], None, _form(new))


def _renamed(before: _Weights, after: _Weights) -> dict[_Key, _Key]:
    """Which new weight has the place of an old one that is gone by its name: the one that the same op uses for the same parameter."""
    by_use: dict[tuple[str, str, str, int], _Key] = {}
    for key, weight in after.items():
        if key not in before:
            for use in _uses(key, weight):
                by_use.setdefault(use, key)
    found: dict[_Key, _Key] = {}
    taken: set[_Key] = set()
    for key, weight in before.items():
        if key not in after:
            match = next((by_use[use] for use in _uses(key, weight) if use in by_use), None)
            if match is not None and match not in taken:
                taken.add(match)
                found[key] = match
    return found


def _uses(key: _Key, weight: Weight) -> Iterator[tuple[str, str, str, int]]:
    for use in weight.consumers:
        assert isinstance(use.user, Op)
        yield key[0], use.user.name, use.parameter, use.position


def _weight_change(key: _Key, old: Weight, new: Weight | None, renamed: str | None) -> WeightChange | None:
    before, after = _form(old), None if new is None else _form(new)
    other = new is not None and before == after and not _same_values(old, new)
    if before == after and renamed is None and not other:
        return None
    return WeightChange(key[0], key[1], before, after, renamed, other)


def _form(weight: Weight) -> Form:
    return Form(weight.scheme, weight.dtype.name, weight.shape, weight.nbytes)


def _same_values(a: Weight, b: Weight) -> bool:
    """Whether two weights of one form hold the same: the same tensors, or tensors that mean the same."""
    if len(a.tensors) == len(b.tensors) and all(map(same_tensor, a.tensors, b.tensors)):
        return True
    try:
        return same_tensor(a.tensor(), b.tensor())
    except EvaluationError:  # what cannot be evaluated differs, unless it is the same
        return False


def _shape(form: Form) -> str:
    return f"{form.dtype}[{', '.join(map(str, form.shape))}]"


def _function_lines(function: FunctionDiff) -> Iterator[str]:
    yield function.name if function.state == "changed" else f"{function.name}: {function.state}"
    if function.opset is not None:
        yield f"  {function.opset}"
    yield from (f"  {change}" for change in function.interface)
    if function.ops:
        yield f"  ops: {', '.join(f'{op_type} {before} → {after}' for op_type, (before, after) in function.ops.items())}"
    if function.weights:
        before, after = (sum(form.nbytes for form in forms if form is not None) for forms in _forms(function.weights))
        yield f"  weights: {len(function.weights)} changed, {bytes_text(before)} → {bytes_text(after)}"
        yield from (f"    {change}" for change in function.weights[:LINES])
        if len(function.weights) > LINES:
            yield f"    … and {len(function.weights) - LINES} more"


def _forms(weights: Sequence[WeightChange]) -> tuple[list[Form | None], list[Form | None]]:
    return [change.before for change in weights], [change.after for change in weights]


def _change(change: Change) -> dict[str, Any]:
    return {"name": change.name, "before": change.before, "after": change.after}


def _function(function: FunctionDiff) -> dict[str, Any]:
    return {
        "name": function.name,
        "state": function.state,
        "opset": None if function.opset is None else _change(function.opset),
        "interface": [_change(change) for change in function.interface],
        "ops": {op_type: {"before": before, "after": after} for op_type, (before, after) in function.ops.items()},
        "weights": [
            {
                "where": change.where,
                "name": change.name,
                "renamed": change.renamed,
                "before": _form_dict(change.before),
                "after": _form_dict(change.after),
                "other_values": change.other_values,
            }
            for change in function.weights
        ],
    }


def _form_dict(form: Form | None) -> dict[str, Any] | None:
    if form is None:
        return None
    return {"scheme": form.scheme, "dtype": form.dtype, "shape": list(form.shape), "bytes": form.nbytes}
