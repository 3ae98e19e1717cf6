"""Mutates packages and sees that nothing but an `MLPassesError` comes out, in bounded time and memory.

    python -m tests.fuzz --count 100000 [--seed 0] [--seconds 10] [PACKAGE ...]

Each mutant is one package with one of its files spoilt: bytes of the protobuf, weight file or manifest, or, half of the time for a
protobuf, fields of the message, so that it still parses and the fault reaches deeper. It is loaded, printed and saved. A crash, a
foreign exception, more than `--seconds` or more than 2 GiB of memory is a finding; its seed is printed, and the exit code is 1. The
quick form of the same runs in the suite (`tests/mil/test_malformed.py`).
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

from ir.diagnostics import MLPassesError
from ir.mil import schema
from ir.mil.load import load_program
from tests.mil.messages import weight_bytes, write_package
from tests.mil.test_malformed import mutate

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
MEMORY = 2 << 30
SMALL = 400_000
"""Packages above this many bytes are left to those who have the time: name them."""


class TooSlow(BaseException):
    """A mutant took longer than it may."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_slow)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        return _run(given.packages or _victims(Path(folder)), given.count, given.seed, given.seconds, Path(folder))


def _victims(folder: Path) -> list[Path]:
    """The corpus' small packages, and the hand-made one with every corner of the format."""
    from ir.types import FP32, TensorType
    from tests.mil.messages import samples
    from tests.mil.test_lossless import blob_model, every_corner

    content, offsets = weight_bytes([(FP32, samples(FP32, 32))])
    corner = write_package(folder / "corner.mlpackage", every_corner(), {"weight.bin": content})

    blob = write_package(folder / "blob.mlpackage", blob_model([(FP32, TensorType(FP32, (32,)))], offsets), {"weight.bin": content})
    packages = sorted(CORPUS.glob("*.mlpackage"))
    small = [path for path in packages if sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) < SMALL]
    return [corner, blob, *small]


def _run(victims: list[Path], count: int, seed: int, seconds: int, folder: Path) -> int:
    outcomes: Counter[str] = Counter()
    findings = 0
    started = perf_counter()
    for index in range(count):
        chance = random.Random(seed + index)
        victim = chance.choice(victims)
        files = [path for path in sorted(victim.rglob("*")) if path.is_file() and path.stat().st_size]
        target = chance.choice(files)
        package, out = folder / "in.mlpackage", folder / "out.mlpackage"
        for leftover in (package, out):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.copytree(victim, package, copy_function=shutil.copyfile)
        spoilt = package / target.relative_to(victim)
        spoilt.parent.chmod(0o755)
        content = target.read_bytes()
        by_field = target.suffix == ".mlmodel" and chance.random() < 0.5
        spoilt.write_bytes(_mutate_fields(content, chance) if by_field else mutate(content, seed + index))
        try:
            signal.alarm(seconds)
            outcomes[_try(package, out)] += 1
        except (Exception, TooSlow):
            findings += 1
            print(f"seed {seed + index}: {target.relative_to(victim.parent)}", file=sys.stderr)
            traceback.print_exc()
        finally:
            signal.alarm(0)
        if (index + 1) % 5000 == 0:
            print(f"{index + 1} mutants, {findings} findings, {dict(outcomes)}, {perf_counter() - started:.0f} s", flush=True)
    print(f"{count} mutants of {len(victims)} packages: {findings} findings; {dict(outcomes)}; {perf_counter() - started:.0f} s")
    return 1 if findings else 0


def _mutate_fields(encoded: bytes, chance: random.Random) -> bytes:
    """Changes one to three fields somewhere in the message."""
    model: Any = schema.new_model()
    model.ParseFromString(encoded)
    for _ in range(chance.randint(1, 3)):
        message = model
        while True:
            fields = [(field, value) for field, value in message.ListFields() if field.name != "description"]
            if not fields:
                break
            field, value = chance.choice(fields)
            if _is_map(field):
                key = chance.choice(sorted(value))
                if chance.random() < 0.1:
                    del value[key]
                    break
                message = value[key]
            elif field.message_type is not None and hasattr(value, "add"):
                if chance.random() < 0.1:
                    _mutate_elements(value, chance)
                    break
                message = value[chance.randrange(len(value))]
            elif field.message_type is not None:
                if chance.random() < 0.1:
                    message.ClearField(field.name)
                    break
                message = value
            else:
                _mutate_scalar(message, field, value, chance)
                break
    encoded_again: bytes = model.SerializeToString()
    return encoded_again


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _mutate_elements(elements: Any, chance: random.Random) -> None:
    at = chance.randrange(len(elements))
    if chance.random() < 0.5:
        del elements[at]
    else:
        elements.add().CopyFrom(elements[at])


def _mutate_scalar(message: Any, field: Any, value: Any, chance: random.Random) -> None:
    if isinstance(value, str | bytes):
        swapped = value[::-1] if chance.random() < 0.3 else value[: chance.randrange(len(value) + 1)]
        setattr(message, field.name, swapped)
    elif isinstance(value, bool | int | float):
        for candidate in (chance.choice((-1, 0, 1, 2, 3, 10, 11, 64, 2**31 - 1, 2**62, 2**64 - 1)), 1):
            try:
                setattr(message, field.name, candidate)
            except (ValueError, TypeError):  # the field cannot hold it
                continue
            return
    elif len(value):
        del value[chance.randrange(len(value))]


def _try(package: Path, out: Path) -> str:
    """Loads, prints and saves; answers with how far it came."""
    step = "refused on loading"
    try:
        program = load_program(package)
        step = "refused on printing"
        str(program)
        step = "refused on saving"
        program.save(out)
    except MLPassesError as error:
        if out.exists():
            raise RuntimeError("a refused save left something behind") from error
        return step
    return "saved"


def _too_slow(signum: int, frame: FrameType | None) -> None:
    raise TooSlow


if __name__ == "__main__":
    sys.exit(main())
