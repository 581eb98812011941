"""Limits and records of the benchmark (limits.py, record.py), with figures that nobody measured."""

from __future__ import annotations

import json
import math

import pytest
from tests.bench.figures import Report, Spread, Table
from tests.bench.limits import LIMITS, Limit, judged
from tests.bench.record import BEGIN, END, as_json, as_markdown, machine, with_figures
from tests.bench.usage import Measurement
from tests.tidy.tree import ROOT

REPORT = Report(
    tables=[Table(title="reading", header=("", "s"), lines=[["help", "0.20"]])],
    figures={"help s": Spread.of([0.1, 0.2, 0.4]), "lost": Spread.of([math.inf])},
)
MEASUREMENT = Measurement(subject="help", rows=0, number=1, wall_s=0.1, cpu_s=0.1, memory_mb=20.0)


@pytest.mark.parametrize(
    ("limit", "figure", "expected"),
    [
        (Limit(what="", figure="", at_least=0.5), 0.5, True),
        (Limit(what="", figure="", at_least=0.5), 0.49, False),
        (Limit(what="", figure="", at_most=300), 300, True),
        (Limit(what="", figure="", at_most=300), math.inf, False),
    ],
)
def test_a_limit_holds_on_its_side(limit: Limit, figure: float, expected: bool) -> None:
    assert expected == limit.is_kept(figure)


def test_every_limit_has_one_bound() -> None:
    assert [] == [limit for limit in LIMITS if (limit.at_least is None) == (limit.at_most is None)]


def test_the_summary_says_what_is_kept_and_what_was_not_measured() -> None:
    limits = [Limit(what="help", figure="help s", at_most=0.3), Limit(what="speed", figure="none", at_least=0.5)]

    assert [
        ["help", "≤ 0.3", "0.20 (0.10..0.40)", "yes"],
        ["speed", "≥ 0.5", "not measured", ""],
    ] == judged(REPORT.figures, limits).lines


def test_the_record_holds_every_figure_limit_and_measurement() -> None:
    found = json.loads(as_json(machine(), {"reading": REPORT}, [MEASUREMENT]))

    assert [MEASUREMENT.to_dict()] == found["measurements"]
    assert {"median": 0.2, "values": [0.1, 0.2, 0.4]} == found["cases"]["reading"]["help s"]
    assert {"median": None, "values": [None]} == found["cases"]["reading"]["lost"]
    assert [True] == [limit["kept"] for limit in found["limits"]]


def test_the_block_of_a_document_is_replaced_and_nothing_else() -> None:
    markdown = as_markdown(machine(), {"reading": REPORT})
    document = f"before\n\n{BEGIN}\nold \\1 figures\n{END}\n\nafter\n"

    once = with_figures(document, markdown)

    assert f"before\n\n{BEGIN}\n\n{markdown}\n\n{END}\n\nafter\n" == once
    assert once == with_figures(once, markdown)


def test_the_document_of_this_repository_has_the_block() -> None:
    assert "tables" in with_figures((ROOT / "docs" / "performance.md").read_text(), "tables")


def test_a_document_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no block"):
        with_figures("nothing here", "tables")
