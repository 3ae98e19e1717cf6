"""What the tests of `RaiseOpset` have in common."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

from ir.core import Program
from ir.opset import OPSETS, Opset
from ir.text import parse_fragment, to_text
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.manager import run
from mlpasses.raising import RaiseOpset


def fragment(text: str, opset: Opset) -> Program:
    program = parse_fragment(dedent(text), opset=opset.key)
    program.spec_version = opset.spec_version
    return program


def raised(program: Program, target: Opset) -> Program:
    """The program at `target`, verified by the manager."""
    return run(program, RaiseOpset(target)).program


def check(before: str, after: str, old: Opset, new: Opset) -> Program:
    """Raises `before`, and compares with `after` as text; answers with the result."""
    found = raised(fragment(before, old), new)
    assert to_text(found).text == to_text(fragment(after, new)).text
    return found


def refusal(text: str, old: Opset, new: Opset) -> str:
    """Why a program cannot be raised."""
    program = fragment(text, old)
    try:
        RaiseOpset(new).apply(program, Context(pass_name="raise-opset"))
    except ConfigError as error:
        return str(error)
    raise AssertionError("the program was raised")


def later(old: Opset, until: Iterable[Opset] = OPSETS) -> list[Opset]:
    return [opset for opset in until if opset > old]
