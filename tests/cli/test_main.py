"""Help, exit codes, errors: what holds for every command."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mlpasses
from ir.diagnostics import EvaluationError, InvalidProgramError, MutationError, PackageError, ParseError, UnsupportedModelError
from mlpasses.cli.main import COMMANDS, exit_code
from mlpasses.errors import ConfigError, PassError, RecipeError
from tests.cli.conftest import Run, patched

COMMAND = [sys.executable, "-c", "import sys; from mlpasses.cli.main import main; sys.exit(main())"]
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_help(run: Run, golden: Callable[[str], None]) -> None:
    golden(run("--help").text)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of(name: str, run: Run, golden: Callable[[str], None]) -> None:
    golden(run(name, "--help").text)


def test_no_command_gets_the_help_and_exit_code_2(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert "Commands:" in ran.err


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").out == f"mlpasses {mlpasses.__version__}\n"


def test_the_module_is_the_command(folder: Path) -> None:
    ran = subprocess.run([sys.executable, "-m", "mlpasses", "inspec"], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: there is no command 'inspec'; did you mean 'inspect'?\n  see mlpasses --help\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_output_that_finds_no_space_is_a_sentence(options: tuple[str, ...], folder: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ran = subprocess.run([*COMMAND, "passes", *options], env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (2, "error: standard output cannot be written: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_the_exit_code_is_the_same_where_an_error_cannot_be_written(folder: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ran = subprocess.run([*COMMAND, "inspect", "nowhere"], env=ENVIRONMENT, stderr=full, timeout=60)
    assert ran.returncode == 2


def test_without_a_standard_output_a_command_does_its_work(folder: Path) -> None:
    script = f"{shlex.join(COMMAND)} prune model.mlpackage -o out.mlpackage >&-"
    ran = subprocess.run(["sh", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert (folder / "out.mlpackage").is_dir()


def test_an_unknown_command_gets_the_nearest_one(run: Run) -> None:
    ran = run("inspec")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: there is no command 'inspec'; did you mean 'inspect'?\n  see mlpasses --help\n"


def test_an_unknown_option_is_named(run: Run) -> None:
    ran = run("inspect", "--opz", "m")
    assert ran.code == 2
    assert ran.err.startswith("error: no such option")
    assert ran.err.endswith("  see mlpasses inspect --help\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PackageError("x"), 2),
        (RecipeError("x"), 2),
        (ConfigError("x"), 2),
        (ParseError("x", 1, 1), 2),
        (EvaluationError("x"), 2),
        (InvalidProgramError([], "x"), 2),
        (UnsupportedModelError("x"), 3),
        (PassError("x"), 4),
        (MutationError("x"), 4),
        (ZeroDivisionError("x"), 4),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_an_expected_error_is_a_sentence_and_its_notes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ConfigError("it does not fit")
    error.add_note("in pass raise-opset (after dead-code)")
    patched(monkeypatch, "mlpasses.cli.inspect.load", error)
    ran = run("inspect", "m", "-v")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: it does not fit\n  in pass raise-opset (after dead-code)\n")


def test_an_internal_error_asks_for_a_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "mlpasses.cli.inspect.load", ZeroDivisionError("division by zero"))
    ran = run("inspect", "m")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        "error: ZeroDivisionError: division by zero\n"
        "  this should not happen: please report it, with the command and what it prints with -v\n"
    )


def test_an_internal_error_shows_its_traceback_with_v(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "mlpasses.cli.inspect.load", ZeroDivisionError("division by zero"))
    assert "Traceback (most recent call last)" in run("inspect", "m", "-v").err


def test_an_interrupt_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "mlpasses.cli.inspect.load", KeyboardInterrupt())
    ran = run("inspect", "m")
    assert (ran.code, ran.err) == (130, "interrupted\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_running_leaves_nothing_behind(number: signal.Signals, code: int, folder: Path) -> None:
    """The process is stopped where it waits for its recipe, and where nothing was written; saving has its own tests."""
    recipe = folder / "recipe.fifo"
    os.mkfifo(recipe)
    command = [*COMMAND, "run", "model.mlpackage", recipe.name, "-o", "out.mlpackage"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with recipe.open("wb"):  # waits until the process has it open too
        process.send_signal(number)
    process.communicate(timeout=60)  # its end is there to be read: a signal that came just before a read does not interrupt that
    assert process.returncode == code
    assert sorted(path.name for path in folder.iterdir()) == ["model.mlpackage", "recipe.fifo"]


def test_a_reader_that_leaves_early_is_no_error(folder: Path) -> None:
    command = " ".join(f"'{part}'" for part in [*COMMAND, "inspect", "model.mlpackage", "--text"])
    done = subprocess.run(["bash", "-c", f"{command} | head -1; echo ${{PIPESTATUS[0]}}"], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "141")  # 0 where all was in the pipe before its reader left


def test_an_encoding_without_the_characters_is_no_error(folder: Path) -> None:
    command = [*COMMAND, "inspect", "model.mlpackage", "--weights"]
    done = subprocess.run(command, env={**ENVIRONMENT, "PYTHONIOENCODING": "latin-1"}, capture_output=True, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2500" in done.stdout
