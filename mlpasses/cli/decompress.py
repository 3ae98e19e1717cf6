"""`mlpasses decompress MODEL -o OUT`"""

from __future__ import annotations

import click

from mlpasses.cli.common import Settings, common_options
from mlpasses.cli.shorthand import Shorthand, shorthand_options


@click.command("decompress")
@shorthand_options
@common_options
def command(settings: Settings, shorthand: Shorthand) -> int:
    """Decompress the weights of MODEL: store them as the numbers that they stand for, whatever form they are in.

    \b
      mlpasses decompress M-w4.mlpackage -o M-dense.mlpackage
    """
    from mlpasses.compress.decompress import DecompressWeights
    from mlpasses.pipeline import Pipeline

    return shorthand.carry_out(lambda program: Pipeline(DecompressWeights()), settings)
