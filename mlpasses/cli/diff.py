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
    """Show in what model B differs from model A: interface, opset, ops, weights, metadata; else the first difference.

    The exit code is 0 if they are the same, 1 if they differ. Other files of the packages are not compared.
    """
    from mlpasses.diff import diff

    found = diff(load(a, settings), load(b, settings))
    if settings.as_json:
        settings.data({"a": str(a), "b": str(b), **found.as_dict()})
    else:
        settings.say(str(found))
    return 1 if found else 0
