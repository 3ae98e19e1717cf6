"""The closing table, and quantities in it."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from mlpasses.plan import Plan
from mlpasses.plan_rows import PlanRow, planned
from mlpasses.quantities import bytes_text, printable, shape_text
from mlpasses.report import Note, PassRow, Report, WeightRow
from mlpasses.tables import passes_table, plan_table, report_table

ROW = WeightRow("quantize-weights", "w", "conv", (4, 2, 3, 3), "int8 per-channel symmetric", 144, 80, 44.25)
RULE = "─" * 87


def lines(report: Report, rows: int | None = None) -> list[str]:
    return report_table(report, rows=rows).splitlines()


def test_a_weight_has_its_facts_in_a_row() -> None:
    assert lines(Report(weights=[ROW])) == [
        "weight    op    shape          before  after  bits     SQNR",
        RULE,
        "w         conv  4 × 2 × 3 × 3   144 B   80 B  8.89  44.2 dB  int8 per-channel symmetric",
        RULE,
        "1 weight                        144 B   80 B  8.89",
    ]


def test_a_skipped_weight_has_its_reason() -> None:
    report = Report(weights=[evolve(ROW, skipped="it is a vector", after=144, sqnr=None)])
    assert "skipped: it is a vector" in lines(report)[2]
    assert lines(report)[-1].endswith("1 skipped")


@pytest.mark.parametrize(("sqnr", "text"), [(math.inf, " exact "), (-3.02, " -3.0 dB "), (math.nan, " nan ")])
def test_every_sqnr_prints(sqnr: float, text: str) -> None:
    assert text in lines(Report(weights=[evolve(ROW, sqnr=sqnr)]))[2]


def test_sparsity_is_a_column_where_a_weight_has_it() -> None:
    shown = lines(Report(weights=[evolve(ROW, sparsity=0.75), evolve(ROW, name="v")]))
    assert shown[0].split() == ["weight", "op", "shape", "before", "after", "bits", "SQNR", "sparsity"]
    assert "44.2 dB    75.0 %  int8" in shown[2]
    assert "44.2 dB            int8" in shown[3]


def test_the_use_of_tables_is_a_column_where_a_weight_has_them() -> None:
    shown = lines(Report(weights=[evolve(ROW, lut_used=0.9375, sparsity=0.5)]))
    assert shown[0].endswith("SQNR  sparsity  LUT used")
    assert "44.2 dB    50.0 %    93.8 %  int8" in shown[2]


def test_the_totals_stand_below_their_columns_whatever_columns_there_are() -> None:
    shown = lines(Report(weights=[evolve(ROW, lut_used=1.0), evolve(ROW, name="v", skipped="why")]))
    assert shown[-1].startswith("2 weights")
    assert shown[-1].index("1 skipped") == shown[2].index("int8 per-channel")


def test_a_column_that_no_shown_weight_fills_is_not_there() -> None:
    report = Report(weights=[evolve(ROW, before=1, sparsity=0.5), evolve(ROW, name="v")])
    assert "sparsity" not in lines(report, rows=1)[0]
    assert lines(report, rows=1)[3].startswith("… and 1 smaller")


@pytest.mark.parametrize(("error", "text"), [(0.002134, "0.00213"), (1.23e-7, "1.23e-07"), (0.0, "0"), (math.inf, "inf")])
def test_max_errors_are_a_column_on_request(error: float, text: str) -> None:
    report = Report(weights=[evolve(ROW, max_error=error)])
    assert "max error" not in report_table(report)
    shown = report_table(report, errors=True).splitlines()
    assert shown[0].endswith("SQNR  max error")
    assert f" {text}  int8" in shown[2]


def test_what_is_otherwise_than_asked_for_stands_behind_the_scheme() -> None:
    report = Report(weights=[evolve(ROW, remark="group_size is 8, the largest divisor")])
    assert lines(report)[2].endswith("int8 per-channel symmetric; group_size is 8, the largest divisor")


def test_what_json_cannot_hold_is_a_string() -> None:
    (row,) = Report(weights=[evolve(ROW, sqnr=math.inf, max_error=math.nan, lut_used=0.5, remark="r")]).as_dict()["weights"]
    assert (row["sqnr"], row["max_error"]) == ("inf", "nan")
    assert (row["lut_used"], row["sparsity"], row["remark"]) == (0.5, None, "r")


def test_of_many_weights_the_largest_are_shown_in_their_order() -> None:
    rows = [evolve(ROW, name=f"w{i}", before=size, skipped="why" if i == 3 else None) for i, size in enumerate([5, 900, 7, 6, 800])]
    shown = lines(Report(weights=rows), rows=2)
    assert [line.split()[0] for line in shown[2:4]] == ["w1", "w4"]
    assert shown[4].startswith("… and 3 smaller")
    assert "18 B" in shown[4]
    assert shown[4].endswith("1 of them skipped")
    assert shown[6].startswith("5 weights")


def test_a_weight_that_two_passes_changed_counts_once_in_the_totals() -> None:
    report = Report(weights=[ROW, evolve(ROW, pass_name="decompress-weights", before=80, after=144)])
    shown = lines(report)
    assert "quantize-weights: int8" in shown[2]
    assert shown[-1].split()[:6] == ["1", "weight", "144", "B", "144", "B"]


def test_names_are_no_markup() -> None:
    assert "[bold]w[/bold]" in lines(Report(weights=[evolve(ROW, name="[bold]w[/bold]")]))[2]


def test_notes_with_one_reason_are_one_line() -> None:
    notes = [Note("raise-opset", f"f{i}", "dropped") for i in range(5)]
    assert report_table(Report(notes=notes), rows=60) == "note: raise-opset: f0, f1, f2 and 2 more: dropped"
    assert report_table(Report(notes=notes), rows=None) == "note: raise-opset: f0, f1, f2, f3, f4: dropped"


def test_a_run_without_weights_says_what_it_did() -> None:
    assert report_table(Report()) == "nothing was changed"
    assert report_table(Report(passes=[PassRow("dead-code", 0.1, 3)])) == "3 changes; no weight was looked at"


PLANNED = PlanRow("quantize-weights", "w", "conv", (4, 2), "int8 per-channel symmetric", "rules[0] everything", 144, 80)


def test_a_size_that_depends_on_numbers_is_a_range_with_its_reason_below() -> None:
    shown = plan_table(Plan([evolve(PLANNED, least=70, why="zeros are left out"), evolve(PLANNED, name="v", least=80)])).splitlines()
    assert "70 B – 80 B" in shown[2]
    assert "–" not in shown[3]
    assert shown[-1] == "note: quantize-weights: sizes depend on the numbers: zeros are left out"


def test_a_plan_says_what_would_be_otherwise_than_asked_for() -> None:
    shown = plan_table(Plan([evolve(PLANNED, remark="block_size is 8")])).splitlines()
    assert "int8 per-channel symmetric; block_size is 8  rules[0] everything" in shown[2]


def test_an_exact_plan_has_the_remarks_of_the_run() -> None:
    assert planned(evolve(ROW, remark="block_size is 8")).remark == "block_size is 8"


def test_a_plan_ends_with_what_is_wrong() -> None:
    assert plan_table(Plan([PLANNED], findings=["no weight matches"])).splitlines()[-1] == "error: no weight matches"


def test_a_plan_of_nothing_says_so() -> None:
    assert plan_table(Plan()) == "no weight would be looked at"


def test_a_report_prints_as_its_table() -> None:
    report = Report(weights=[ROW])
    assert str(report) == report_table(report)


def test_passes_have_their_times() -> None:
    assert passes_table(Report(passes=[PassRow("dead-code", 0.125, 1234)])).splitlines()[-1] == "dead-code    1,234  0.12 s"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 KB"), (9_994, "9.99 KB"), (9_995, "10.0 KB"), (99_960, "100 KB"), (999_600, "1.00 MB"),
     (1_900_000_000, "1.90 GB"), (5_000_000_000_000_000, "5000 TB")],
)  # fmt: skip
def test_bytes_have_two_or_three_digits(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_shapes_print_as_products() -> None:
    assert (shape_text((2, 3)), shape_text(())) == ("2 × 3", "scalar")


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[0m\n\u202eé×") == "a\\x1b[0m\\n\\u202eé×"
