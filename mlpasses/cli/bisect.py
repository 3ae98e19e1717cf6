"""`mlpasses bisect MODEL [RECIPE] --check COMMAND`"""

from __future__ import annotations

import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import click
from attrs import define

from mlpasses.cli.common import Settings, common_options, load
from mlpasses.cli.pipelines import pipeline_from, pipeline_options, recipe_argument

if TYPE_CHECKING:
    from ir.core import Program
    from mlpasses.bisect import Culprit
    from mlpasses.pipeline import Pipeline

PLACE: Final = "{}"
"""Where the path of the package goes in the words of a check."""
PACKAGE: Final = "model.mlpackage"


@click.command("bisect")
@click.argument("model", type=click.Path(path_type=Path))
@recipe_argument
@click.option("--check", required=True, metavar="COMMAND", help="What is run over a package, whose path takes the place of {}.")
@pipeline_options
@click.option("--scratch", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The folder of scratch files.")
@common_options
def command(
    settings: Settings,
    model: Path,
    recipe: Path | None,
    check: str,
    entries: tuple[str, ...],
    overrides: tuple[str, ...],
    scratch: Path | None,
) -> int:
    """Find the first pass, and where it applies rules the first rewrite, after which COMMAND fails: its exit code is not 0.

    The recipe runs once. COMMAND runs over what some of the passes and rewrites left, as a binary search asks for them.
    It runs without a shell, and -v shows what it prints. The exit code is 1 if the check does not fail after the whole run.

    \b
      mlpasses bisect M.mlpackage cleanup.yaml --check 'python predict.py {}'
      mlpasses bisect M.mlpackage -p cleanup --check 'xcrun coremlcompiler compile {} /tmp/out'
    """
    from mlpasses.bisect import NotFailingError

    checker = _Check(_words(check), settings, scratch)
    pipeline = pipeline_from(recipe, entries, overrides)
    try:
        culprit = _bisect(model, pipeline, checker, settings, scratch)
    except NotFailingError as error:
        if settings.as_json:
            settings.data({"model": str(model), "found": False, "checks": checker.times, "reason": str(error)})
        else:
            settings.say(str(error))
        return 1
    if settings.as_json:
        settings.data({"model": str(model), "found": True, "checks": checker.times, **_data(culprit)})
    else:
        settings.say("\n".join((f"the check fails first after {culprit}", *culprit.diff())))
    return 0


def _words(check: str) -> list[str]:
    """The words of a command.

    Raises:
        click.UsageError: its quotes are not closed, or it has no place for the path.
    """
    context = click.get_current_context()
    try:
        words = shlex.split(check)
    except ValueError as error:
        raise click.UsageError(f"--check {check!r} cannot be read: {error}", context) from error
    if not any(PLACE in word for word in words):
        raise click.UsageError(f"--check {check!r} has no {PLACE}, where the path of the package goes", context)
    return words


@define
class _Check:
    """Runs a command over programs."""

    words: list[str]
    settings: Settings
    scratch: Path | None
    times: int = 0

    def fails(self, program: Program) -> bool:
        """Whether the command ends with another exit code than 0, or by a signal.

        Raises:
            ConfigError: it cannot be started.
        """
        from mlpasses.errors import ConfigError

        self.times += 1
        shown = self.settings.verbose
        with TemporaryDirectory(prefix="mlpasses-bisect-", dir=self.scratch) as folder:
            path = program.save(Path(folder) / PACKAGE)
            words = [word.replace(PLACE, str(path)) for word in self.words]
            try:
                # Standard output is for what this command finds.
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if shown else subprocess.DEVNULL,
                    stderr=subprocess.STDOUT if shown else subprocess.DEVNULL,
                    check=False,
                )
            except OSError as error:
                raise ConfigError(f"the check cannot be run: {words[0]}: {error.strerror or error}") from error
        if shown:
            click.echo(f"check {self.times}: exit code {done.returncode}", err=True)
            click.echo(done.stdout.decode(errors="backslashreplace"), err=True, nl=False)
        return done.returncode != 0


def _bisect(model: Path, pipeline: Pipeline, check: _Check, settings: Settings, scratch: Path | None) -> Culprit:
    from mlpasses.bisect import bisect
    from mlpasses.progress import TerminalProgress

    program = load(model, settings)
    shown = not settings.quiet and sys.stderr.isatty()
    with TerminalProgress() if shown else nullcontext() as progress:
        return bisect(program, pipeline, check.fails, progress=progress, scratch=scratch)


def _data(culprit: Culprit) -> dict[str, Any]:
    rewrite = culprit.rewrite
    return {
        "pass": {"number": culprit.number, "of": culprit.of, "name": culprit.each.name, "text": str(culprit.each)},
        "rewrite": None
        if rewrite is None
        else {"number": rewrite.number, "of": rewrite.of, "rule": rewrite.rule, "where": rewrite.where},
        "diff": culprit.diff(),
    }
