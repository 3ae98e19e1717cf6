"""What each scheme makes of real models: bytes, bits and errors of their weights, as the tables of docs/compression.md.

Of a model, the weights of 2,048 elements or more count, those that a scheme leaves alone too: they cost their bytes and no error. Bits
are 8 · bytes / elements; the SQNR of the whole is 10·log10(Σw² / Σ(w-ŵ)²) over all elements of all weights, which those of large
values decide; beside it stand the median and the worst of the weights that are compressed.

    python -m tests.bench.schemes                          # the real models that the tests have
    python -m tests.bench.schemes A.mlpackage B.mlpackage
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from attrs import frozen

from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS18
from ir.weights import MIN_ELEMENTS
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import NM, Magnitude, Palettize, Quantize, Threshold
from mlpasses.manager import run
from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline
from mlpasses.raising import RaiseOpset
from mlpasses.report import WeightRow
from tests.corpus import ROOT

MODELS: Final = ("u2netp", "screendoc", "hand_detector", "basic_pitch_nmp", "silero_vad_unified")
"""Saliency, a classifier, palms, music, speech: convolutions, few linear layers, one LSTM."""


def _quantize(dtype: str, granularity: str = "per-channel", *, block: int | None = None, mode: str = "symmetric", searched: bool = False,
              precision: str = "weight") -> Pass:  # fmt: skip
    scales = "searched" if searched else "extremes"
    return QuantizeWeights(Quantize(dtype, mode, granularity, block, scales, indivisible="shrink", precision=precision))  # type: ignore[arg-type]


def _palettize(nbits: int, mode: str = "kmeans", *, group: int | None = None, vector: int = 1, scale: str = "none",
               precision: str = "weight") -> Pass:  # fmt: skip
    return PalettizeWeights(
        Palettize(nbits, mode, group, vector, scale, indivisible="shrink", precision=precision)  # type: ignore[arg-type]
    )


QUANTIZED: Final[Mapping[str, Pass]] = {
    "int8 per tensor": _quantize("int8", "per-tensor"),
    "int8 per channel": _quantize("int8"),
    "int8 per channel, asymmetric": _quantize("int8", mode="asymmetric"),
    "int8 per channel, searched": _quantize("int8", searched=True),
    "int4 per tensor": _quantize("int4", "per-tensor"),
    "int4 per channel": _quantize("int4"),
    "int4 per channel, searched": _quantize("int4", searched=True),
    "int4 blocks of 32": _quantize("int4", "per-block", block=32),
    "int4 blocks of 32, searched": _quantize("int4", "per-block", block=32, searched=True),
    "int4 blocks of 32, asymmetric": _quantize("int4", "per-block", block=32, mode="asymmetric"),
    "int4 blocks of 32, asymmetric, searched": _quantize("int4", "per-block", block=32, mode="asymmetric", searched=True),
    "int4 blocks of 16, searched": _quantize("int4", "per-block", block=16, searched=True),
}
PALETTIZED: Final[Mapping[str, Pass]] = {
    "8 bits": _palettize(8),
    "6 bits": _palettize(6),
    "6 bits, uniform": _palettize(6, "uniform"),
    "4 bits": _palettize(4),
    "4 bits, uniform": _palettize(4, "uniform"),
    "4 bits, groups of 16": _palettize(4, group=16),
    "4 bits, groups of 4": _palettize(4, group=4),
    "4 bits, groups of 1": _palettize(4, group=1),
    "4 bits, scale folded": _palettize(4, scale="folded"),
    "4 bits, scale chained": _palettize(4, scale="chained"),
    "4 bits, groups of 16, scale chained": _palettize(4, group=16, scale="chained"),
    "3 bits, groups of 16": _palettize(3, group=16),
    "3 bits, scale chained": _palettize(3, scale="chained"),
    "2 bits, groups of 16": _palettize(2, group=16),
    "2 bits, scale chained": _palettize(2, scale="chained"),
    "1 bit, scale chained": _palettize(1, scale="chained"),
    "8 bits, vectors of 2": _palettize(8, vector=2),
    "6 bits, vectors of 2": _palettize(6, vector=2),
    "8 bits, vectors of 4": _palettize(8, vector=4),
}
PRUNED: Final[Mapping[str, Pass]] = {
    "zeros as they are": PruneWeights(Threshold()),
    "25 % zeros": PruneWeights(Magnitude(0.25)),
    "50 % zeros": PruneWeights(Magnitude(0.5)),
    "75 % zeros": PruneWeights(Magnitude(0.75)),
    "90 % zeros": PruneWeights(Magnitude(0.9)),
    "2:4": PruneWeights(NM(2, 4)),
    "50 % in blocks of 2": PruneWeights(Magnitude(0.5, 2)),
    "50 % in blocks of 4": PruneWeights(Magnitude(0.5, 4)),
}
HALVED: Final[Mapping[str, Pass]] = {
    "int8 per channel": _quantize("int8"),
    "int8 per channel, fp16 scales": _quantize("int8", precision="fp16"),
    "int4 blocks of 32": _quantize("int4", "per-block", block=32),
    "int4 blocks of 32, fp16 scales": _quantize("int4", "per-block", block=32, precision="fp16"),
    "4 bits, groups of 4": _palettize(4, group=4),
    "4 bits, groups of 4, fp16 tables": _palettize(4, group=4, precision="fp16"),
}
TABLES: Final[Mapping[str, Mapping[str, Pass]]] = {
    "quantization": QUANTIZED, "palettization": PALETTIZED, "pruning": PRUNED, "fp32 weights": HALVED,
}  # fmt: skip


@frozen
class Outcome:
    """What a scheme makes of a model."""

    elements: int
    before: int
    after: int
    whole: float
    """SQNR in dB; infinite where nothing is lost."""
    median: float
    worst: float
    alone: int
    """How many weights it leaves alone."""

    @property
    def bits(self) -> float:
        return 8 * self.after / self.elements


def outcome(program: Program, scheme: Pass) -> Outcome:
    """Runs one scheme over all weights of a model, raised to iOS18."""
    rows = _rows(program, scheme)
    signals = _signals(program)
    of = {row.key: _noise(row, signals[row.key]) for row in rows}
    done = [row for row in rows if row.skipped is None]
    found = sorted(math.inf if row.sqnr is None else row.sqnr for row in done) or [math.inf]
    return Outcome(
        sum(row.numel for row in rows),
        sum(row.before for row in rows),
        sum(row.after for row in rows),
        _decibels(sum(signals[row.key] for row in rows), sum(of.values())),
        found[len(found) // 2],
        found[0],
        len(rows) - len(done),
    )


def wide_table(programs: Mapping[str, Program], schemes: Mapping[str, Pass]) -> str:
    """In each cell bits, the SQNR of the whole, of the median and of the worst weight, and how many are left alone."""
    lines = [f"| | {' | '.join(programs)} |", f"|---|{'---|' * len(programs)}"]
    for label, scheme in schemes.items():
        found = [outcome(program, scheme) for program in programs.values()]
        lines.append(f"| {label} | {' | '.join(map(_cell, found))} |")
    return "\n".join(lines)


def sizes(programs: Mapping[str, Program]) -> str:
    """What the models have for weights."""
    lines = ["| | weights | elements | bytes | of them fp32 |", "|---|---:|---:|---:|---:|"]
    for name, program in programs.items():
        rows = _untouched(program)
        elements, size = sum(row.numel for row in rows), sum(row.before for row in rows)
        single = sum(row.before for row in rows if "fp32" in row.scheme) / size
        lines.append(f"| {name} | {len(rows)} | {elements:,} | {size:,} | {single:.0%} |")
    return "\n".join(lines)


def _untouched(program: Program) -> list[WeightRow]:
    """The weights as they are."""
    return _rows(program, PruneWeights(Threshold(min_elements=1 << 40)))


def _rows(program: Program, scheme: Pass) -> list[WeightRow]:
    rows = run(program, Pipeline(RaiseOpset(IOS18), scheme)).report.weights
    return [row for row in rows if row.numel >= MIN_ELEMENTS]


def _cell(found: Outcome) -> str:
    if found.after == found.before:
        return "–"
    alone = f" ({found.alone})" if found.alone else ""
    return f"{found.bits:.2f} · {_shown(found.whole)} / {_shown(found.median)} / {_shown(found.worst)}{alone}"


def _shown(decibels: float) -> str:
    return "exact" if math.isinf(decibels) else f"{decibels:.1f}"


def _signals(program: Program) -> dict[tuple[str, str], float]:
    """Σw² of each weight."""
    found = {}
    for weight in program.weights(min_elements=1):
        if weight.dtype.kind == "float":
            found[weight.where, weight.name] = float(np.square(weight.numpy().astype(np.float64)).sum())
    return found


def _noise(row: WeightRow, signal: float) -> float:
    return 0.0 if row.skipped is not None or row.sqnr is None or math.isinf(row.sqnr) else signal / 10 ** (row.sqnr / 10)


def _decibels(signal: float, noise: float) -> float:
    return 10 * math.log10(signal / noise) if noise else math.inf


def tables(paths: Sequence[Path]) -> Iterator[str]:
    """The page's tables over the models, in parts."""
    programs = {path.stem: load_program(path) for path in paths}
    yield sizes(programs)
    singles = {name: program for name, program in programs.items() if any("fp32" in row.scheme for row in _untouched(program))}
    for name, schemes in TABLES.items():
        over = singles if schemes is HALVED else programs
        if over:
            yield f"### Measured: {name}\n\n{wide_table(over, schemes)}"


def main(arguments: Sequence[str]) -> None:
    """Prints the tables."""
    paths = [Path(each) for each in arguments] or [ROOT / f"{name}.mlpackage" for name in MODELS]
    for part in tables(paths):
        print(f"\n{part}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
