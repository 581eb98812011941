"""From an offset in a scalar's value back to the character of the file."""

from __future__ import annotations

import pytest

from elspeth.core.config.document import MapNode, Scalar, parse_document
from elspeth.core.config.positions import Positions, scalar_index


@pytest.mark.parametrize(
    "text",
    [
        "k: some HERE text\n",
        "k: 'it''s HERE'\n",
        'k: "tab\\t \\u00fc \\x41 \\U0001F600 HERE"\n',
        "k: |\n  first\n\n    indented\n  HERE\n",
        "k: |2-\n    first HERE\n",
        "k: >\n  folded\n  text HERE and\n  more\n",
        "k: >-\n\n  folded\n\n  HERE\n",
        "k: plain over\n  two HERE lines\n",
        'k: "over   \n   two HERE lines"\n',
        "k: 'over\n\n   two HERE lines'\n",
        "k: |\r\n  first\r\n  HERE\r\n",
        "k: |\n  ünï 😀 HERE\n",
    ],
)
def test_the_way_back_leads_through_quotes_escapes_and_folding(text: str) -> None:
    root = parse_document("p.yaml", text.encode()).root
    assert isinstance(root, MapNode)
    node = root.entries["k"].value
    assert isinstance(node, Scalar)
    index = scalar_index(text, (node.start, node.end), node.style, node.text, node.text.index("HERE"))
    assert text.index("HERE") == index


def test_without_a_way_back_it_is_the_scalars_beginning() -> None:
    assert scalar_index("k: &a abc", (3, 9), None, "abc", 2) == 3


def test_an_offset_at_the_end_is_the_place_after_the_scalar() -> None:
    assert scalar_index("k: abc", (3, 6), None, "abc", 3) == 6


def test_lines_and_columns_count_from_one_for_every_kind_of_line_end() -> None:
    positions = Positions("a\r\nb\rc\n\nd")
    assert [positions.line_column(i) for i in (0, 3, 5, 7, 8)] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]
    assert [positions.line_text(n) for n in range(1, 6)] == ["a", "b", "c", "", "d"]
