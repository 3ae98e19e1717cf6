"""The program's text before and after passes, as files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ir.core import Program
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.instruments import Instrument
from mlpasses.passes import Pass


class Dump(Instrument):
    """Writes `003-dead-code.before.txt` and `003-dead-code.after.txt` for the third pass that runs, if it is a `dead-code`.

    Passes are those named in `names`, or all. A pass that fails has no text after it.

    Raises:
        ConfigError: a file cannot be written.
    """

    def __init__(self, folder: Path, names: Collection[str] = ()) -> None:
        self._folder = folder
        self._names = names
        self._number = 0

    def before(self, each: Pass, program: Program, context: Context) -> None:
        self._number += 1
        self._write(each, "before", program)

    def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
        self._write(each, "after", program)

    def _write(self, each: Pass, when: str, program: Program) -> None:
        if self._names and each.name not in self._names:
            return
        path = self._folder / f"{self._number:03}-{each.name}.{when}.txt"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_text(str(program), encoding="utf-8", errors="surrogatepass")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
