"""`mlpasses palettize MODEL -o OUT`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from mlpasses.cli.common import Settings, common_options
from mlpasses.cli.config_options import config_options
from mlpasses.cli.shorthand import Choice, Shorthand, choice_options, scheme_pipeline, shorthand_options
from mlpasses.config import Palettize

if TYPE_CHECKING:
    from mlpasses.yamltree import Node


@click.command("palettize")
@config_options(Palettize)
@choice_options
@shorthand_options
@common_options
def command(settings: Settings, shorthand: Shorthand, choice: Choice, options: Mapping[str, Node]) -> int:
    """Palettize the weights of MODEL: store them as indices into tables of few values.

    \b
      mlpasses palettize M.mlpackage -o M-w4.mlpackage --nbits 4
      mlpasses palettize M.mlpackage -o M-w4.mlpackage --nbits 4 --group-size 16 --op-type conv,linear
      mlpasses palettize M.mlpackage -o M-w6.mlpackage --nbits 6 --skip '*embedding*' --skip lm_head_weight
      mlpasses palettize --nbits 4 --group-size 16 --print-recipe > w4.yaml

    Tables for groups of channels, vectors, 3 bits and scales need iOS18, one table of 1, 2, 4, 6 or 8 bits iOS16.
    """
    return shorthand.carry_out(scheme_pipeline("palettize-weights", "palettize", options, choice, settings), settings)
