from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from elspeth.contracts import PipelineError
from elspeth.plugins.llm.openai_batch import OpenAIBatchOptions
from elspeth.plugins.llm.prices import BATCH_FACTOR, PriceOption, list_price


def test_prices_in_the_file_are_those_that_are_billed() -> None:
    price = PriceOption(input_per_mtok=Decimal("1.25"), output_per_mtok=Decimal(5)).resolve("azure")
    assert (price.input_per_mtok, price.output_per_mtok) == (Decimal("1.25"), Decimal(5))
    assert price.cost_usd(1_000, 100) == Decimal("0.00175")


@pytest.mark.parametrize("provider", ["azure", "openai"])
def test_a_model_of_the_list_costs_half_in_a_batch(provider: str) -> None:
    """Golden: gpt-4o is at 2.50 and 10.00 dollars live."""
    price = PriceOption(model="gpt-4o").resolve(provider)
    assert (price.input_per_mtok, price.output_per_mtok) == (Decimal("1.25"), Decimal(5))
    assert "gpt-4o" in price.origin
    assert str(BATCH_FACTOR) in price.origin


def test_a_price_is_that_of_a_request_not_of_a_million_tokens_at_once() -> None:
    """Golden: gpt-5.4 is at 2.50 and 15.00 dollars live; twice that only for a single request of over 272,000."""
    price = list_price("gpt-5.4", "openai")
    assert price is not None
    assert (price.input_per_mtok, price.output_per_mtok) == (Decimal("1.25"), Decimal("7.5"))


def test_a_dated_model_has_the_price_of_its_family() -> None:
    assert list_price("gpt-4o-2024-11-20", "openai") == list_price("gpt-4o", "openai")


def test_an_unknown_model_is_refused_where_it_stands() -> None:
    with pytest.raises(PipelineError) as caught:
        PriceOption(model="gpt-nonsense-9").resolve("azure")
    (problem,) = caught.value.diagnostics
    assert (problem.path, problem.code) == (("price", "model"), "PRICE_UNKNOWN")


@pytest.mark.parametrize(
    ("base_url", "is_known"),
    [("https://api.openai.com/v1", True), ("simulator", True), ("https://llm.example.com/v1", False)],
)
def test_a_models_name_tells_its_price_only_where_its_maker_bills_it(base_url: str, is_known: bool) -> None:
    given: dict[str, Any] = {"base_url": base_url, "model": "gpt-4o-mini", "template": "x", "api_key": "${KEY}"}
    options = OpenAIBatchOptions(**given)
    assert (options.batch_price() is not None) is is_known


def test_a_model_nobody_lists_has_no_price() -> None:
    options = OpenAIBatchOptions(base_url="simulator", model="my-own", template="x")
    assert options.batch_price() is None
