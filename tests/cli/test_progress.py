"""Progress: words for people, few of them off a terminal, none when none are wanted."""

from __future__ import annotations

import pytest

from elspeth.cli.progress import PlainPrinter, RichPrinter, progress_printer, words
from elspeth.contracts import UsageError
from elspeth.engine.orchestrator import Progress

HALF_WAY = Progress(rows_read=1_000, is_source_done=False, rows_out=0, batches={"created": 2, "open": 1})


def test_the_words_say_rows_batches_and_the_next_look() -> None:
    assert words(HALF_WAY) == "1,000 rows read so far · 0 out · batches: 2 created, 1 open"
    waiting = Progress(rows_read=5, is_source_done=True, rows_out=5, batches={}, waiting_s=60.0)
    assert words(waiting) == "5 rows read · 5 out · next look in 60s"


def test_off_a_terminal_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    printer = progress_printer("auto")
    assert isinstance(printer, PlainPrinter)
    for _ in range(100):
        printer.update(HALF_WAY)
    printer.close()
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_none_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    printer = progress_printer("none")
    printer.update(HALF_WAY)
    printer.close()
    assert capsys.readouterr() == ("", "")


def test_a_live_line_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    printer = progress_printer("rich")
    assert isinstance(printer, RichPrinter)
    printer.update(HALF_WAY)
    printer.close()
    assert capsys.readouterr().out == ""


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(UsageError, match="'loud'"):
        progress_printer("loud")
