"""`Pipeline`: an ordered composition of passes, itself a pass."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from ir.core import Program
from mlpasses.context import Context
from mlpasses.errors import PassError
from mlpasses.passes import Pass


@frozen(init=False)
class Pipeline(Pass):
    """Runs passes one after the other. Pipelines nest."""

    passes: tuple[Pass, ...]

    def __init__(self, *passes: Pass) -> None:
        """A pipeline of `passes`.

        Raises:
            PassError: an argument is no pass: a class instead of an instance of it, most often.
        """
        for given in passes:
            if isinstance(given, Pass):
                continue
            if isinstance(given, type) and issubclass(given, Pass):
                raise PassError(f"a pipeline takes passes, and {given.__name__} is a class: write {given.__name__}()")
            raise PassError(f"a pipeline takes passes, and {given!r} is none")
        object.__setattr__(self, "passes", passes)

    def apply(self, program: Program, context: Context) -> int:
        """Runs the passes without the checks of `mlpasses.run`; answers with the sum of their changes."""
        return sum(each.apply(program, context) for each in self.passes)

    def flat(self) -> Iterator[Pass]:
        """The passes in the order in which they run, nested pipelines opened."""
        for each in self.passes:
            if isinstance(each, Pipeline):
                yield from each.flat()
            else:
                yield each

    def __len__(self) -> int:
        return len(self.passes)

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)
