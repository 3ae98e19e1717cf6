"""Compression of weights: one scheme a file."""
