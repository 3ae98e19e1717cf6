"""Raising the opset of a program."""

from mlpasses.raising.raise_opset import RaiseOpset

__all__ = ["RaiseOpset"]
