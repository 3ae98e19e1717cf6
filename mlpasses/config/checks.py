"""Checks of options: what is wrong with a setting is said when it is made, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from attrs import Attribute

from mlpasses.errors import ConfigError

PYTHON_ONLY: Final = {"python only": True}
"""The metadata of an option that recipes and the command line do not have: no plain data can state it."""

Check: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]


def one_of(*allowed: object) -> Check:
    """The check that an option is one of these words or numbers."""

    def check(config: Any, attribute: Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or value not in allowed:
            listed = f"{', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
            raise ConfigError(f"{attribute.name} of {type(config).__name__} has to be {listed}, not {value!r}")

    return check


def at_least(least: int) -> Check:
    """The check that an option is an integer, and not below `least`."""

    def check(config: Any, attribute: Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{attribute.name} of {type(config).__name__} has to be an integer of at least {least}, not {value!r}")

    return check


def whole_number(config: Any, attribute: Attribute[Any], value: Any) -> None:
    """The check that an option is an integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{attribute.name} of {type(config).__name__} has to be an integer, not {value!r}")


def share(config: Any, attribute: Attribute[Any], value: Any) -> None:
    """The check that an option is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{attribute.name} of {type(config).__name__} has to be a number from 0 to 1, not {value!r}")


def not_negative(config: Any, attribute: Attribute[Any], value: Any) -> None:
    """The check that an option is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"{attribute.name} of {type(config).__name__} has to be a finite number of at least 0, not {value!r}")


def as_tuple(value: Any) -> Any:
    """A list as a tuple: what Python users write, as YAML does."""
    return tuple(value) if isinstance(value, list) else value


def block_sizes(config: Any, attribute: Attribute[Any], value: Any) -> None:
    """The check that an option is a block size of at least 1, or one for each axis, where 0 stands for the whole axis."""
    sizes = value if isinstance(value, tuple) else (value,)
    least = 0 if isinstance(value, tuple) else 1
    if not sizes or any(isinstance(size, bool) or not isinstance(size, int) or size < least for size in sizes):
        raise ConfigError(
            f"{attribute.name} of {type(config).__name__} has to be an integer of at least 1, or one of at least 0 for each axis "
            f"(0: the whole axis), not {value!r}"
        )
