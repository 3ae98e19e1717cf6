"""`Pipeline` and `Repeat`: passes made of passes.

A composite says in which order its passes run, and leaves running them to whoever drives it: `mlpasses.run` verifies and times each one,
`apply` just applies them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, TypeAlias

from attrs import Attribute, evolve, field, frozen

from ir.core import Program
from mlpasses.config.checks import at_least
from mlpasses.context import Context
from mlpasses.contract import Preserved
from mlpasses.errors import ConfigError, PassError
from mlpasses.passes import Pass
from mlpasses.patterns import source_text

Step: TypeAlias = Callable[[Pass], int]
"""Runs one pass and answers with the number of its changes."""
Which: TypeAlias = str | type[Pass]
"""A pass of a pipeline, by its text name or its class."""


def check_program(program: object) -> None:
    """Refuses what is no program.

    Raises:
        PassError: it is something else: the path of a package, most often.
    """
    if not isinstance(program, Program):
        raise PassError(f"passes run over a program, and {program!r} is none: mlpasses.load(path) makes one of a package")


class Composite(Pass):
    """A pass that consists of others."""

    preserves: ClassVar[frozenset[Preserved]] = frozenset()
    """Empty: what its passes preserve (`kept`), and each of them is held to that by itself."""

    @abstractmethod
    def drive(self, step: Step, context: Context) -> int:
        """Lets `step` run the passes in their order; answers with the number of changes."""

    @abstractmethod
    def parts(self) -> tuple[Pass, ...]:
        """The passes that it consists of, in order."""

    def kept(self) -> frozenset[Preserved]:
        return frozenset(Preserved).intersection(*(each.kept() for each in self.parts()))

    def apply(self, program: Program, context: Context) -> int:
        """Runs the passes without the checks of `mlpasses.run`; answers with the sum of their changes."""
        return self.drive(lambda each: each.apply(program, context), context)

    def flat(self) -> Iterator[Pass]:
        """The passes that are no composites, in order, each where it stands."""
        for each in self.parts():
            if isinstance(each, Composite):
                yield from each.flat()
            else:
                yield each


@frozen(init=False)
class Pipeline(Composite):
    """Runs passes one after the other. Pipelines nest, and are edited by the names of their passes; editing makes a new one.

    An edit reaches into nested pipelines and repeats; any other composite is one pass to it. Where a pass occurs several times, `nth`
    says which is meant, counting from 0; `without` takes them all unless told.
    """

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
            hint = f": mlpasses.parse_pipeline({source_text(given)}) makes one of text" if isinstance(given, str) else ""
            raise PassError(f"a pipeline takes passes, and {given!r} is none{hint}")
        object.__setattr__(self, "passes", passes)

    def drive(self, step: Step, context: Context) -> int:
        return sum(step(each) for each in self.passes)

    def parts(self) -> tuple[Pass, ...]:
        return self.passes

    def insert_before(self, which: Which, *passes: Pass, nth: int | None = None) -> Pipeline:
        """The pipeline with `passes` just before a pass of it.

        Raises:
            ConfigError: it has no such pass, or several and `nth` does not say which.
        """
        return self._edit(which, lambda found: (*passes, found), nth)

    def insert_after(self, which: Which, *passes: Pass, nth: int | None = None) -> Pipeline:
        """The pipeline with `passes` just behind a pass of it. Raises as `insert_before`."""
        return self._edit(which, lambda found: (found, *passes), nth)

    def replace(self, which: Which, *passes: Pass, nth: int | None = None) -> Pipeline:
        """The pipeline with `passes` in the place of a pass of it. Raises as `insert_before`."""
        return self._edit(which, lambda found: passes, nth)

    def without(self, which: Which, *, nth: int | None = None) -> Pipeline:
        """The pipeline without a pass, wherever it occurs; with `nth`, without that occurrence.

        Raises:
            ConfigError: it has no such pass.
        """
        occurrences = self._occurrences(which)
        return self._edited(which, lambda found: (), occurrences if nth is None else [self._pick(which, occurrences, nth)])

    def __len__(self) -> int:
        return len(self.passes)

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)

    def _edit(self, which: Which, change: Callable[[Pass], Iterable[Pass]], nth: int | None) -> Pipeline:
        occurrences = self._occurrences(which)
        if nth is None and len(occurrences) > 1:
            count = len(occurrences)
            raise ConfigError(f"the pipeline has {count} passes {_name(which)}: say which with nth=0 to nth={count - 1}")
        return self._edited(which, change, [self._pick(which, occurrences, nth or 0)])

    def _occurrences(self, which: Which) -> list[int]:
        """The numbers of the passes meant, counted over what can be edited."""
        found = [number for number, each in enumerate(_editable(self)) if _is(each, which)]
        if not found:
            names = ", ".join(dict.fromkeys(each.name for each in _editable(self))) or "none"
            raise ConfigError(f"the pipeline has no pass {_name(which)}; it has {names}")
        return found

    @staticmethod
    def _pick(which: Which, occurrences: list[int], nth: int) -> int:
        if not 0 <= nth < len(occurrences):
            raise ConfigError(f"the pipeline has {len(occurrences)} passes {_name(which)}, so there is none with nth={nth}")
        return occurrences[nth]

    def _edited(self, which: Which, change: Callable[[Pass], Iterable[Pass]], chosen: list[int]) -> Pipeline:
        numbers = iter(range(sum(1 for _ in _editable(self))))

        def edited(each: Pass) -> tuple[Pass, ...]:
            if isinstance(each, Pipeline):
                return (Pipeline(*(new for part in each.passes for new in edited(part))),)
            if isinstance(each, Repeat):
                parts = edited(each.body)
                return (evolve(each, body=parts[0] if len(parts) == 1 else Pipeline(*parts)),)
            return tuple(change(each)) if next(numbers) in chosen else (each,)

        return Pipeline(*(new for part in self.passes for new in edited(part)))


def _is_pass(each: Repeat, attribute: Attribute[Pass], value: object) -> None:
    if not isinstance(value, Pass):
        Pipeline(value)  # type: ignore[arg-type]  # it says what is wrong


@frozen
class Repeat(Composite):
    """Runs a pass or pipeline again and again until it changes nothing, `limit` times at most.

    Where it still changes something after that, the context has a note that says so.
    """

    body: Pass = field(validator=_is_pass)
    limit: int = field(default=10, validator=at_least(1))

    def drive(self, step: Step, context: Context) -> int:
        total = 0
        for _ in range(self.limit):
            changes = step(self.body)
            if not changes:
                return total
            total += changes
        context.pass_name = self.name
        context.note(self.body.name, f"still changing after {self.limit} rounds: the program is valid, and not at a fixed point")
        return total

    def parts(self) -> tuple[Pass, ...]:
        return (self.body,)


def _editable(each: Pass) -> Iterator[Pass]:
    """The passes that an edit of a pipeline can name, in order."""
    if isinstance(each, Pipeline | Repeat):
        for part in each.parts():
            yield from _editable(part)
    else:
        yield each


def _is(each: Pass, which: Which) -> bool:
    return each.name == which if isinstance(which, str) else type(each) is which


def _name(which: Which) -> str:
    return which if isinstance(which, str) else which.name
