"""The part of JSON Schema that the schema of recipes uses; any other keyword is an error, so that none goes unchecked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

ANNOTATIONS = frozenset({"$schema", "$defs", "title", "description", "default"})


def violations(data: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "$") -> Iterator[str]:
    """What keeps `data` from satisfying a schema."""
    for keyword, value in schema.items():
        if keyword not in ANNOTATIONS:
            yield from _broken(keyword, value, data, schema, root, path)


def _broken(keyword: str, value: Any, data: Any, schema: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[str]:
    if keyword == "$ref":
        yield from violations(data, resolved(value, root), root, path)
    elif keyword == "type":
        if not _is(data, value):
            yield f"{path} is no {value}: {data!r}"
    elif keyword == "const":
        if not _same(data, value):
            yield f"{path} is not {value!r}: {data!r}"
    elif keyword == "enum":
        if not any(_same(data, each) for each in value):
            yield f"{path} is none of {value}: {data!r}"
    elif keyword in ("anyOf", "oneOf"):
        held = sum(not any(violations(data, each, root, path)) for each in value)
        if not held or (keyword == "oneOf" and held > 1):
            yield f"{path} satisfies {held} of {len(value)}: {data!r}"
    elif isinstance(data, dict) and keyword in OBJECT:
        yield from _broken_object(keyword, value, data, schema, root, path)
    elif isinstance(data, list) and keyword in ARRAY:
        yield from _broken_array(keyword, value, data, root, path)
    elif isinstance(data, str) and keyword == "pattern":
        if not re.search(value, data):
            yield f"{path} does not match {value}: {data!r}"
    elif keyword not in OBJECT | ARRAY | {"pattern"}:
        raise AssertionError(f"the keyword {keyword} is not checked")


OBJECT = frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"})
ARRAY = frozenset({"items", "prefixItems", "minItems", "maxItems"})


def _broken_object(
    keyword: str, value: Any, data: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], path: str
) -> Iterator[str]:
    if keyword == "properties":
        for key in data.keys() & value.keys():
            yield from violations(data[key], value[key], root, f"{path}.{key}")
    elif keyword == "required":
        yield from (f"{path} lacks {key}" for key in value if key not in data)
    elif keyword == "additionalProperties":
        for key in data.keys() - schema.get("properties", {}).keys():
            if value is False:
                yield f"{path} has {key}"
            else:
                yield from violations(data[key], value, root, f"{path}.{key}")
    elif (len(data) < value) if keyword == "minProperties" else (len(data) > value):
        yield f"{path} has {len(data)} entries"


def _broken_array(keyword: str, value: Any, data: list[Any], root: dict[str, Any], path: str) -> Iterator[str]:
    if keyword == "items":
        for index, item in enumerate(data):
            yield from violations(item, value, root, f"{path}[{index}]")
    elif keyword == "prefixItems":
        for index, (item, schema) in enumerate(zip(data, value, strict=False)):
            yield from violations(item, schema, root, f"{path}[{index}]")
    elif (len(data) < value) if keyword == "minItems" else (len(data) > value):
        yield f"{path} has {len(data)} items"


def resolved(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    """What a reference inside of the schema leads to."""
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, dict)
    return found


def _is(data: Any, kind: str) -> bool:
    if isinstance(data, bool) or kind == "boolean":
        return isinstance(data, bool) and kind == "boolean"
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    return isinstance(data, kinds[kind])


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)
