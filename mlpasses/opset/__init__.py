"""Raising the opset of a program."""

from mlpasses.opset.raise_opset import RaiseOpset

__all__ = ["RaiseOpset"]
