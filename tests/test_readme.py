"""The README and the pages on recipes and the command line say what is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mlpasses.cli.main import COMMANDS
from mlpasses.recipe import entries_in, pipeline_of
from tests.cli.conftest import Run, run

__all__ = ["run"]  # the fixture

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = ("README.md", "docs/recipes.md", "docs/cli.md")


def fenced(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [code for found, code in FENCE.findall(text) if found == language]


def steps(command: str) -> list[list[str]]:
    """The commands of a line joined by &&."""
    return [shlex.split(part) for part in command.split("&&")]


def test_there_are_two_commands_each_of_one_line() -> None:
    assert [command.count("\n") for command in fenced("sh")] == [1, 1]


def test_the_first_command_installs_and_runs_the_main_job(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    venv, install, job = steps(fenced("sh")[0])
    assert venv == ["python3", "-m", "venv", ".venv"]
    assert install == [".venv/bin/pip", "install", "-q", "."]
    assert job[0] == ".venv/bin/mlpasses"
    output = job.index("-o") + 1
    ran = run(*job[1:output], tmp_path / "out.mlpackage", *job[output + 1 :])
    assert (ran.code, ran.err) == (0, "")
    shown = re.sub(r"\d\.\d s", "", ran.out.replace(str(tmp_path / "out.mlpackage"), job[output]))
    for line in fenced("")[0].splitlines():
        if line != "…":
            assert re.sub(r"\d\.\d s", "", line) in shown.splitlines()


def test_the_second_command_installs_the_test_extra_and_runs_what_ci_runs() -> None:
    venv, install, tests = steps(fenced("sh")[1])
    assert venv == ["python3", "-m", "venv", ".venv"]
    assert install == [".venv/bin/pip", "install", "-q", ".[test]"]
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert shlex.join(tests).removeprefix(".venv/bin/") in ci


@pytest.mark.parametrize("command", re.findall(r"`(mlpasses \w+ M -o OUT[^`]*)`", README))
def test_the_shorthands_run(run: Run, tmp_path: Path, command: str) -> None:
    given = {"M": str(ROOT / "docs/examples/keyword-spotter.mlpackage"), "OUT": str(tmp_path / "out.mlpackage")}
    ran = run(*(given.get(word, word) for word in shlex.split(command)[1:]))
    assert ran.code == 0
    assert (tmp_path / "out.mlpackage").is_dir()


def test_every_shorthand_is_there() -> None:
    assert set(re.findall(r"`mlpasses (\w+) M -o OUT", README)) == {"palettize", "quantize", "prune", "decompress"}


def test_ci_is_executable_and_checks_lint_types_and_tests() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111 == 0o111
    text = script.read_text(encoding="utf-8")
    assert all(step in text for step in ("ruff check", "mypy --strict", "python -m pytest"))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_recipe_on_the_pages_loads(page: str) -> None:
    for code in fenced("yaml", page):
        pipeline_of(entries_in(code, page))


def test_the_readmes_recipe_is_the_examples() -> None:
    example = ROOT / "docs/examples/quantize.yaml"
    assert pipeline_of(entries_in(fenced("yaml")[0], "README.md")) == pipeline_of(entries_in(example.read_bytes(), str(example)))


def test_the_error_on_the_recipes_page_is_the_error_that_comes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = "version: 1\npasses:\n  - raise-opset: iOS18\n  - quantize-weights: {dtyp: int8}\n  - dead-cod\n"
    Path("encoder-w8.yaml").write_text(wrong, encoding="utf-8")
    assert run("run", "m", "encoder-w8.yaml", "-o", "out").err == fenced("", "docs/recipes.md")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_on_the_command_line_has_every_command(name: str) -> None:
    headings = re.findall(r"^## `mlpasses ([a-z| ]+)", (ROOT / "docs/cli.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert name in " ".join(headings).split()
