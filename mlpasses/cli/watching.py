"""The options that watch a run: changes, statistics, dumps, reproducers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import define, field

if TYPE_CHECKING:
    from mlpasses.instruments import Instrument
    from mlpasses.instruments.statistics import Statistics
    from mlpasses.pipeline import Pipeline

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = click.Path(path_type=Path, file_okay=False)


@define
class Watching:
    """What the options say."""

    print_changes: bool = False
    statistics: bool = False
    dump: Path | None = None
    dump_passes: tuple[str, ...] = ()
    reproducer: Path | None = None
    counts: Statistics | None = field(default=None, init=False)

    def instruments(self, pipeline: Pipeline) -> list[Instrument]:
        """The instruments for a run of a pipeline.

        Raises:
            ConfigError: a pass that is to be dumped is not in the pipeline, or the reproducer's folder is not empty.
        """
        found: list[Instrument] = []
        if self.reproducer is not None:
            from mlpasses.instruments.reproducer import Reproducer

            found.append(Reproducer(self.reproducer))
        if self.dump is not None:
            from mlpasses.instruments.dump import Dump

            _check_names(self.dump_passes, pipeline)
            found.append(Dump(self.dump, self.dump_passes))
        elif self.dump_passes:
            raise click.UsageError("--dump-pass chooses what --dump writes: give --dump too", click.get_current_context())
        if self.print_changes:
            from mlpasses.instruments.changes import PrintChanges

            found.append(PrintChanges(lambda text: click.echo(text, err=True)))
        if self.statistics:
            from mlpasses.instruments.statistics import Statistics

            self.counts = Statistics()
            found.append(self.counts)
        return found


def watching_options(command: F) -> F:
    """Adds the options, and hands the command a `Watching` as `watching`."""

    @wraps(command)  # with the options that it has so far
    def called(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in ("print_changes", "statistics", "dump", "dump_passes", "reproducer")}
        return command(*arguments, watching=Watching(**given), **options)

    decorated: Any = called
    for option in (
        click.option("--reproducer", type=_FOLDER, help="If a pass fails: the folder for the program before it and what was left to run."),
        click.option("--dump-pass", "dump_passes", multiple=True, metavar="NAME", help="Dump around this pass only. Repeatable."),
        click.option("--dump", type=_FOLDER, help="The folder for the program's text before and after each pass."),
        click.option("--statistics", is_flag=True, help="Show the ops that each pass added and removed, by type."),
        click.option("--print-changes", is_flag=True, help="Print a diff of the program's text to stderr after each pass that changed it."),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _check_names(names: tuple[str, ...], pipeline: Pipeline) -> None:
    from mlpasses.errors import ConfigError
    from mlpasses.registry import suggest

    known = list(dict.fromkeys(each.name for each in pipeline.flat()))
    for name in names:
        if name not in known:
            raise ConfigError(f"the pipeline has no pass {name!r} to dump; {suggest(name, known)}")
