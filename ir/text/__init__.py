"""The text form of programs: printing and parsing. See docs/textual-form.md."""

from ir.text.parser import parse, parse_block, parse_const, parse_fragment, parse_function, parse_type
from ir.text.printer import (
    Text,
    print_block,
    print_const,
    print_function,
    print_neighbourhood,
    print_op,
    print_program,
    print_type,
    to_text,
)

__all__ = [
    "Text",
    "parse",
    "parse_block",
    "parse_const",
    "parse_fragment",
    "parse_function",
    "parse_type",
    "print_block",
    "print_const",
    "print_function",
    "print_neighbourhood",
    "print_op",
    "print_program",
    "print_type",
    "to_text",
]
