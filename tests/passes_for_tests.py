"""Passes whose options have every type that a recipe can state. They do nothing."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from attrs import field, frozen, validators

from ir.core import Program
from ir.opset import IOS17, Opset
from ir.types import FP16, DType
from mlpasses import registry
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.passes import Pass, ProgramPass
from mlpasses.rules import Rules, as_rules
from mlpasses.select import Filter, nothing


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


@frozen
class Inner:
    """A config inside of options."""

    ratio: float = 0.5
    label: str | None = None


@frozen
class Scheme:
    """A config with a rule of its own."""

    nbits: int = field(default=8, validator=validators.in_([2, 4, 8]))
    """Bits of an index."""
    group: int | None = None
    mode: Literal["fast", "exact"] = "exact"

    def __attrs_post_init__(self) -> None:
        if self.group is not None and self.nbits == 2:
            raise ConfigError("groups need more than 2 bits")


class _DoesNothing(ProgramPass):
    def run(self, program: Program, cx: Context) -> int:
        return 0


@frozen
class ManyOptions(_DoesNothing):
    """Takes an option of each type.

    The second paragraph is not part of the summary.
    """

    flag: bool = False
    """Whether."""
    count: int = 1
    ratio: float = 1.0
    """How much.

    In two paragraphs.
    """
    text: str = "plain"
    maybe: int | None = None
    either: int | str = 0
    words: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    sizes: Mapping[str, int] = field(factory=dict)
    level: Level = Level.LOW
    path: Path | None = None
    dtype: DType = FP16
    opset: Opset = IOS17
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()
    anything: Any = None


@frozen
class OneConfig(_DoesNothing):
    """Takes the options of its config."""

    config: Scheme = Scheme(nbits=4)


@frozen
class OneOption(_DoesNothing):
    """Takes one option, which has to be given."""

    target: str


@frozen
class NoOptions(_DoesNothing):
    """Takes none."""


@frozen
class Around(_DoesNothing):
    """Takes another pass."""

    inner: Pass
    times: int = 2


@frozen
class Drop:
    """Another config."""

    share: float = 0.5


@frozen
class Compress(_DoesNothing):
    """Takes rules over two configs, and an option of its own."""

    rules: Rules = field(default=Rules(Scheme(nbits=2)), converter=as_rules)
    configs: ClassVar[tuple[type, ...]] = (Scheme, Drop)
    passes: int = 1


@frozen
class Keep(_DoesNothing):
    """Takes a filter."""

    keep: Filter = nothing


CLASSES = (ManyOptions, OneConfig, OneOption, NoOptions, Around, Compress, Keep)


@contextmanager
def registered() -> Iterator[None]:
    """Lets the classes be known by their names."""
    targets = {kind.name: f"{kind.__module__}:{kind.__name__}" for kind in CLASSES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, **targets})
        yield
