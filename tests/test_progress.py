"""Who hears of progress: the bar on the terminal, and functions of embedders, which may cancel a run."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlpasses as mp
from ir.builder import FunctionBuilder, build_program
from ir.opset import IOS18
from ir.types import FP16, TensorType
from mlpasses.compress.prune_job import PruneJob
from mlpasses.progress import TerminalProgress


def test_progress_goes_to_stderr_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with TerminalProgress() as progress:
        progress.start("quantize-weights", 100)
        progress.advance(40, "[w]")
        progress.finish()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "quantize-weights" in captured.err


def test_the_bar_is_stopped_by_an_error() -> None:
    progress = TerminalProgress()
    with suppress(RuntimeError), progress:
        progress.start("quantize-weights", 100)
        raise RuntimeError
    assert progress._bar is None
    progress.advance(1, "late")  # of a bar that is gone: nothing happens


def test_several_passes_follow_one_another() -> None:
    with TerminalProgress() as progress:
        for name in ("one", "two"):
            progress.start(name, 10)
            progress.advance(10, "w")
            progress.finish()


class StopError(BaseException):
    """What an embedder raises to be out of it; no `Exception`, like the cancellation of asyncio."""


@pytest.fixture
def program() -> mp.Program:
    """Three weights of 128 KB: their results are too large to be kept in memory."""
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 64))}, IOS18) as f:
        for index in range(3):
            weight = np.random.default_rng(index).standard_normal((1024, 64)).astype(np.float16)
            value = f.const(weight, name=f"w{index}")
            f.outputs(**{f"y{index}": f.op("linear", x=f.inputs["x"], weight=value, bias=np.zeros(1024, np.float16))})
    return build_program(f)


def test_a_function_hears_of_the_beginning_and_of_each_weight(program: mp.Program) -> None:
    calls: list[tuple[str, int, int, str]] = []
    callback = mp.ProgressCallback(lambda *call: calls.append(call))
    mp.run(program, mp.PruneWeights(), progress=callback, workers=1)
    size = 1024 * 64 * 2
    assert calls == [("prune-weights", index * size, 3 * size, name) for index, name in enumerate(["", "w0", "w1", "w2"])]


def test_each_pass_counts_from_the_start(program: mp.Program) -> None:
    done: list[tuple[str, int]] = []
    callback = mp.ProgressCallback(lambda name, done_, total, what: done.append((name, done_ * 3 // total)))
    mp.run(program, mp.Pipeline(mp.PruneWeights(), mp.DecompressWeights()), progress=callback, workers=2)
    assert done == [(name, part) for name in ("prune-weights", "decompress-weights") for part in range(4)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, StopError, mp.ConfigError])
def test_what_a_function_raises_cancels_the_run_and_arrives(error: type[BaseException], program: mp.Program) -> None:
    with pytest.raises(error):
        mp.run(program, mp.PruneWeights(), progress=mp.ProgressCallback(raising(error)))


def test_an_exception_of_a_function_arrives_as_a_cause(program: mp.Program) -> None:
    with pytest.raises(mp.PassError, match="ZeroDivisionError") as caught:
        mp.run(program, mp.PruneWeights(), progress=mp.ProgressCallback(raising(ZeroDivisionError)))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("at", ["", "w0", "w2"])
@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_cancelled_run_leaves_nothing_behind(
    error: type[BaseException], threads: bool, at: str, program: mp.Program, tmp_path: Path
) -> None:
    """No scratch file, be it one with a name, as the workers of an executor need it."""
    before = str(program)
    with ThreadPoolExecutor(2) as pool:
        with suppress(KeyboardInterrupt, mp.PassError):
            callback = mp.ProgressCallback(raising(error, at))
            mp.run(program, mp.PruneWeights(), progress=callback, executor=pool if threads else None, scratch=tmp_path)
            pytest.fail("it went on")
        gc.collect()
        assert list(tmp_path.iterdir()) == []
    assert str(program) == before


def test_weights_that_wait_are_not_begun_once_a_run_is_cancelled(program: mp.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    run = PruneJob.run

    def noted(job: PruneJob, *arguments: Any) -> Any:
        begun.append(job.name)
        return run(job, *arguments)

    monkeypatch.setattr(PruneJob, "run", noted)
    with pytest.raises(KeyboardInterrupt):
        mp.run(program, mp.PruneWeights(), progress=mp.ProgressCallback(raising(KeyboardInterrupt, "w0")), workers=1)
    assert begun == ["w0"]


def raising(error: type[BaseException], at: str = "w1") -> Callable[[str, int, int, str], None]:
    """A function that raises when it hears of a weight."""

    def function(pass_name: str, done: int, total: int, what: str) -> None:
        if what == at:
            raise error

    return function
