"""What the tests of rewriting share: programs before and after in the text form, with the verifier and the interface held to."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

from ir.core import Function, Program
from ir.text import parse_fragment, print_program
from ir.types import Type
from ir.verify import specification, structure
from mlpasses.context import Context
from mlpasses.rewrite import Outcome, Rule, rewrite

Interface = tuple[list[tuple[str, Type]], list[tuple[str, Type]]]


def program_of(text: str, opset: str = "CoreML8") -> Program:
    program = parse_fragment(dedent(text), opset=opset)
    structure.verify(program)
    specification.verify(program)
    return program


def interface(function: Function) -> Interface:
    """Names and types of what a function takes and returns, in order."""
    return [(v.name, v.type) for v in function.inputs], [(v.name, v.type) for v in function.outputs]


def rewritten(rules: Rule | Iterable[Rule], text: str, opset: str = "CoreML8") -> tuple[Program, Outcome, Context]:
    """The program after the rules, which left it valid, its interface as it was, and every op that they touched to specification."""
    program = program_of(text, opset)
    before = interface(program.main)
    cx = Context(pass_name="the-pass")
    version = program.version
    outcome = rewrite(program, [rules] if isinstance(rules, Rule) else rules, cx)
    structure.verify(program)
    specification.verify(program)
    assert interface(program.main) == before
    assert outcome or program.version == version
    return program, outcome, cx


def check(rules: Rule | Iterable[Rule], before: str, after: str, opset: str = "CoreML8") -> Outcome:
    """`before` becomes `after`, and a second run changes nothing."""
    program, outcome, _ = rewritten(rules, before, opset)
    assert print_program(program) == print_program(program_of(after, opset))
    assert not rewrite(program, [rules] if isinstance(rules, Rule) else rules)
    return outcome


def unchanged(rules: Rule | Iterable[Rule], text: str, opset: str = "CoreML8") -> Outcome:
    """The rules leave the program as it is."""
    program, outcome, _ = rewritten(rules, text, opset)
    assert not outcome
    assert print_program(program) == print_program(program_of(text, opset))
    return outcome
