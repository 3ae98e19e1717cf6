"""The benchmarks themselves work; what they measure gates nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from ir.mil.load import load_program
from tests import oracle
from tests.bench import look_up
from tests.bench.__main__ import as_dict, table
from tests.bench.cases import CASES, Setting
from tests.bench.decoder import CHUNK, LARGE, SMALL, TINY, draw, package, palettized
from tests.bench.measure import Contender, Measured, Run, interleaved, private_memory, python, rested, run


def test_decoders_have_the_parameters_they_are_known_for() -> None:
    assert SMALL.parameters == 131_014_656
    assert LARGE.parameters == 953_155_584


def test_a_decoder_is_accepted_by_coremltools(tmp_path: Path) -> None:
    (program,) = oracle.accepted(package(TINY, tmp_path))
    assert program.functions["main"].outputs[0].shape == (1, TINY.sequence, TINY.vocabulary)


def test_a_decoder_is_built_once(tmp_path: Path) -> None:
    path = package(TINY, tmp_path)
    before = path.stat().st_mtime_ns
    assert package(TINY, tmp_path).stat().st_mtime_ns == before


def test_weights_are_always_the_same_and_normal(tmp_path: Path) -> None:
    draw(tmp_path / "a", CHUNK + 1000)
    draw(tmp_path / "b", CHUNK + 1000)
    numbers = np.fromfile(tmp_path / "a", np.float16)
    assert numbers.size == CHUNK + 1000
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert numbers.astype(np.float64).std() == pytest.approx(0.02, rel=0.01)


def test_contenders_take_turns_and_warm_up_in_each() -> None:
    said: list[str] = []
    contenders = [Contender("a", python("-c", "pass")), Contender("b", python("-c", "pass"), warms=False)]
    measured = interleaved(contenders, 2, said.append)
    assert [" ".join(line.split()[:3]) for line in said] == ["warm-up 1: a", "run 1: a", "run 1: b", "warm-up 2: a", "run 2: a", "run 2: b"]
    assert [(len(each.runs), len(each.colder)) for each in measured] == [(2, 2), (2, 0)]


def test_rested_contenders_take_turns_and_wait_before_each_run() -> None:
    said: list[str] = []
    started = time.monotonic()
    measured = rested([Contender("a", python("-c", "pass")), Contender("b", python("-c", "pass"))], 2, said.append, rest=0.5)
    assert time.monotonic() - started >= 2
    assert [" ".join(line.split()[:4]) for line in said] == ["run 1, rested: a", "run 1, rested: b", "run 2, rested: a", "run 2, rested: b"]
    assert [len(each.runs) for each in measured] == [2, 2]


def test_what_is_typical_after_others_leaves_the_very_first_run_out() -> None:
    found = Measured("a", runs=[Run(1.0, 1.0, 1)], colder=[Run(9.0, 9.0, 9), Run(2.0, 2.0, 2)])
    assert found.after_others == Run(2.0, 2.0, 2)
    assert Measured("b", runs=found.runs).after_others == found.typical == Run(1.0, 1.0, 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to ask for private memory")
def test_private_memory_counts_children() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; x = b\"1\" * (80 << 20); time.sleep(0.3)'])"
    assert run(Contender("child", python("-c", child))).private > 80 << 20


def test_private_memory_of_a_process_that_is_gone_is_nothing() -> None:
    assert private_memory(2**22 + 1) == 0


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)broken failed.*no good"):
        run(Contender("broken", python("-c", "raise SystemExit('no good')")))


def test_a_case_runs_from_end_to_end(tmp_path: Path) -> None:
    result = CASES["quantize"](Setting(TINY, 1, tmp_path, tmp_path))
    assert "int8 per channel, tiny | mlpasses" in table([result])
    assert json.loads(json.dumps(as_dict(result)))["figures"][0]["what"] == "faster than coremltools"


def test_both_contenders_look_up_the_same(tmp_path: Path) -> None:
    program = load_program(palettized(tmp_path / "lut.mlpackage", 64))
    found, theirs = (contender(program)() for contender in look_up.CONTENDERS.values())
    assert found.shape == (64, 64)
    assert np.array_equal(found, theirs)


def test_every_look_up_is_timed() -> None:
    done: list[int] = []
    assert len(look_up.seconds(lambda: done.append(1), 3)) == len(done) == 3
