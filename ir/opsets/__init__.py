"""The op tables: one row for each op and each opset that introduced or changed it. iOS26 did neither.

`schema` has the columns, `ios15` and its successors the rows, and `ir.specs` looks them up. Nothing is imported here: the functions that
infer result types know the columns, and the rows know those functions.
"""
