"""`docs/passes.md`, out of what `mlpasses passes NAME --json` says of each pass and the example above the pass in its module.

    python -m tests.docs.passes_page        # writes the page anew
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

from mlpasses.cli.main import main
from mlpasses.passes import Pass
from mlpasses.pipeline import Composite, Pipeline
from mlpasses.registry import BUILT_IN, pass_class
from mlpasses.yamltree import dump_inline

PAGE: Final = Path(__file__).parents[2] / "docs" / "passes.md"

GROUPS: Final[Mapping[str, str]] = {
    "mlpasses.raising": "Opset",
    "mlpasses.compress": "Weights",
    "mlpasses.cleanup": "Clean-up",
    "mlpasses.pipeline": "Composition",
}
"""Where a pass lives → the heading that it stands under, in the order of the page."""

INTRO: Final = """\
# Passes

<!-- Made by `python -m tests.docs.passes_page`; edit the docstrings. -->

The passes that come with mlpasses. A pass has one name and one set of options wherever it is written: as an object in Python, in a
[recipe](recipes.md), on the [command line](cli.md).

```python
import mlpasses as mp

assert mp.parse_pipeline("fold-constants: {max_bytes: 4096}") == mp.Pipeline(mp.FoldConstants(max_bytes=4096))
```

`mlpasses passes` lists these and those of installed packages, `mlpasses passes NAME` says of one what this page does. Which scheme for
weights when is in [compression.md](compression.md), how to add a pass in [writing-passes.md](writing-passes.md). What a pass preserves is
checked: the interface and the opset after every pass of a run, the meaning (what functions compute, to the last bit) by the tests.
"""

RULES: Final = """\
Takes [rules](configuration.md) over {configs}, or the options of `{first}` by themselves, which are for every weight:"""

EXAMPLE: Final = re.compile(r"(?:^ {4}.*\n+)+", re.MULTILINE)


def page() -> str:
    """The text of the page."""
    return "\n".join([INTRO, *_overview(), *(line for group in GROUPS.values() for line in _section(group))]).rstrip() + "\n"


def names_in(group: str) -> list[str]:
    """The names of the built-in passes of a group."""
    return [name for name, target in BUILT_IN.items() if any(target.startswith(home) for home, each in GROUPS.items() if each == group)]


def _overview() -> Iterator[str]:
    yield "| pass | |"
    yield "|---|---|"
    for group in GROUPS.values():
        yield f"| **{group}** | |"
        for name in names_in(group):
            yield f"| [`{name}`](#{name}) | {_cell(pass_class(name).summary())} |"
    yield ""


def _section(group: str) -> Iterator[str]:
    yield f"## {group}\n"
    for name in names_in(group):
        yield from _about(pass_class(name), _said(name))


def _about(kind: type[Pass], said: dict[str, Any]) -> Iterator[str]:
    summary, _, rest = said["doc"].partition("\n")
    yield f"### `{kind.name}`\n\n{summary}\n"
    example = _example(kind)
    if example:
        yield _fenced(example)
    text, _, raises = rest.strip("\n").partition("Raises:\n")
    if text.strip():
        yield EXAMPLE.sub(lambda found: _fenced(found[0]) + "\n", text).strip("\n") + "\n"
    if issubclass(kind, Composite) and not said["options"] and kind is not Pipeline:
        yield "Its parts: " + ", ".join(f"`{each}`" for each in kind().parts()) + ".\n"
    if raises:
        yield "".join(f"- Raises `{error}`: {' '.join(why.split())}\n" for error, why in _raised(raises))
    yield _declaration(said) + "\n"
    configs: dict[str, list[dict[str, Any]]] = said.get("configs", {})
    if configs:
        yield RULES.format(configs=", ".join(f"`{config}: {{…}}`" for config in configs), first=next(iter(configs))) + "\n"
    yield from _table(said["options"])
    for config, options in configs.items():
        if len(configs) > 1:
            yield f"`{config}`:\n"
        yield from _table(options)


def _declaration(said: dict[str, Any]) -> str:
    kept = said["preserves"]
    sentence = "Preserves what its passes do." if kept is None else f"Preserves: {', '.join(kept) or 'nothing'}."
    return f"{sentence} Needs {said['min_opset']} or later." if said["min_opset"] else sentence


def _table(options: list[dict[str, Any]]) -> Iterator[str]:
    if not options:
        return
    yield "| option | accepts | default | |"
    yield "|---|---|---|---|"
    for option in options:
        default = "required" if option["required"] else f"`{dump_inline(option['default'])}`"
        yield f"| `{option['name']}` | {_cell(option['accepts'])} | {default} | {_cell(option['doc'])} |"
    yield ""


def _example(kind: type[Pass]) -> str:
    """Before and after: the first indented lines of the docstring of a module that is about this pass alone."""
    source = inspect.getsource(sys.modules[kind.__module__])
    doc = ast.get_docstring(ast.parse(source), clean=False) or ""  # as written: from Python 3.13 on `__doc__` has lost its indents
    found = EXAMPLE.search(f"{doc}\n") if doc.startswith(f"`{kind.__name__}`:") else None
    return found[0] if found else ""


def _fenced(indented: str) -> str:
    code = dedent(indented).strip("\n")
    return f"```\n{code}\n```\n"


def _raised(section: str) -> Iterator[tuple[str, str]]:
    """The entries of a `Raises:` section: which error, and when."""
    for entry in re.split(r"^ {4}(?=\w)", section, flags=re.MULTILINE)[1:]:
        error, _, why = entry.partition(":")
        yield error, why


def _said(name: str) -> dict[str, Any]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main(["passes", name, "--json"])
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
