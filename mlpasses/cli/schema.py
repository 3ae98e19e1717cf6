"""`mlpasses schema`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlpasses.cli.common import Settings, common_options, write_text


@click.command("schema")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write; standard output without.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing file.")
@common_options
def command(settings: Settings, output: Path | None, force: bool) -> None:
    """Print the JSON Schema of recipes, with the passes that are installed, for completion and checks in editors.

    The first line of a recipe may name the file, which the YAML extension of VS Code and other editors look for:

    \b
      mlpasses schema -o recipe.schema.json
      # yaml-language-server: $schema=recipe.schema.json
    """
    from mlpasses.schema import recipe_schema

    schema, problems = recipe_schema()
    for problem in problems:
        settings.warn(problem)
    if output is None:
        settings.data(schema)
    else:
        write_text(output, json.dumps(schema, indent=2, ensure_ascii=False) + "\n", overwrite=force)
