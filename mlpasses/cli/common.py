"""What the commands share: their common options, loading with warnings, and printing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import define

if TYPE_CHECKING:
    from ir.core import Program

F = TypeVar("F", bound=Callable[..., Any])


@define
class Settings:
    """What the common options say, and printing as they say it. One a command line."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    def say(self, text: str) -> None:
        """Prints for people: to stdout, unless it is to be quiet or holds JSON."""
        if not self.quiet and not self.as_json:
            _print(text)

    def data(self, value: Any) -> None:
        """Prints for programs."""
        _print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))

    def warn(self, text: str) -> None:
        click.echo(f"warning: {text}", err=True)


def _print(text: str) -> None:
    """Writes to standard output.

    Raises:
        ConfigError: that cannot be, the disk being full where it leads to, for example.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        raise  # whoever reads it has had enough, which is no mistake
    except OSError as error:
        from mlpasses.errors import ConfigError

        raise ConfigError(f"standard output cannot be written: {error.strerror or error}") from error


def common_options(command: F) -> F:
    """Adds `--json`, `-q` and `-v` to a command, and hands it the `Settings` as its first argument."""
    decorated = click.pass_obj(command)
    for names, attribute, text in (
        (("-v", "--verbose"), "verbose", "Say more; show the traceback of an error."),
        (("-q", "--quiet"), "quiet", "Say nothing but warnings and errors; show no progress."),
        (("--json",), "as_json", "Print JSON to stdout."),
    ):
        decorated = click.option(
            *names, is_flag=True, expose_value=False, is_eager=True, callback=_setter(attribute), help=text
        )(decorated)
    return decorated  # type: ignore[return-value]  # click's decorators do not keep the type


def _setter(attribute: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def note(ctx: click.Context, option: click.Parameter, given: bool) -> None:
        if given:
            setattr(ctx.obj, attribute, True)

    return note


def load(path: Path, settings: Settings) -> Program:
    """Loads a model, and prints what is odd about its package."""
    from ir.mil.document import Document
    from ir.mil.load import load_program

    program = load_program(path)
    if isinstance(program.document, Document):
        for warning in program.document.warnings:
            settings.warn(warning)
    return program


def size_of(path: Path) -> int:
    """The bytes of a package's files, or of a file."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Writes a file whole or not at all.

    Raises:
        ConfigError: it exists and may not be replaced, or it cannot be written.
    """
    from mlpasses.errors import ConfigError

    if not overwrite and path.exists():
        raise ConfigError(f"{path} exists: choose another name, or replace it with --force")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
