"""Options and fixtures of the whole suite."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.corpus import corpus as corpus

ROOT = Path(__file__).parent.parent

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored, and processes that tests start inherit that

settings.register_profile("untimed", deadline=None)  # the first example compiles kernels, and the machine may be busy
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")
    parser.addoption("--bench", action="store_true", help="run the benchmarks, which compare with coremltools")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--bench"):
        return
    left_out = pytest.mark.skip(reason="a benchmark: --bench runs it")
    for item in items:
        if item.get_closest_marker("bench"):
            item.add_marker(left_out)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Compares text with the golden file that is named as the test: `golden/<test>.txt` beside the test's module."""
    name = request.node.name.removeprefix("test_").replace("[", "-").replace("]", "")
    path = Path(request.path).parent / "golden" / f"{name}.txt"

    def check(text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if not path.exists():
            pytest.fail(f"there is no golden file {path}: make it with --update-golden, and review it")
        assert text == path.read_text(encoding="utf-8"), f"{path.name} differs: --update-golden, then review the diff"

    return check


@pytest.fixture
def example() -> Path:
    """The model that ships with the project."""
    return ROOT / "docs/examples/keyword-spotter.mlpackage"
