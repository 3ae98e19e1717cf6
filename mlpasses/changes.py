"""Something that is one thing here and another there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from mlpasses.quantities import printable


@frozen
class Change:
    """Something that is one thing here and another there; None where it is not."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        name = printable(self.name)
        if self.before is None:
            return f"{name}: added, {printable(self.after or '')}"
        if self.after is None:
            return f"{name}: removed, was {printable(self.before)}"
        return f"{name}: {printable(self.before)} → {printable(self.after)}"


def map_changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    """What differs by key, in the order of the first, then of the second."""
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name), after.get(name))


def list_changes(kind: str, before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]) -> Iterator[Change]:
    """What differs between lists of (name, type), `kind` being what they list; where nothing else does, their order."""
    old, new = dict(before), dict(after)
    if old != new:
        yield from (Change(f"{kind} {change.name}", change.before, change.after) for change in map_changes(old, new))
        return
    orders = [", ".join(name for name, _ in listed) for listed in (before, after)]
    if orders[0] != orders[1]:
        yield Change(f"order of {kind}s", orders[0], orders[1])
