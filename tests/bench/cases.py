"""The benchmarks: what is done, by whom, and what is asked of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

from attrs import evolve, frozen

from tests.bench.decoder import DECODERS, LARGE, MINI, Decoder, package, palettized
from tests.bench.measure import ROOT, Contender, Measured, environment, interleaved, python, rested

HERE: Final = Path(__file__).parent
DEEP: Final = Decoder("deep", layers=0, width=64, feed_forward=64, vocabulary=64, head_width=32, sequence=8)
"""Tiny matrices, so that only the number of ops counts."""
OPS_PER_LAYER: Final = 67
COPY: Final = 'cp -r "$0" "$1" && find "$1" -type f -exec sync {} +'
EXAMPLE: Final = ROOT / "docs/examples/keyword-spotter.mlpackage"
RECIPE: Final = ROOT / "docs/examples/quantize.yaml"
CLI: Final = "from mlpasses.cli.main import main; main()"
"""What the console script does."""


@frozen
class Figure:
    """Something that was measured, in its unit, beside the bound that it is held against."""

    what: str
    value: float
    unit: str
    bound: float | None
    """None where nothing is asked of it."""
    at_least: bool = False
    """Whether the bound is from below."""

    @property
    def holds(self) -> bool:
        if self.bound is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@frozen
class Result:
    """What a case found: every contender, and the figures that count."""

    case: str
    measured: tuple[Measured, ...]
    figures: tuple[Figure, ...]


@frozen
class Setting:
    """How a case is run."""

    decoder: Decoder
    repeats: int
    folder: Path
    """Where results are written: on the disk of the decoder's package, or copies inside the kernel are none."""
    packages: Path | None = None
    """Where packages are kept; None for the user's cache."""
    say: Callable[[str], None] = lambda text: None

    def source(self) -> Path:
        return package(self.decoder, self.packages)

    def bound(self, bound: float) -> float | None:
        """What is asked of the large decoder is asked of no other."""
        return bound if self.decoder == LARGE else None

    def contender(self, name: str, script: str, job: str) -> Contender:
        target = self.folder / f"{script}-{job}.mlpackage"
        command = python(str(HERE / f"{script}.py"), job, str(self.source()), str(target))
        return Contender(name, command, (target,), warms=script == "ours")


def round_trip(setting: Setting) -> Result:
    """Load and save against a copy of the files, and against coremltools around a pass that does nothing."""
    target = setting.folder / "copy.mlpackage"
    copy = Contender("cp -r, fsync", ["sh", "-c", COPY, str(setting.source()), str(target)], (target,))
    ours, peer = setting.contender("mlpasses", "ours", "noop"), setting.contender("coremltools", "peer", "noop")
    measured = interleaved([copy, ours, peer], setting.repeats, setting.say)
    copied, found, theirs = (each.typical for each in measured)
    return Result(
        f"round trip, {setting.decoder.name}",
        tuple(measured),
        (
            Figure("time over that of cp -r with fsync", found.seconds / copied.seconds, "×", setting.bound(2)),
            Figure("faster than coremltools", theirs.seconds / found.seconds, "×", None),
            Figure("private memory", found.private / 1e6, "MB", setting.bound(250)),
        ),
    )


@frozen
class Work:
    """Work on weights that both contenders do, and what is asked of it."""

    job: str
    title: str
    decoder: str
    """The decoder that the bounds are for."""
    faster: float
    """How many times faster than coremltools it has to be."""
    private: float = 1000.0
    """The most private memory, in MB."""

    def __call__(self, setting: Setting) -> Result:
        ours, peer = setting.contender("mlpasses", "ours", self.job), setting.contender("coremltools", "peer", self.job)
        measured = interleaved([ours, peer], setting.repeats, setting.say)
        found, theirs = (each.typical for each in measured)
        asked = setting.decoder.name == self.decoder
        return Result(
            f"{self.title}, {setting.decoder.name}",
            tuple(measured),
            (
                Figure("faster than coremltools", theirs.seconds / found.seconds, "×", self.faster if asked else None, at_least=True),
                _right_after(measured),
                Figure("private memory", found.private / 1e6, "MB", self.private),
            ),
        )


def decompress(setting: Setting) -> Result:
    """An 8-bit table for a weight of 4096 × 4096, from array to array and from package to package.

    coremltools takes 9 GB for it, so how long it takes is how long they take to find: some 24 s on a machine that has been at rest, and a
    few right after another run of it. The bound is held against both.
    """
    source = setting.folder / "lut.mlpackage"
    palettized(source)
    contenders = []
    for name, script in (("mlpasses", "ours"), ("coremltools", "peer")):
        target = setting.folder / f"{script}-decompress.mlpackage"
        contenders.append(Contender(name, python(str(HERE / f"{script}.py"), "decompress", str(source), str(target)), (target,)))
    in_a_row = interleaved(contenders, setting.repeats, setting.say)
    measured = rested(contenders, setting.repeats, setting.say)
    (found, theirs), (again, theirs_again) = ([each.typical for each in runs] for runs in (measured, in_a_row))
    functions = {who: _printed("look_up.py", who, str(source), str(max(setting.repeats, 3))) for who in ("ours", "peer")}
    (first, rest), (first_of_theirs, rest_of_theirs) = ((runs[0], median(runs[1:])) for runs in functions.values())
    figures = (
        Figure("faster from array to array, the first time", first_of_theirs / first, "×", 100, at_least=True),
        Figure("faster from array to array, again", rest_of_theirs / rest, "×", 100, at_least=True),
        Figure("faster than coremltools", theirs.seconds / found.seconds, "×", 20, at_least=True),
        Figure("faster, each for the second time in a row", theirs_again.seconds / again.seconds, "×", 20, at_least=True),
        _right_after(in_a_row),
        Figure("private memory", found.private / 1e6, "MB", 1000),
    )
    rows = (*measured, *(evolve(each, name=f"{each.name}, second time in a row") for each in in_a_row))
    return Result("decompress, 8-bit table, 4096 × 4096", rows, figures)


def structure(setting: Setting) -> Result:
    """Lift, lower and verification of 5,000 and of 50,000 ops."""
    figures: list[Figure] = []
    for count, lift, lower, verify in ((5_000, 60.0, 60.0, 10.0), (50_000, 700.0, 700.0, 100.0)):
        deep = evolve(DEEP, name=f"deep-{count}", layers=count // OPS_PER_LAYER)
        found = _structure(package(deep, setting.packages), setting.repeats)
        for step, bound in (("lift", lift), ("lower", lower), ("verify", verify)):
            figures.append(Figure(f"{step} {found['ops']:,.0f} ops", found[step] * 1000, "ms", bound))
    return Result("structure", (), tuple(figures))


def start(setting: Setting) -> Result:
    """What everyone waits for: the import, the command line, a small model from end to end."""
    target = setting.folder / "example.mlpackage"
    bare = Contender("python -c pass", python("-c", "pass"))
    imported = Contender('python -c "import mlpasses"', python("-c", "import mlpasses"))
    helped = Contender("mlpasses --help", python("-c", CLI, "--help"))
    example = Contender("mlpasses run, 0.2 MB", python("-c", CLI, "run", str(EXAMPLE), str(RECIPE), "-o", str(target)), (target,))
    measured = interleaved([bare, imported, helped, example], max(setting.repeats, 5), setting.say)
    figures = [
        Figure(each.name, each.typical.seconds, "s", bound) for each, bound in zip(measured[1:], (0.25, 0.4, 1.0), strict=True)
    ]
    return Result("start", tuple(measured), tuple(figures))


def mini(setting: Setting) -> Result:
    """A model of 5 MB, which NumPy is fast enough for."""
    setting = evolve(setting, decoder=MINI)
    rows: list[Measured] = []
    figures: list[Figure] = []
    for job, title in (("quantize", "int8 per channel"), ("magnitude", "magnitude 75 %"), ("kmeans", "4-bit k-means per tensor")):
        ours, peer = setting.contender("mlpasses", "ours", job), setting.contender("coremltools", "peer", job)
        found, theirs = interleaved([ours, evolve(peer, warms=True)], max(setting.repeats, 5), setting.say)
        rows += [evolve(each, name=f"{each.name}, {title}") for each in (found, theirs)]
        figures.append(Figure(title, found.typical.seconds, "s", 0.6))
        figures.append(Figure(f"{title}, faster than coremltools", theirs.typical.seconds / found.typical.seconds, "×", None))
    return Result("5 MB", tuple(rows), tuple(figures))


CASES: Final[Mapping[str, Callable[[Setting], Result]]] = {
    "start": start,
    "structure": structure,
    "round-trip": round_trip,
    "quantize": Work("quantize", "int8 per channel", "large", faster=20),
    "int4-blocks": Work("int4-blocks", "int4 per block of 32", "large", faster=20),
    "kmeans": Work("kmeans", "4-bit k-means per tensor", "large", faster=40),
    "kmeans-groups": Work("kmeans-groups", "4-bit k-means, groups of 16 channels", "small", faster=80),
    "magnitude": Work("magnitude", "magnitude 75 %", "small", faster=5),
    "joint": Work("joint", "magnitude 50 %, 4-bit k-means in groups of 16, int8 tables", "small", faster=20),
    "decompress": decompress,
    "mini": mini,
}

__all__ = ["CASES", "DECODERS", "Figure", "Result", "Setting"]


def _right_after(measured: list[Measured]) -> Figure:
    """The same where each of our runs, and of coremltools' where it was warmed up, comes right after one of the other's."""
    ours, theirs = (each.after_others for each in measured)
    return Figure("faster, each right after the other", theirs.seconds / ours.seconds, "×", None)


def _structure(path: Path, repeats: int) -> dict[str, float]:
    found: dict[str, float] = _printed("structure.py", str(path), str(max(repeats, 5)))
    return found


def _printed(script: str, *arguments: str) -> Any:
    """What a script of this folder prints as JSON."""
    command = python(str(HERE / script), *arguments)
    return json.loads(subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True).stdout)
