"""The bar on the terminal."""

from __future__ import annotations

from contextlib import suppress

import pytest

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
