"""The opsets: what Core ML calls a generation of ops, and the specification version and systems that came with it."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ir.diagnostics import MLPassesError


@frozen(order=False, repr=False)
class Opset:
    """One opset. Later ones compare greater, by their specification version.

    `spec_version` is the `specificationVersion` of a model that needs it, `key` the name of a block specialization in it, `target` the
    iOS release that runs it.
    """

    spec_version: int
    key: str
    target: str

    # Written out: those that attrs makes build two tuples for each comparison (4 µs), and plans compare opsets for every weight. The op
    # tables are looked up by opset for every op, so the hash is a number that is there already.

    def __hash__(self) -> int:
        return self.spec_version

    def __lt__(self, other: Opset) -> bool:
        return self.spec_version < other.spec_version

    def __le__(self, other: Opset) -> bool:
        return self.spec_version <= other.spec_version

    def __gt__(self, other: Opset) -> bool:
        return self.spec_version > other.spec_version

    def __ge__(self, other: Opset) -> bool:
        return self.spec_version >= other.spec_version

    def __repr__(self) -> str:
        return self.target


IOS15: Final = Opset(6, "CoreML5", "iOS15")
IOS16: Final = Opset(7, "CoreML6", "iOS16")
IOS17: Final = Opset(8, "CoreML7", "iOS17")
IOS18: Final = Opset(9, "CoreML8", "iOS18")
IOS26: Final = Opset(10, "CoreML9", "iOS26")

OPSETS: Final[tuple[Opset, ...]] = (IOS15, IOS16, IOS17, IOS18, IOS26)
_BY_KEY: Final = {o.key: o for o in OPSETS}
_BY_TARGET: Final = {o.target.lower(): o for o in OPSETS}


def opset_of_key(key: str) -> Opset | None:
    """The opset whose specializations are called `key` (`CoreML8`); None for a key that this version does not know."""
    return _BY_KEY.get(key)


def opset_of_target(target: str) -> Opset:
    """The opset of a target as users write it: `iOS18`, in any case.

    Raises:
        MLPassesError: there is no such target.
    """
    found = _BY_TARGET.get(target.lower()) if isinstance(target, str) else None
    if found is None:
        raise MLPassesError(f"there is no target {target!r}; the targets are {', '.join(o.target for o in OPSETS)}")
    return found
