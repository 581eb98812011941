"""The arithmetic of the benchmark; no time is looked at."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.figures import Spread, Table, above_start, flatness, percentile, ratios


def test_a_spread_shows_its_median_and_how_far_it_reaches() -> None:
    assert "2.0 (1.0..9.0)" == Spread.of([9.0, 1.0, 2.0]).text("{:.1f}".format)


def test_a_single_measurement_has_no_spread() -> None:
    assert "3.0" == Spread.of([3.0]).text("{:.1f}".format)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_ratios_are_taken_pair_by_pair() -> None:
    """A machine that is twice as slow for one pair changes nothing."""
    found = ratios([1.0, 2.0, 1.0], [2.0, 4.0, 2.0])

    assert (0.5, 0.5, 0.5) == found.values


def test_ratios_need_pairs() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_what_a_start_costs_is_no_cost_of_a_row() -> None:
    assert 0.01 == above_start(1.5, 0.5, 100)


@pytest.mark.parametrize(
    ("costs", "expected"), [([10.0, 12.0, 11.0], 1.2), ([5.0], 1.0), ([1.0, -0.1], math.inf), ([0.0, 1.0], math.inf)]
)
def test_flatness_is_the_largest_cost_over_the_smallest(costs: list[float], expected: float) -> None:
    assert expected == flatness(costs)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= math.floor(share * len(values))
    assert sum(value < found for value in values) <= math.ceil(share * len(values))


def test_percentiles_of_a_hundred() -> None:
    assert (50, 99) == (percentile(range(1, 101), 0.50), percentile(range(1, 101), 0.99))


def test_a_table_is_markdown_that_reads_as_plain_text() -> None:
    table = Table(title="speed", header=("", "rows/s"), lines=[["a|b", "1,000"], ["plain", "20"]])

    assert (
        "**speed**\n\n|       | rows/s |\n| :---- | -----: |\n| a\\|b  |  1,000 |\n| plain |     20 |"
    ) == table.markdown()


def test_a_line_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Table(title="", header=("", "a"), lines=[["b"]]).markdown()
