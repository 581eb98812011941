"""What a model's tokens cost in a batch: from the pipeline file, or from the price list that is installed.

The list is that of genai-prices, which needs no network. It holds the prices of
live calls; both providers bill a batch at half of them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from elspeth.contracts import Diagnostic, PipelineError, Price
from elspeth.core.config.options import Options

__all__ = ["BATCH_FACTOR", "PriceOption", "list_price"]

BATCH_FACTOR = Decimal("0.5")
"""Of the price of a live call (https://openai.com/api/pricing, https://azure.microsoft.com/pricing: Batch API)."""

_SMALL = 1_000  # tokens of one request: prices rise with its size, and a large one is priced as such by nobody here

Dollars = Annotated[Decimal, Field(ge=0)]


class PriceOption(Options):
    """``price``: a model of the price list, or the two prices as billed, in US dollars for a million tokens."""

    model: Annotated[str, Field(min_length=1)] | None = None
    input_per_mtok: Dollars | None = None
    output_per_mtok: Dollars | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        numbers = (self.input_per_mtok, self.output_per_mtok)
        is_whole = all(number is not None for number in numbers)
        is_absent = all(number is None for number in numbers)
        if not (is_absent if self.model is not None else is_whole):
            raise ValueError("give `model`, or both `input_per_mtok` and `output_per_mtok` as the batch is billed")
        return self

    def resolve(self, provider: str) -> Price:
        """The price; raises `PipelineError` for a model that is not in the list."""
        if self.input_per_mtok is not None and self.output_per_mtok is not None:
            return Price(
                input_per_mtok=self.input_per_mtok, output_per_mtok=self.output_per_mtok, origin="the pipeline file"
            )
        name = self.model or ""
        found = list_price(name, provider)
        if found is None:
            raise PipelineError(
                [
                    Diagnostic(
                        path=("price", "model"),
                        code="PRICE_UNKNOWN",
                        message=f"the price list has no model {name!r}",
                        hint="give `input_per_mtok` and `output_per_mtok`, in US dollars as the batch is billed",
                    )
                ]
            )
        return found


def list_price(model: str, provider: str) -> Price | None:
    """The batch price of a model of ``provider`` (openai or azure) by the installed list; None when it has none."""
    import genai_prices  # 0.4 s: only when a price is looked up

    usage = genai_prices.Usage(input_tokens=_SMALL, output_tokens=_SMALL)
    a_million = Decimal(1_000_000 // _SMALL)
    for place in dict.fromkeys((provider, "openai")):
        try:
            found = genai_prices.calc_price(usage, model, provider_id=place)
        except LookupError:
            continue
        return Price(
            input_per_mtok=found.input_price * a_million * BATCH_FACTOR,
            output_per_mtok=found.output_price * a_million * BATCH_FACTOR,
            origin=f"genai-prices {genai_prices.__version__}: {found.model.id}, a batch at {BATCH_FACTOR} of it",
        )
    return None
