"""Who works on weights does not matter: threads, processes or a cluster, one or many. What is sent is small, and nothing is left behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from ir.core import Program
from ir.diagnostics import PackageError
from ir.mil.load import load_program
from ir.opset import IOS17, IOS18, Opset
from ir.types import FP32
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import NM, Magnitude, Palettize, Quantize
from mlpasses.errors import ConfigError, PassError
from mlpasses.manager import Result, run
from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline
from mlpasses.progress import ProgressCallback
from tests.compress.models import SMALL, decoded, files, linear, linears, numbers, zoo

ROOT: Final = Path(__file__).resolve().parents[2]
PIPELINES: Final[list[Pass]] = [
    QuantizeWeights(SMALL),
    QuantizeWeights(Quantize("uint4", "asymmetric", "per-block", 8, "searched", min_elements=64)),
    PalettizeWeights(Palettize(2, min_elements=64)),
    PalettizeWeights(Palettize(2, group_size=4, min_elements=64)),
    PalettizeWeights(Palettize(2, cluster_dim=2, min_elements=64)),
    PruneWeights(Magnitude(0.7, min_elements=64)),
    PruneWeights(NM(min_elements=64)),
    Pipeline(QuantizeWeights(SMALL), DecompressWeights()),
]
pipelines = pytest.mark.parametrize(
    "pipeline", PIPELINES, ids=["int8", "uint4-searched", "kmeans", "groups", "vectors", "magnitude", "n-of-m", "decompress"]
)


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def saved(result: Result, folder: Path) -> dict[str, bytes]:
    """The files of a package; its manifest has identifiers of its own each time."""
    found = files(result.save(folder / "m.mlpackage", overwrite=True))
    return {name: data for name, data in found.items() if name != "Manifest.json"}


# Results


@pipelines
@pytest.mark.parametrize("workers", [2, 5])
def test_results_do_not_depend_on_the_number_of_workers(tmp_path: Path, pipeline: Pass, workers: int) -> None:
    one = run(zoo(IOS18), pipeline, workers=1)
    many = run(zoo(IOS18), pipeline, workers=workers)
    assert one.report.weights == many.report.weights
    assert saved(one, tmp_path) == saved(many, tmp_path)


@pipelines
def test_results_do_not_depend_on_threads_of_an_executor(tmp_path: Path, pipeline: Pass) -> None:
    own = run(zoo(IOS18), pipeline)
    with ThreadPoolExecutor(3) as pool:
        others = run(zoo(IOS18), pipeline, executor=pool, scratch=tmp_path)
    assert own.report.weights == others.report.weights
    assert saved(own, tmp_path) == saved(others, tmp_path)


@pipelines
def test_results_do_not_depend_on_processes_of_an_executor(tmp_path: Path, pipeline: Pass, processes: Executor) -> None:
    package = zoo(IOS18).save(tmp_path / "zoo.mlpackage")
    own = run(load_program(package), pipeline)
    others = run(load_program(package), pipeline, executor=processes, scratch=tmp_path)
    assert own.report.weights == others.report.weights
    assert saved(own, tmp_path) == saved(others, tmp_path)


def test_weights_in_memory_go_to_processes_as_well(tmp_path: Path, processes: Executor) -> None:
    own = run(linear(numbers(64, 64)), QuantizeWeights())
    others = run(linear(numbers(64, 64)), QuantizeWeights(), executor=processes, scratch=tmp_path)
    assert saved(own, tmp_path) == saved(others, tmp_path)


@pytest.mark.parametrize("opset", [IOS17, IOS18], ids=repr)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("pipeline", [PIPELINES[0], PIPELINES[2], PIPELINES[5]], ids=["quantize", "palettize", "prune"])
def test_weights_that_go_through_the_scratch_file_and_the_kernels_are_the_same(
    opset: Opset, dtype: Any, pipeline: Pass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(linear(numbers(96, 1024, dtype=dtype), opset), pipeline)
    monkeypatch.setattr("mlpasses.compress.jobs.COMPILED_FROM", 0)
    monkeypatch.setattr("mlpasses.scratch.KEPT", 0)
    found = run(linear(numbers(96, 1024, dtype=dtype), opset), pipeline)
    assert saved(found, tmp_path) == saved(expected, tmp_path)
    assert decoded(expected.program).tobytes() == decoded(found.program).tobytes()


# What goes between them


class Weighing(Executor):
    """An executor that sends everything through pickle, and notes how many bytes it takes there and back."""

    def __init__(self) -> None:
        self.there: list[int] = []
        self.back: list[int] = []

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        sent = pickle.dumps((work, arguments, named))
        self.there.append(len(sent))
        future: Future[Any] = Future()
        try:
            received, arguments, named = pickle.loads(sent)
            answer = pickle.dumps(received(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
            return future
        self.back.append(len(answer))
        future.set_result(pickle.loads(answer))
        return future


@pytest.mark.parametrize("size", [64, 1024])
@pytest.mark.parametrize("pipeline", [PIPELINES[0], PIPELINES[2], PIPELINES[5]], ids=["quantize", "palettize", "prune"])
def test_what_is_pickled_is_small_whatever_the_weight(tmp_path: Path, size: int, pipeline: Pass) -> None:
    program = load_program(linear(numbers(96, size)).save(tmp_path / "m.mlpackage"))
    executor = Weighing()
    run(program, pipeline, executor=executor, scratch=tmp_path)
    assert len(executor.there) == len(executor.back) == 1
    assert executor.there[0] < 4000
    assert executor.back[0] < 1000


def test_decompression_pickles_small_as_well(tmp_path: Path) -> None:
    quantized = run(linear(numbers(96, 1024)), QuantizeWeights(Quantize(granularity="per-tensor")))
    program = load_program(quantized.save(tmp_path / "m.mlpackage"))
    executor = Weighing()
    run(program, DecompressWeights(), executor=executor, scratch=tmp_path)
    assert max(executor.there) < 4000
    assert max(executor.back) < 1000


def custom(values: Any, counts: Any) -> Any:
    """Sixteen entries from the least to the greatest value."""
    return np.linspace(values[0], values[-1], 16)


def test_a_function_for_tables_by_its_name_goes_to_processes(tmp_path: Path, processes: Executor) -> None:
    by_function = PalettizeWeights(Palettize(4, lut_function=custom))
    own = run(linear(numbers(64, 64)), by_function)
    others = run(linear(numbers(64, 64)), by_function, executor=processes, scratch=tmp_path)
    assert saved(own, tmp_path) == saved(others, tmp_path)


def test_what_does_not_pickle_is_an_error_that_says_so(tmp_path: Path, processes: Executor) -> None:
    nameless = PalettizeWeights(Palettize(4, lut_function=lambda values, counts: custom(values, counts)))
    with pytest.raises(ConfigError, match="the executor's workers cannot be sent the work on the weight w"):
        run(linear(numbers(64, 64)), nameless, executor=processes, scratch=tmp_path)
    assert not left(tmp_path)


# What is left behind


def left(folder: Path) -> list[str]:
    gc.collect()
    return [path.name for path in folder.iterdir() if path.suffix == ".scratch"]


def test_a_named_scratch_file_is_there_while_its_tensors_are_and_goes_with_them(tmp_path: Path, processes: Executor) -> None:
    result = run(linear(numbers(64, 64)), QuantizeWeights(), executor=processes, scratch=tmp_path)
    assert len(left(tmp_path)) == 1
    result.save(tmp_path / "m.mlpackage")
    del result
    assert not left(tmp_path)


@pytest.mark.parametrize("who", ["own", "threads", "processes"])
def test_a_workers_failure_is_raised_with_the_weight_and_leaves_nothing_behind(tmp_path: Path, who: str, processes: Executor) -> None:
    program = linears({f"w{i}": numbers(64, 64, seed=i) for i in range(4)})
    by_function = PalettizeWeights(Palettize(4, lut_function=failing))
    with ThreadPoolExecutor(2) as threads, pytest.raises(PassError, match="palettize-weights failed: RuntimeError: on purpose") as raised:
        run(program, by_function, executor={"own": None, "threads": threads, "processes": processes}[who], scratch=tmp_path)
    assert raised.value.__notes__[0] in {f"at the weight w{i}" for i in range(4)}
    assert not left(tmp_path)


def test_a_worker_without_the_files_of_the_model_says_so_and_lives_on(tmp_path: Path, processes: Executor) -> None:
    package = linear(numbers(64, 64)).save(tmp_path / "m.mlpackage")
    program = load_program(package)
    shutil.rmtree(package)
    with pytest.raises(PackageError, match=r"weights/weight\.bin cannot be read: No such file") as raised:
        run(program, QuantizeWeights(), executor=processes, scratch=tmp_path)
    assert run(linear(numbers(64, 64)), QuantizeWeights(), executor=processes, scratch=tmp_path).report.weights[0].skipped is None
    assert raised.value.__notes__ == ["at the weight w", "in pass quantize-weights"]


def test_a_function_that_answers_with_no_table_is_told_of_with_the_weight(tmp_path: Path, processes: Executor) -> None:
    by_function = PalettizeWeights(Palettize(2, lut_function=custom))
    with pytest.raises(PassError, match="CodebookError: the codebook has 16 entries, and a table has 1 to 4") as raised:
        run(linear(numbers(64, 64)), by_function, executor=processes, scratch=tmp_path)
    assert raised.value.__notes__ == ["at the weight w", "in pass palettize-weights"]
    assert not left(tmp_path)


def failing(*_: Any) -> Any:
    raise RuntimeError("on purpose")


def dying(values: Any, counts: Any) -> Any:
    """A worker that is gone, as one that the system kills for its memory."""
    os._exit(1)


def test_a_worker_that_dies_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    weight_pass = PalettizeWeights(Palettize(4, lut_function=dying))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool, pytest.raises(PassError, match="BrokenProcessPool"):
        run(linear(numbers(64, 64)), weight_pass, executor=pool, scratch=tmp_path)
    assert not left(tmp_path)


INTERRUPTED: Final = """
import multiprocessing, os, signal, sys
from concurrent.futures import ProcessPoolExecutor
import mlpasses as mp

def interrupt(pass_name, done, total, what):
    if done:
        os.kill(os.getpid(), signal.SIGINT)

def main(package, scratch, who):
    pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) if who == "processes" else None
    mp.run(mp.load(package), mp.QuantizeWeights(), progress=mp.ProgressCallback(interrupt), executor=pool, scratch=scratch)
    sys.exit("it went on")

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.parametrize("who", ["own", "processes"])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, who: str) -> None:
    package = linears({f"w{i}": numbers(512, 512, seed=i) for i in range(4)}).save(tmp_path / "m.mlpackage")
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ended = subprocess.run(
        [sys.executable, str(script), str(package), str(scratch), who], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == -signal.SIGINT, ended.stderr
    assert "KeyboardInterrupt" in ended.stderr
    assert list(scratch.iterdir()) == []


# Progress


def test_progress_counts_the_bytes_of_the_weights() -> None:
    heard: list[tuple[int, int]] = []
    program = zoo(IOS18, FP32)
    run(program, QuantizeWeights(SMALL), progress=ProgressCallback(lambda title, done, total, what: heard.append((done, total))))
    assert heard[0] == (0, sum(row.before for row in run(program, QuantizeWeights(SMALL)).report.weights))
    assert heard[-1][0] == heard[-1][1]
    assert len(heard) == 1 + len(weights_of(program))


def weights_of(program: Program) -> list[str]:
    return [row.name for row in run(program, QuantizeWeights(SMALL)).report.weights]
