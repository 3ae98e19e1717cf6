"""`python -m tests.bench`: mlpasses against coremltools in one run, whole processes in turns, each warmed up, medians.

    python -m tests.bench                                  # everything, on the large decoder: some ten minutes
    python -m tests.bench quantize --decoder small -n 5
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import asdict

from tests.bench.cases import CASES, DECODERS, Figure, Result, Setting
from tests.bench.decoder import cache_folder


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    cache_folder().mkdir(parents=True, exist_ok=True)
    results = []
    machine = describe_machine()
    _say("\n".join(f"{name}: {value}" for name, value in machine.items()))
    with tempfile.TemporaryDirectory(dir=options.folder or cache_folder()) as folder:
        setting = Setting(DECODERS[options.decoder], options.repeats, Path(folder), say=_say)
        for name in options.cases or CASES:
            _say(name)
            results.append(CASES[name](setting))
    print(table(results))
    if options.json is not None:
        plain = {"machine": machine, "results": [as_dict(result) for result in results]}
        options.json.write_text(json.dumps(plain, indent=2) + "\n")
    return 0


def table(results: list[Result]) -> str:
    """The figures as a Markdown table."""
    lines = ["| case | what | measured | bound |", "|---|---|---|---|"]
    for result in results:
        for each in result.measured:
            lines.append(f"| {result.case} | {each.name} | {each.typical} | |")
        for figure in result.figures:
            lines.append(f"| {result.case} | {figure.what} | {figure.value:,.2f} {figure.unit} | {_bound(figure)} |")
    return "\n".join(lines)


def as_dict(result: Result) -> dict[str, Any]:
    """A result as plain data, for JSON."""
    plain = asdict(result)
    for each, measured in zip(plain["measured"], result.measured, strict=True):
        each["typical"] = asdict(measured.typical)
    for each, figure in zip(plain["figures"], result.figures, strict=True):
        each["holds"] = figure.holds
    return plain


def describe_machine() -> dict[str, str]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("coremltools", "numpy", "numba", "protobuf")
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "system": platform.platform(),
        "python": f"{platform.python_version()}; {', '.join(f'{name} {version(name)}' for name in packages)}",
    }


def _bound(figure: Figure) -> str:
    if figure.bound is None:
        return ""
    return f"{'≥' if figure.at_least else '≤'} {figure.bound:g} {figure.unit}{'' if figure.holds else ' **missed**'}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="mlpasses against coremltools")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], help="which ones; all where none is named")
    parser.add_argument("--decoder", choices=list(DECODERS), default="large")
    parser.add_argument("-n", "--repeats", type=int, default=3, help="turns of each: a run to warm up, and one that counts (3)")
    parser.add_argument("--folder", type=Path, help="where results are written (the cache folder)")
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
