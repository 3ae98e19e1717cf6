"""Recipes: pipelines as YAML.

    version: 1
    passes:
      - raise-opset: iOS18
      - quantize-weights: {dtype: int8, mode: symmetric}
      - dead-code

An entry is the name of a pass, or the name with its options; how options are read is told in `mlpasses.structuring`. An error names the
file, line and column of what is wrong, and all errors come together. The entries on one line are a pipeline's text:

    raise-opset: iOS18, quantize-weights: {dtype: int8, mode: symmetric}, dead-code
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from mlpasses.errors import RecipeError
from mlpasses.faults import Faults
from mlpasses.options import options_class, options_of, show
from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline
from mlpasses.registry import BUILT_IN, pass_class, suggest
from mlpasses.structuring import structure_passes, unstructure_pass
from mlpasses.yamltree import MAX_BYTES, Block, Mark, Node, dump, dump_inline, located, parse, parse_items

VERSION: Final = 1
"""The version of the format that is written, and the only one that is read."""

_KEYS: Final = ("version", "passes")


def load_recipe(source: str | Path) -> Pipeline:
    """The pipeline of a recipe. `source` is a path, or the text itself where it has more than one line.

    Raises:
        RecipeError: the file cannot be read, is no YAML, or names passes or options that do not exist; with the place of each error.
    """
    return pipeline_of(recipe_entries(source))


def recipe_entries(source: str | Path) -> tuple[Node, ...]:
    """The entries of a recipe, which `pipeline_of` makes passes of.

    Raises:
        RecipeError: the file cannot be read, is no YAML, or its frame is not that of a recipe.
    """
    if isinstance(source, str) and "\n" in source:
        return entries_in(source, "<recipe>")
    path = Path(source)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(f"the recipe {path} cannot be read: {reason}") from error
    return entries_in(content, str(path))


def entries_in(content: str | bytes, file: str) -> tuple[Node, ...]:
    """The entries of a recipe's text, which errors call `file`.

    Raises:
        RecipeError: it is no YAML, or its frame is not that of a recipe.
    """
    return _entries(parse(content, file))


def inline_entries(texts: Iterable[str]) -> tuple[Node, ...]:
    """Entries that a command line gives: `raise-opset=iOS18`, `quantize-weights: {dtype: int8}`, `merge-casts, dead-code`.

    Raises:
        RecipeError: one is no YAML.
    """
    found: list[Node] = []
    for text in texts:
        spelled, file = _with_colon(text), f"--pass {text!r}"
        items = parse_items(text, file) if spelled == text else (parse(spelled, file),)
        if not items:
            raise RecipeError(located("expected a pass", Mark(file), hint="as in --pass dead-code, or --pass raise-opset=iOS18"))
        if spelled != text:
            _check_lone(text, items[0])
        found += items
    return tuple(found)


def _check_lone(text: str, entry: Node) -> None:
    """`name=value` is one pass: several on one line are entries of a list, which know no `=`.

    Raises:
        RecipeError: another pass follows the value.
    """
    value = next(iter(entry.data.values())).data if isinstance(entry.data, dict) else None
    if not isinstance(value, str):
        return
    for part in value.split(",")[1:]:
        name = re.split("[=:]", part, maxsplit=1)[0].strip()
        if name in BUILT_IN:
            hint = f"several on one line are written with colons, {text.replace('=', ': ')!r}; or repeat --pass"
            raise RecipeError(located(f"the pass {name!r} stands in the value of another one", entry.mark, hint=hint))


def parse_pipeline(text: str) -> Pipeline:
    """The pipeline of a text, entries of a recipe with commas between them: `parse_pipeline(str(p)) == p`.

    Raises:
        RecipeError: it is no YAML, or names passes or options that do not exist; with the place of each error.
    """
    return pipeline_of(parse_items(text, "<pipeline>"))


def pipeline_text(pipeline: Pass) -> str:
    """A pass or pipeline on one line, as `parse_pipeline` reads it: `raise-opset: iOS18, repeat: {body: [merge-casts, dead-code]}`.

    Raises:
        ConfigError: no recipe can state it.
    """
    entries = [unstructure_pass(each) for each in (pipeline.passes if type(pipeline) is Pipeline else (pipeline,))]
    return ", ".join(_item_text(entry) for entry in entries)


def _item_text(entry: object) -> str:
    text = dump_inline([entry])[1:-1]
    return text[1:-1] if isinstance(entry, dict) else text


def pipeline_of(entries: Sequence[Node], overrides: Iterable[str] = ()) -> Pipeline:
    """The pipeline that entries stand for, with some options set: `quantize-weights.dtype=uint8`, `raise-opset=iOS18` for a lone value.

    Raises:
        RecipeError: an entry or an override is wrong; all errors of entries come together.
    """
    for setting in overrides:
        entries = _set(entries, setting)
    root = Node(Mark("<recipe>"), tuple(entries))
    try:
        return structure_passes(root.plain(("passes",)))
    except Faults as error:
        places = [(root.key_at if fault.at_key else root.at)(fault.path) for fault in error.faults]
        found = sorted(zip(places, error.faults, strict=True), key=lambda each: (each[0].line, each[0].column))
        texts = [located(fault.message, place, ("passes", *fault.path), fault.hint) for place, fault in found]
        raise RecipeError("\n".join(texts)) from None


def dump_recipe(pipeline: Pass) -> str:
    """The recipe of a pass or pipeline: `load_recipe(dump_recipe(p)) == p` for every pipeline. Options at their default are left out.

    Raises:
        ConfigError: a pass is not registered, so no recipe can name it.
    """
    passes = pipeline.passes if isinstance(pipeline, Pipeline) else (pipeline,)
    return dump(Block({"version": VERSION, "passes": [unstructure_pass(each) for each in passes]}))


def _set(entries: Sequence[Node], setting: str) -> list[Node]:
    mark = Mark(f"--set {setting!r}")
    target, equals, text = setting.partition("=")
    name, _, option = target.strip().partition(".")
    if not equals or not name:
        raise RecipeError(located("expected PASS.OPTION=VALUE", mark, hint="as in --set quantize-weights.dtype=uint8"))
    found = [index for index, entry in enumerate(entries) if _name_of(entry) == name]
    if not found:
        names = [each for entry in entries if (each := _name_of(entry))]
        raise RecipeError(located(f"the pipeline has no pass {name!r}", mark, hint=suggest(name, names)))
    if len(found) > 1:
        raise RecipeError(located(f"the pipeline has {len(found)} passes {name!r}: it is not clear which is meant", mark))
    value = parse(text, mark.file)
    changed = list(entries)
    changed[found[0]] = Node(mark, {name: _changed(entries[found[0]], name, option, value)}, {name: mark})
    return changed


def _changed(item: Node, name: str, option: str, value: Node) -> Node:
    """The options of a pass with one of them set; a lone value that stood there gives way, or becomes the option that it was."""
    if not option:
        return value
    old = item.data[name] if isinstance(item.data, dict) else None
    options: dict[str, Node] = {}
    keys: dict[str, Mark] = {}
    if old is not None and isinstance(old.data, dict):
        options, keys = dict(old.data), dict(old.keys)
    elif old is not None and old.data is not None:
        first = _first_option(name)
        if first is not None:
            options, keys = {first: old}, {first: old.mark}
    options[option], keys[option] = value, value.mark
    return Node(item.mark, options, keys)


def _first_option(name: str) -> str | None:
    options = options_of(options_class(pass_class(name)))
    return options[0].name if options else None


def _name_of(item: Node) -> str | None:
    if isinstance(item.data, dict):
        return next(iter(item.data), None)
    return item.data if isinstance(item.data, str) else None


def _with_colon(entry: str) -> str:
    """`raise-opset=iOS18` → `raise-opset: iOS18`, since a colon and a space want quotes in a shell."""
    name, equals, value = entry.partition("=")
    return f"{name}: {value}" if equals and name.replace("-", "").isalnum() else entry


def _shown(version: Node) -> str:
    return repr(version.data) if isinstance(version.data, str) else show(version.plain())


def _entries(root: Node) -> tuple[Node, ...]:
    """The entries of a recipe whose frame is as it should be."""
    if not isinstance(root.data, dict):
        message = "expected a mapping with the keys version and passes"
        if isinstance(root.data, tuple):
            raise RecipeError(located(f"{message}, found a list", root.mark, hint='write "version: 1" and "passes:" above it'))
        raise RecipeError(located(f"{message}, found {root.data!r}", root.mark))
    errors = [
        located(f"a recipe has no key {key!r}", root.keys[key], (key,), suggest(key, list(_KEYS))) for key in root.data if key not in _KEYS
    ]
    version = root.data.get("version")
    if version is None:
        errors.append(located("the recipe has no version", root.mark, hint=f'start it with "version: {VERSION}"'))
    elif version.data != VERSION or isinstance(version.data, bool):
        hint = f"this version of mlpasses reads version {VERSION}"
        errors.append(located(f"expected version {VERSION}, found {_shown(version)}", version.mark, ("version",), hint))
    passes = root.data.get("passes")
    if passes is None:
        errors.append(located("the recipe has no passes", root.mark, hint='list them below "passes:"'))
    elif not isinstance(passes.data, tuple):
        errors.append(located("expected a list of passes", passes.mark, ("passes",), 'each starts with "- "'))
    if errors or passes is None or not isinstance(passes.data, tuple):
        raise RecipeError("\n".join(errors))
    return passes.data

