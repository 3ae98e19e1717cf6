"""The forms that weights are stored in: as data, as ops, and read back from ops."""
