"""`mlpasses quantize MODEL -o OUT`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from mlpasses.cli.common import Settings, common_options
from mlpasses.cli.config_options import config_options
from mlpasses.cli.shorthand import Choice, Shorthand, choice_options, scheme_pipeline, shorthand_options
from mlpasses.config import Quantize

if TYPE_CHECKING:
    from mlpasses.yamltree import Node


@click.command("quantize")
@config_options(Quantize)
@choice_options
@shorthand_options
@common_options
def command(settings: Settings, shorthand: Shorthand, choice: Choice, options: Mapping[str, Node]) -> int:
    """Quantize the weights of MODEL linearly: store them as integers with scales.

    \b
      mlpasses quantize M.mlpackage -o M-w8.mlpackage
      mlpasses quantize M.mlpackage -o M-w4.mlpackage --dtype int4 --granularity per-block --block-size 32
      mlpasses quantize M.mlpackage -o M-w8.mlpackage --mode asymmetric --op-type linear --skip '*lm_head*'
      mlpasses quantize --dtype int4 --print-recipe > w4.yaml

    4-bit integers and blocks need iOS18, 8-bit integers for channels or the whole weight iOS16.
    """
    return shorthand.carry_out(scheme_pipeline("quantize-weights", "quantize", options, choice, settings), settings)
