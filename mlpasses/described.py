"""In what the descriptions of two models differ, in the words of `ir.mil.description`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from attrs import evolve, frozen

from ir.core import Program
from ir.mil.description import Description, Feature, Interface
from mlpasses.changes import Change, list_changes, map_changes


@frozen
class DescriptionDiff:
    """In what the descriptions of two models differ, those of a stage in a pipeline with the stage before every name."""

    about: tuple[Change, ...]
    interface: tuple[Change, ...] = ()
    otherwise: tuple[str, ...] = ()


def description_diffs(
    a: Program | None,
    b: Program | None,
    before: Description | None,
    after: Description | None,
    told: Collection[tuple[str, Change]],
    stage: str = "",
) -> Iterator[DescriptionDiff]:
    """The difference of two models, then of the models in them. A program that was built has no description: it says nothing of itself.

    `told` is what is known of functions, by their names with the stage: the very same is not said again. Functions that only one has
    are not gone into. Bytes that differ are told only where no words are.
    """
    abouts = map_changes(before.about if before else {}, after.about if after else {})
    about = tuple(evolve(change, name=f"{stage}{change.name}") for change in abouts)
    if before is None or after is None:
        yield DescriptionDiff(about)
        return
    changes = list(_changes(a, b, before, after))
    said = bool(about or changes or _functions(a) ^ _functions(b))
    otherwise = []
    if before.digest != after.digest and not said:
        otherwise.append(f"{stage}the description differs otherwise")
    if before.surroundings != after.surroundings:
        otherwise.append(f"{stage}the model differs beside its program and description")
    several = max(len(_functions(a)), len(_functions(b))) > 1
    interface = [
        evolve(change, name=f"{stage}{function}: {change.name}" if function and several else f"{stage}{change.name}")
        for function, change in changes
        if (f"{stage}{function}", change) not in told
    ]
    yield DescriptionDiff(about, tuple(interface), tuple(otherwise))
    for position in sorted(before.stages.keys() & after.stages.keys()):
        inner = [None if program is None else program.stages.get(position) for program in (a, b)]
        label = f"{stage}{_stage(position)}: "
        yield from description_diffs(inner[0], inner[1], before.stages[position], after.stages[position], told, label)


def _changes(a: Program | None, b: Program | None, before: Description, after: Description) -> Iterator[tuple[str, Change]]:
    """With the function of each, which is empty for what is the model's."""
    old, new = _interfaces(before, a), _interfaces(after, b)
    lone = _functions(a) ^ _functions(b)
    for function in dict.fromkeys((*old, *new)):
        if function not in lone:
            for change in _interface_changes(old.get(function, Interface()), new.get(function, Interface())):
                yield function, change
    if before.default_function != after.default_function:
        yield "", Change("default function", before.default_function or None, after.default_function or None)
    for position in sorted(before.stages.keys() ^ after.stages.keys()):
        yield "", Change(_stage(position), *("a model" if position in each.stages else None for each in (before, after)))


def _stage(position: tuple[int, ...]) -> str:
    return f"stage {'.'.join(map(str, position))}"


def _functions(program: Program | None) -> set[str]:
    return set() if program is None else set(program.functions)


def _interfaces(description: Description, program: Program | None) -> Mapping[str, Interface]:
    """By function; that of the model by an empty name, unless it is that of the only function."""
    functions = _functions(program)
    if description.functions or len(functions) != 1:
        return {"": description.interface, **description.functions}
    return {functions.pop(): description.interface}


def _interface_changes(a: Interface, b: Interface) -> Iterator[Change]:
    yield from list_changes("input", _texts(a.inputs), _texts(b.inputs))
    yield from list_changes("state", _texts(a.states), _texts(b.states))
    yield from list_changes("output", _texts(a.outputs), _texts(b.outputs))
    yield from list_changes("training input", _texts(a.training_inputs), _texts(b.training_inputs))
    yield from map_changes(_predicted(a), _predicted(b))


def _texts(features: tuple[Feature, ...]) -> list[tuple[str, str]]:
    return [(feature.name, feature.text) for feature in features]


def _predicted(interface: Interface) -> dict[str, str]:
    named = {"predicted feature": interface.predicted_feature, "predicted probabilities": interface.predicted_probabilities}
    return {name: text for name, text in named.items() if text}
