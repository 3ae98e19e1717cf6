"""`mlpasses prune MODEL -o OUT`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from mlpasses.cli.common import Settings, common_options
from mlpasses.cli.config_options import config_options
from mlpasses.cli.shorthand import Choice, Shorthand, choice_options, scheme_pipeline, shorthand_options
from mlpasses.config import NM, Magnitude, Threshold
from mlpasses.options import options_of
from mlpasses.passes import kebab

if TYPE_CHECKING:
    from mlpasses.yamltree import Node

N_M: Final = "--n-m"
CHOOSING: Final[Mapping[type, tuple[str, ...]]] = {
    Magnitude: ("sparsity", "block_size"),
    Threshold: ("threshold", "minimum_sparsity"),
    NM: ("n", "m"),
}
"""The options that say which way of pruning is meant."""


@click.command("prune")
@click.option(N_M, "n_m", metavar="N:M", help="Of each M channels in a row the N smallest magnitudes become zero, as in 2:4.")
@config_options(*CHOOSING, without=("n", "m"))
@choice_options
@shorthand_options
@common_options
def command(settings: Settings, shorthand: Shorthand, choice: Choice, options: Mapping[str, Node], n_m: str | None) -> int:
    """Prune the weights of MODEL: let their smallest elements be zero, and store no zeros.

    One of --sparsity (the default, 0.5), --threshold and --n-m says how:

    \b
      mlpasses prune M.mlpackage -o M-s75.mlpackage --sparsity 0.75
      mlpasses prune M.mlpackage -o M-sparse.mlpackage --threshold 0.001 --minimum-sparsity 0.3
      mlpasses prune M.mlpackage -o M-2of4.mlpackage --n-m 2:4 --op-type linear --skip '*lm_head*'
      mlpasses prune --sparsity 0.75 --print-recipe > s75.yaml

    Sparse weights need iOS16.
    """
    given = {**options, **_n_and_m(n_m)}
    config = _config(given)
    return shorthand.carry_out(scheme_pipeline("prune-weights", kebab(config.__name__), given, choice, settings), settings)


def _config(given: Mapping[str, Node]) -> type:
    """The way of pruning that the options mean: `Magnitude` where they leave it open."""
    chosen = {config: name for config, names in CHOOSING.items() for name in names if name in given}
    if len(chosen) > 1:
        flags = " and ".join(map(_flag, chosen.values()))
        raise click.UsageError(f"{flags} are different ways to prune: give one of them", click.get_current_context())
    config = next(iter(chosen), Magnitude)
    known = {option.name for option in options_of(config)}
    wrong = next((name for name in given if name not in known), None)
    if wrong is not None:
        beside = _flag(chosen.get(config, "sparsity"))
        raise click.UsageError(f"{_flag(wrong)} does not go with {beside}", click.get_current_context())
    return config


def _flag(name: str) -> str:
    return N_M if name in ("n", "m") else f"--{name.replace('_', '-')}"


def _n_and_m(text: str | None) -> dict[str, Node]:
    from mlpasses.yamltree import Mark, Node

    if text is None:
        return {}
    n, colon, m = text.partition(":")
    if not (colon and n.isdecimal() and m.isdecimal()):
        raise click.UsageError(f"{N_M} takes two numbers, as in 2:4, not {text!r}", click.get_current_context())
    mark = Mark(f"{N_M} {text}")
    return {"n": Node(mark, int(n)), "m": Node(mark, int(m))}
