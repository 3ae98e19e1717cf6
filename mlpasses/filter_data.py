"""Filters as plain data, and back:

    {name: ["*attn*", "re:layers_0_.*"], min_elements: 65536}    ⇄    name("*attn*", "re:layers_0_.*") & (numel >= 65536)
    {op_type: conv, not: {rank: 4}}                              ⇄    op_type("conv") & ~(rank == 4)
    {any: [{dtype: fp32}, {nbytes: "> 4096"}]}                   ⇄    dtype("fp32") | (nbytes > 4096)

All keys of a mapping have to hold; an empty one is `everything`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from mlpasses import select
from mlpasses.errors import ConfigError
from mlpasses.faults import Fault, Faults, Path, faults_of, raise_faults, unknown_keys
from mlpasses.options import show
from mlpasses.select import And, Comparison, Constant, Filter, Measure, Named, Not, Or, Words, everything

Places: TypeAlias = list[tuple[Filter, Path]]
"""Where the parts of a filter stood, below the data that it was made of."""
Build: TypeAlias = Callable[[Any, Places, Path], Filter]


def filter_of(given: Any, places: Places | None = None, path: Path = ()) -> Filter:
    """The filter that a mapping stands for. `places` receives its parts with their paths, which start with `path`.

    Raises:
        Faults: with everything that is wrong.
    """
    noted = [] if places is None else places
    if not isinstance(given, Mapping):
        raise Faults(Fault(f"expected a filter such as {{op_type: conv}}, found {show(given)}"))
    faults = unknown_keys(given, FILTER_KEYS, "a filter")
    parts: list[Filter] = []
    for key in [key for key in given if key in FILTER_KEYS]:
        try:
            parts.append(FILTER_KEYS[key](given[key], noted, (*path, key)))
        except Exception as error:
            faults.extend(faults_of(error, (key,)))
    raise_faults(faults)
    if not parts:
        return everything
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def filter_data(keep: Filter) -> dict[str, Any]:
    """The mapping that stands for a filter: `filter_of(filter_data(f)) == f`.

    Raises:
        ConfigError: it is a filter that recipes do not know.
    """
    if isinstance(keep, And) and len(keep.filters) > 1:
        parts = [_one_key(part) for part in keep.filters]
        keys = [key for part in parts for key in part]
        if len(keys) == len(parts) == len(set(keys)):
            return {key: value for part in parts for key, value in part.items()}
    return _one_key(keep)


def _one_key(keep: Filter) -> dict[str, Any]:
    """As `filter_data`, with all of it below one key; `everything` has none."""
    if isinstance(keep, And | Or) and keep.filters:
        return {"all" if isinstance(keep, And) else "any": [filter_data(part) for part in keep.filters]}
    if isinstance(keep, Not) and not isinstance(keep.filter, Not | Constant):
        return {"not": filter_data(keep.filter)}
    if isinstance(keep, Constant):
        return {} if keep.value else {"not": {}}
    if isinstance(keep, Words | Named) and FILTER_KEYS.get(keep.word) is not None:
        values = keep.values if isinstance(keep, Words) else keep.patterns
        return {keep.word: values[0] if len(values) == 1 else list(values)}
    if isinstance(keep, Comparison):
        bound = keep.bound if isinstance(keep.bound, int) else keep.bound.target
        short = _SHORT.get((keep.measure, keep.symbol))
        return {short: bound} if short else {keep.measure: bound if keep.symbol == "==" else f"{keep.symbol} {bound}"}
    raise ConfigError(f"no recipe can state the filter {keep!r}: recipes know those of mlpasses.select, as its operators combine them")


def _words(make: Callable[..., Filter]) -> Build:
    """A word, or a list of which any will do."""

    def build(value: Any, places: Places, path: Path) -> Filter:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple):
            raise Faults(Fault(f"expected text or a list of text, found {show(value)}"))
        faults: list[Fault] = []
        each: list[Filter] = []
        for index, text in enumerate(texts):
            at = () if isinstance(value, str) else (index,)
            if not isinstance(text, str):
                faults.append(Fault(f"expected text, found {show(text)}", at))
                continue
            try:
                each.append(make(text))
            except ConfigError as error:
                message, _, hint = str(error).partition("; ")
                faults.append(Fault(message, at, hint))
        raise_faults(faults)
        whole = make(*texts)
        places.append((whole, path))
        places.extend((part, (*path, index)) for index, part in enumerate(each) if len(each) > 1)
        return whole

    return build


_SYMBOLS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_COMPARISON: Final = re.compile(r"\s*(<=|>=|==|!=|<|>)?\s*(.*?)\s*", re.DOTALL)


def _bound(measure: Measure, symbol: str) -> Build:
    """`min_elements: 4`"""

    def build(value: Any, places: Places, path: Path) -> Filter:
        if type(value) is not int:
            raise Faults(Fault(f"expected a whole number, found {show(value)}"))
        return _noted(_SYMBOLS[symbol](measure, value), places, path)

    return build


def _comparison(measure: Measure) -> Build:
    """`rank: 4`, `rank: ">= 2"`"""

    def build(value: Any, places: Places, path: Path) -> Filter:
        if type(value) is int:
            return _noted(measure == value, places, path)
        found = _COMPARISON.fullmatch(value) if isinstance(value, str) else None
        if found is None or not (found[1] or measure is select.opset):
            raise Faults(Fault(f"expected a whole number, or a comparison such as {_example(measure)}, found {show(value)}"))
        text = found[2]
        if measure is not select.opset and not re.fullmatch(r"-?[0-9]{1,100}", text):
            raise Faults(Fault(f"{measure!r} is compared with a whole number, found {show(text)}"))
        bound = text if measure is select.opset else int(text)
        return _noted(_SYMBOLS[found[1] or "=="](measure, bound), places, path)

    return build


def _opset(value: Any, places: Places, path: Path) -> Filter:
    if not isinstance(value, str):
        raise Faults(Fault(f'expected a target such as iOS18, or a comparison such as ">= iOS18", found {show(value)}'))
    return _comparison(select.opset)(value, places, path)


def _example(measure: Measure) -> str:
    return '">= 2"' if measure is select.rank else '">= 65536"'


def _noted(leaf: Any, places: Places, path: Path) -> Filter:
    assert isinstance(leaf, Filter)
    places.append((leaf, path))
    return leaf


def _not(value: Any, places: Places, path: Path) -> Filter:
    return ~filter_of(value, places, path)


def _combined(kind: type[And] | type[Or], word: str) -> Build:
    """`any: [{…}, {…}]`"""

    def build(value: Any, places: Places, path: Path) -> Filter:
        if not isinstance(value, list | tuple) or not value:
            raise Faults(Fault(f"expected a list of filters, {word} of which has to hold, found {show(value) if value else 'none'}"))
        parts: list[Filter] = []
        faults: list[Fault] = []
        for index, each in enumerate(value):
            try:
                parts.append(filter_of(each, places, (*path, index)))
            except Exception as error:
                faults.extend(faults_of(error, (index,)))
        raise_faults(faults)
        return kind(tuple(parts))

    return build


FILTER_KEYS: Final[Mapping[str, Build]] = {
    "name": _words(select.name),
    "op_type": _words(select.op_type),
    "consumer": _words(select.consumer),
    "function": _words(select.function),
    "param": _words(select.param),
    "dtype": _words(select.dtype),
    "rank": _comparison(select.rank),
    "min_elements": _bound(select.numel, ">="),
    "max_elements": _bound(select.numel, "<="),
    "numel": _comparison(select.numel),
    "min_bytes": _bound(select.nbytes, ">="),
    "max_bytes": _bound(select.nbytes, "<="),
    "nbytes": _comparison(select.nbytes),
    "opset": _opset,
    "not": _not,
    "any": _combined(Or, "one"),
    "all": _combined(And, "each"),
}
"""What a filter may hold, and what it stands for."""

_SHORT: Final = {
    ("numel", ">="): "min_elements", ("numel", "<="): "max_elements", ("nbytes", ">="): "min_bytes", ("nbytes", "<="): "max_bytes",
}  # fmt: skip
"""Comparisons that have a key of their own."""
