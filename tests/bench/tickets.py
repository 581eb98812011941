"""The rows of the benchmark: a support desk's tickets, eight fields, about 300 bytes each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SOURCE", "URGENT", "is_urgent", "write_tickets"]

SOURCE = """\
source:
  plugin: csv
  options: {path: %(source)s}
  schema: {id: int, amount: float, priority: int}
"""
HEADER = "id,customer,region,subject,body,channel,amount,priority\n"
URGENT = 3
WORDS_IN_A_BODY = 29
_WORD_LIST = (
    "account statement delivery payment refund invoice customer please answer because yesterday branch office letter "
    "contract renewal address number amount question complaint service line waiting reply form"
)
_WORDS = _WORD_LIST.split()
_REGIONS = ("north", "south", "east", "west")
_CHANNELS = ("web", "mail", "phone")


def write_tickets(path: Path, rows: int) -> None:
    """Always the same rows, the first ones of every size alike; one in ten has a field that must be quoted."""
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        file.writelines(_lines(rows))


def is_urgent(row: int) -> bool:
    """Whether the gate sends the row to ``urgent``."""
    return _priority(row) >= URGENT


def _priority(row: int) -> int:
    return row % 5


def _lines(rows: int) -> Iterator[str]:
    chance = random.Random(0)
    for row in range(rows):
        words = chance.choices(_WORDS, k=WORDS_IN_A_BODY)
        body = f'"{", ".join(words[:4])} {" ".join(words[4:])}"' if row % 10 == 0 else " ".join(words)
        subject = f"Ticket {row} about {_WORDS[row % len(_WORDS)]}"
        yield (
            f"{row},customer-{row % 5003:05d},{_REGIONS[row % 4]},{subject},{body},"
            f"{_CHANNELS[row % 3]},{row % 9973}.{row % 90 + 10},{_priority(row)}\n"
        )
