"""A step that changes nothing: a place in the graph, or a stand-in while a pipeline is built."""

from __future__ import annotations

from collections.abc import Sequence

from elspeth.contracts import Context, Fields, Row, TransformResult
from elspeth.core.config.options import Options

__all__ = ["PassthroughOptions", "PassthroughTransform"]


class PassthroughOptions(Options):
    """There are none."""


class PassthroughTransform:
    """Hands on every row as it is."""

    options_model = PassthroughOptions
    moves_values = True

    def __init__(self, options: PassthroughOptions) -> None:
        self.options = options

    def output_fields(self, fields: Fields) -> Fields:
        """The same fields."""
        return fields

    def process(self, row: Row, ctx: Context) -> TransformResult:  # noqa: ARG002 (the Protocol's signature)
        """The same row."""
        return TransformResult((row,), None)

    def process_bulk(self, rows: Sequence[Row]) -> Sequence[Row] | None:
        """The same rows."""
        return rows
