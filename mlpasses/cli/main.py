"""`mlpasses`: finds the command, and turns what goes wrong into a sentence and an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from ir.collector import collector_paused
from mlpasses.cli.common import Settings

COMMANDS: Final = {
    "run": ("mlpasses.cli.run", "Run a recipe, or passes given one by one, over a model."),
    "plan": ("mlpasses.cli.plan", "Show what a recipe would do to a model."),
    "palettize": ("mlpasses.cli.palettize", "Store the weights of a model as indices into tables of few values."),
    "quantize": ("mlpasses.cli.quantize", "Store the weights of a model as integers of 8 or 4 bits with scales."),
    "prune": ("mlpasses.cli.prune", "Let the smallest elements of the weights of a model be zero."),
    "decompress": ("mlpasses.cli.decompress", "Store the weights of a model as plain numbers again."),
    "check": ("mlpasses.cli.check", "Say what is wrong with a recipe, by itself or for a model."),
    "init": ("mlpasses.cli.init", "Write a recipe for a model, to start from."),
    "bisect": ("mlpasses.cli.bisect", "Find the pass, and the rewrite, after which a check of yours fails."),
    "inspect": ("mlpasses.cli.inspect", "Show what a model holds: interface, ops, weights, text."),
    "diff": ("mlpasses.cli.diff", "Show in what two models differ."),
    "recipe": ("mlpasses.cli.recipe", "Print the recipe that made a model, or run it again and compare."),
    "passes": ("mlpasses.cli.passes", "List the passes, or explain one."),
    "schema": ("mlpasses.cli.schema", "Print the JSON Schema of recipes, for editors."),
}
"""Command → the module whose `command` it is, and its line in the help, which then costs no import."""

DONE: Final = 0
CHECK_FAILED: Final = 1
BAD_INPUT: Final = 2
UNSUPPORTED: Final = 3
INTERNAL: Final = 4
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
TERMINATED: Final = 143


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        with collector_paused():  # what modules define is no garbage
            command: click.Command = import_module(found[0]).command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from mlpasses.registry import suggest

            raise click.UsageError(f"there is no command {name!r}; {suggest(name, list(COMMANDS))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM arrived. It goes the way of Ctrl-C, which whoever catches errors lets through."""


def _print_version(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    if given and not ctx.resilient_parsing:
        import mlpasses as package

        click.echo(f"mlpasses {package.__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version.")
def commands() -> None:
    """A graph-pass compiler for Core ML ML Programs.

    Exit codes: 0 done, 1 a check failed, 2 bad input or recipe, 3 unsupported model, 4 internal error.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, that of the process where none is given; answers with the exit code and never raises."""
    settings = Settings()
    if argv is None:
        signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show × is no reason to fail
    try:
        code = _invoke(list(sys.argv[1:] if argv is None else argv), settings)
        if sys.stdout is not None:  # it is where the process was started without one, as by `>&-`
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has gone; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort) as error:
        _tell("interrupted")
        return TERMINATED if isinstance(error, _TerminatedError) else INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        _tell(error.format_message())
        return BAD_INPUT
    except click.ClickException as error:
        return _refuse(error)
    except click.exceptions.Exit as error:
        return error.exit_code
    except Exception as error:
        return _explain(error, verbose=settings.verbose)
    finally:
        if argv is None:
            gc.freeze()  # the process ends here, which collects twice what goes with it anyway: 20 to 30 ms
    return code


def _invoke(arguments: list[str], settings: Settings) -> int:
    with commands.make_context("mlpasses", arguments, obj=settings) as ctx:
        code: Any = commands.invoke(ctx)
    return code if isinstance(code, int) else DONE


def _tell(text: str) -> None:
    """Writes to standard error; where that cannot be, the exit code has to do."""
    with suppress(OSError):
        click.echo(text, err=True)


def _refuse(error: click.ClickException) -> int:
    """A command line that is wrong."""
    message = error.format_message()
    ctx = getattr(error, "ctx", None)
    _tell(f"error: {message[:1].lower()}{message[1:]}")
    if ctx is not None:
        _tell(f"  see {ctx.command_path} --help")
    return BAD_INPUT


def _explain(error: Exception, *, verbose: bool) -> int:
    """An exception as sentences on stderr; answers with its exit code."""
    code = exit_code(error)
    _tell(f"error: {error or type(error).__name__}" if code != INTERNAL else _internal(error))
    for note in getattr(error, "__notes__", ()):
        _tell(f"  {note}")
    if code == INTERNAL:
        _tell("  this should not happen: please report it, with the command and what it prints with -v")
        if verbose:
            import traceback

            _tell("".join(traceback.format_exception(error)).removesuffix("\n"))
    return code


def _internal(error: Exception) -> str:
    from ir.diagnostics import MLPassesError

    return f"error: {error}" if isinstance(error, MLPassesError) else f"error: {type(error).__name__}: {error}"


def exit_code(error: Exception) -> int:
    """3 for a model that is no ML Program, 2 for anything else that is wrong with what was given, 4 for what is wrong with us."""
    from ir.diagnostics import MLPassesError, MutationError, UnsupportedModelError
    from mlpasses.errors import PassError

    if isinstance(error, UnsupportedModelError):
        return UNSUPPORTED
    if isinstance(error, MLPassesError) and not isinstance(error, PassError | MutationError):
        return BAD_INPUT
    return INTERNAL


def _terminate(signum: int, frame: object) -> NoReturn:
    """Lets `with` statements clean up."""
    raise _TerminatedError
