"""`mlpasses init MODEL`"""

from __future__ import annotations

from pathlib import Path

import click

from mlpasses.cli.common import Settings, common_options, load, write_text


@click.command("init")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The recipe to write; standard output without.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing file.")
@common_options
def command(settings: Settings, model: Path, output: Path | None, force: bool) -> None:
    """Write a recipe for MODEL, to start from: it quantizes weights to 8 bits by op type, and names the largest in comments.

    \b
      mlpasses init M.mlpackage -o w8.yaml
      mlpasses plan M.mlpackage w8.yaml
    """
    from mlpasses.starter import starter_recipe

    text = starter_recipe(load(model, settings), model.name)
    if output is not None:
        write_text(output, text, overwrite=force)
    if settings.as_json:
        settings.data({"model": str(model), "output": output and str(output), "recipe": text})
    elif output is None:
        settings.say(text.removesuffix("\n"))
    else:
        settings.say(f"{output} is written; mlpasses plan {model} {output} shows what it would do")
