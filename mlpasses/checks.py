"""What is wrong with a pipeline whatever the program."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from mlpasses.errors import ConfigError
from mlpasses.findings import check_rules
from mlpasses.passes import Pass
from mlpasses.pipeline import Composite
from mlpasses.rules import Rules


def check_pipeline(pipeline: Pass) -> list[str]:
    """What is wrong with the rules of a pass, or of the passes of a pipeline: sentences, with the place where it is known."""
    return [finding for each in _leaves(pipeline) for finding in _findings(each)]


def _leaves(each: Pass) -> Iterator[Pass]:
    if isinstance(each, Composite):
        yield from each.flat()
    else:
        yield each


def _findings(each: Pass) -> Iterator[str]:
    configs: tuple[type, ...] = getattr(each, "configs", ())
    kind: type = type(each)
    for field in attrs.fields(kind) if attrs.has(kind) else ():
        rules = getattr(each, field.name)
        if not isinstance(rules, Rules):
            continue
        yield from map(str, check_rules(rules))
        try:
            if configs:
                rules.expect(*configs)
        except ConfigError as error:
            yield f"{each.name}: {error}"
