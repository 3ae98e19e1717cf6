"""The intermediate representation of mlpasses: MIL programs as linked objects. See docs/ir.md."""
