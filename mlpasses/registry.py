"""The passes by their text names: the built-in ones, and those that installed packages bring.

A package brings a pass through an entry point, named as the pass is, in the group `mlpasses.passes`:

    [project.entry-points."mlpasses.passes"]
    drop-noop-casts = "my_package.casts:DropNoopCasts"

Names map to classes. Nothing is imported before a class is asked for, and a package that is broken breaks only its own passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Final

from attrs import field, frozen

from mlpasses.errors import ConfigError
from mlpasses.passes import Pass

GROUP: Final = "mlpasses.passes"
"""The group of entry points."""

BUILT_IN: Final[Mapping[str, str]] = {
    "raise-opset": "mlpasses.raising:RaiseOpset",
    "fuse-joint": "mlpasses.compress.fuse_joint:FuseJoint",
    "palettize-weights": "mlpasses.compress.palettize:PalettizeWeights",
    "prune-weights": "mlpasses.compress.prune:PruneWeights",
    "quantize-luts": "mlpasses.compress.quantize_luts:QuantizeLuts",
    "quantize-weights": "mlpasses.compress.quantize:QuantizeWeights",
    "decompress-weights": "mlpasses.compress.decompress:DecompressWeights",
    "cleanup": "mlpasses.cleanup.cleanup:Cleanup",
    "common-subexpressions": "mlpasses.cleanup.cse:CommonSubexpressions",
    "dead-code": "mlpasses.cleanup.dce:DeadCode",
    "deduplicate-consts": "mlpasses.cleanup.dedupe:DeduplicateConsts",
    "fold-constants": "mlpasses.cleanup.fold:FoldConstants",
    "merge-casts": "mlpasses.cleanup.casts:MergeCasts",
    "merge-reshapes": "mlpasses.cleanup.reshapes:MergeReshapes",
    "merge-transposes": "mlpasses.cleanup.transposes:MergeTransposes",
    "remove-noops": "mlpasses.cleanup.noops:RemoveNoops",
    "sanitize-names": "mlpasses.cleanup.names:SanitizeNames",
    "sort-topologically": "mlpasses.cleanup.sort:SortTopologically",
    "pipeline": "mlpasses.pipeline:Pipeline",
    "repeat": "mlpasses.pipeline:Repeat",
}
"""The passes of this distribution: name → "module:Class"."""

OWN: Final = "mlpasses"


@frozen
class Entry:
    """A name, and where its class is: "module:Class" in a distribution."""

    name: str
    target: str
    origin: str = OWN

    def load(self) -> type[Pass]:
        """Imports the class.

        Raises:
            ConfigError: it cannot be imported, is no pass, or has another name than it is registered under.
        """
        where = f"pass {self.name!r} of {self.origin}"
        module, _, attribute = self.target.partition(":")
        try:
            found: object = import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (Exception, SystemExit) as error:
            cause = f"importing {self.target} raised {type(error).__name__}: {error}"
            raise ConfigError(f"{where} cannot be loaded: {cause}; reinstall or remove {self.origin}") from error
        if not (isinstance(found, type) and issubclass(found, Pass)):
            raise ConfigError(f"{where} is no pass: {self.target} is {found!r}, where a class derived from mlpasses.Pass was expected")
        if found.name != self.name:
            raise ConfigError(f"{where} calls itself {found.name!r}: the entry point of {self.target} has to have that name")
        return found


@frozen
class Registry:
    """Names and where their classes are. `conflicts` says of each contested name who claims it."""

    entries: Mapping[str, Entry]
    conflicts: Mapping[str, str] = field(factory=dict)

    @classmethod
    def of(cls, entries: Iterator[Entry]) -> Registry:
        """Sorts entries out: equal ones count once, a name of ours stays ours, and one that two packages claim belongs to neither."""
        claims: dict[str, dict[str, Entry]] = {}
        for entry in entries:
            claims.setdefault(entry.name, {}).setdefault(entry.target, entry)
        settled: dict[str, Entry] = {}
        conflicts: dict[str, str] = {}
        for name, claimed in claims.items():
            own = next((entry for entry in claimed.values() if entry.origin == OWN), None)
            others = [f"{entry.origin} ({entry.target})" for entry in claimed.values() if entry is not own]
            if own is not None:
                settled[name] = own
                if others:
                    conflicts[name] = f"the name {name!r} is that of a pass of mlpasses: {' and '.join(others)} cannot have it"
            elif len(others) == 1:
                settled.update((name, entry) for entry in claimed.values())
            else:
                conflicts[name] = f"the name {name!r} is claimed by {' and '.join(others)}, so it means neither: remove one of them"
        return cls(settled, conflicts)

    def __getitem__(self, name: str) -> type[Pass]:
        """The class of a name.

        Raises:
            ConfigError: there is no such pass (with the nearest names), two packages claim the name, or its class cannot be loaded.
        """
        entry = self.entries.get(name)
        if entry is not None:
            return entry.load()
        if name in self.conflicts:
            raise ConfigError(self.conflicts[name])
        raise ConfigError(f"there is no pass {name!r}; {suggest(name, self.entries)}")


def registry() -> Registry:
    """All passes that are installed."""
    return Registry.of(_all_entries())


def pass_class(name: str) -> type[Pass]:
    """The class of a pass. Looks at installed packages only if the name is none of ours.

    Raises:
        ConfigError: as `Registry.__getitem__`.
    """
    target = BUILT_IN.get(name)
    return Entry(name, target).load() if target is not None else registry()[name]


def suggest(name: str, known: Mapping[str, object] | list[str]) -> str:
    """`did you mean 'dead-code'?`, or what there is: the second half of a sentence about a name that does not exist."""
    from difflib import get_close_matches  # only errors need it

    near = _spelled_otherwise(name, known) or get_close_matches(name, dict.fromkeys(known), n=3, cutoff=0.75)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"there is {', '.join(sorted(known))}" if known else "there is none"


def _spelled_otherwise(name: str, known: Iterable[str]) -> list[str]:
    """Those that are the name but for case and separators (`DeadCode`), or else begin with it as a whole word (`quantize`)."""
    plain = _letters(name)
    same = [each for each in known if _letters(each) == plain]
    return same or [each for each in known if plain and any(each.startswith(name + mark) for mark in "-_")][:3]


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _all_entries() -> Iterator[Entry]:
    from importlib.metadata import entry_points  # 30 ms, and most runs need no package's passes

    for name, target in BUILT_IN.items():
        yield Entry(name, target)
    for point in entry_points(group=GROUP):
        yield Entry(point.name, point.value.partition("[")[0].strip(), point.dist.name if point.dist is not None else "an unnamed package")
