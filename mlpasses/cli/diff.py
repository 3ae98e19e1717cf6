"""`mlpasses diff A B`"""

from __future__ import annotations

from pathlib import Path

import click

from mlpasses.cli.common import Settings, common_options, load


@click.command("diff")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@common_options
def command(settings: Settings, a: Path, b: Path) -> int:
    """Show in what the models A and B differ. The exit code is 0 if they are the same, 1 if they differ."""
    raise NotImplementedError
