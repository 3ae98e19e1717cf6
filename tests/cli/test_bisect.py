"""`mlpasses bisect`"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.rewrite.checks import program_of

TEXT = """
inputs %x: fp16[4]
%first: fp32[4] = cast(x=%x, dtype="fp32")
%second: fp16[4] = cast(x=%first, dtype="fp16")
%c: fp16[4] = relu(x=%second)
%third: fp32[4] = cast(x=%c, dtype="fp32")
%fourth: fp16[4] = cast(x=%third, dtype="fp16")
%y: fp16[4] = tanh(x=%fourth)
"""


@pytest.fixture
def casts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in the working folder on which `merge-casts` makes two rewrites."""
    monkeypatch.chdir(tmp_path)
    return program_of(TEXT).save("casts.mlpackage")


def check(script: str) -> str:
    """A command that runs a script, which knows the bytes of the model as `data`."""
    prelude = "import sys, pathlib; data = (pathlib.Path(sys.argv[1]) / 'Data/com.apple.CoreML/model.mlmodel').read_bytes(); "
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(prelude + script)} {{}}"


HAS_THIRD = check("print('looking'); sys.exit(b'third' not in data)")
PASSES = ("-p", "sort-topologically", "-p", "merge-casts", "-p", "dead-code")


def test_pass_and_rewrite_are_named_with_their_diff(run: Run, casts: Path) -> None:
    ran = run("bisect", casts, *PASSES, "--check", HAS_THIRD)
    lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert lines[0] == "the check fails first after pass 2 of 3: merge-casts"
    assert lines[1].startswith("rewrite 2 of 2: merge-casts at cast %")
    assert lines[2].startswith("--- before merge-casts at cast %")
    assert any(line.startswith("-") and "%third" in line for line in lines)


def test_json(run: Run, casts: Path) -> None:
    data = json.loads(run("bisect", casts, *PASSES, "--check", HAS_THIRD, "--json").out)
    assert (data["found"], data["checks"]) == (True, 3)
    assert data["pass"] == {"number": 2, "of": 3, "name": "merge-casts", "text": "merge-casts"}
    assert (data["rewrite"]["number"], data["rewrite"]["of"], data["rewrite"]["rule"]) == (2, 2, "merge-casts")
    assert data["diff"][0].startswith("--- before merge-casts at cast")


def test_quiet_says_it_by_its_exit_code(run: Run, casts: Path) -> None:
    assert run("bisect", casts, *PASSES, "--check", HAS_THIRD, "-q").text == "exit code 0\n--- stdout\n--- stderr\n"


def test_run_that_does_not_fail_is_exit_code_1(run: Run, casts: Path) -> None:
    ran = run("bisect", casts, *PASSES, "--check", check("sys.exit(0)"))
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == "there is nothing to find: the check does not fail on what the whole run leaves\n"
    data = json.loads(run("bisect", casts, *PASSES, "--check", check("sys.exit(0)"), "--json").out)
    assert (data["found"], data["checks"]) == (False, 2)


def test_model_that_fails_already_is_bad_input(run: Run, casts: Path) -> None:
    ran = run("bisect", casts, *PASSES, "--check", check("sys.exit(3)"))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: the check fails on the program before any pass")


def test_check_that_a_signal_ends_fails(run: Run, casts: Path) -> None:
    killed = check("import os; b'third' in data or os.abort()")
    assert run("bisect", casts, *PASSES, "--check", killed).code == 0


def test_verbose_shows_what_the_check_prints(run: Run, casts: Path) -> None:
    ran = run("bisect", casts, *PASSES, "--check", HAS_THIRD, "-v", "--json")
    assert ran.err.startswith("check 1: exit code 0\nlooking\ncheck 2: exit code 1\nlooking\n")
    assert json.loads(ran.out)["found"]


def test_check_without_a_place_for_the_path_is_refused(run: Run, casts: Path) -> None:
    ran = run("bisect", casts, *PASSES, "--check", "true")
    assert ran.code == 2
    assert ran.err.startswith("error: --check 'true' has no {}, where the path of the package goes\n")


def test_check_with_open_quotes_is_refused(run: Run, casts: Path) -> None:
    ran = run("bisect", casts, *PASSES, "--check", "a 'b {}")
    assert ran.code == 2
    assert "cannot be read: No closing quotation" in ran.err


def test_check_that_is_no_program_is_bad_input(run: Run, casts: Path) -> None:
    ran = run("bisect", casts, *PASSES, "--check", "./no-such-program {}")
    assert (ran.code, ran.err) == (2, "error: the check cannot be run: ./no-such-program: No such file or directory\n")


def test_no_package_is_left_in_the_scratch_folder(run: Run, casts: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    where = check("sys.exit('scratch/mlpasses-bisect-' not in sys.argv[1] or b'third' not in data)")
    assert run("bisect", casts, *PASSES, "--check", where, "--scratch", "scratch").code == 0
    assert list((tmp_path / "scratch").iterdir()) == []
