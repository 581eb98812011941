"""The benchmark as it is run, with few rows: its processes end as they must and their outputs are right.

Times are measured and not looked at. All cases take about half a minute: ``ELSPETH_BENCH=all pytest tests/bench``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.bench.__main__ import main
from tests.bench.audited import OUTPUTS, compare
from tests.bench.cases import CASES
from tests.bench.record import BEGIN, END

QUICK = ["audit", "batch", "trail"]


def test_the_quick_cases_give_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document, record = tmp_path / "performance.md", tmp_path / "bench.json"
    document.write_text(f"{BEGIN}\n{END}\n")

    code = main([*QUICK, "--rows", "40", "--times", "1", "--out", str(record), "--docs", str(document)])

    assert 0 == code, capsys.readouterr().err
    assert QUICK == list(json.loads(record.read_text())["cases"])
    assert f"{BEGIN}\n\n{capsys.readouterr().out.strip()}\n\n{END}\n" == document.read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("ELSPETH_BENCH") != "all", reason="ELSPETH_BENCH=all runs every case")
def test_every_case_gives_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "bench.json"

    code = main(["--rows", "40,400", "--times", "1", "--out", str(record)])

    assert 0 == code, capsys.readouterr().err
    found = json.loads(record.read_text())
    assert list(CASES) == list(found["cases"])
    assert all(found["cases"].values())
    assert {40, 400} <= {one["rows"] for one in found["measurements"]}


def test_a_wrong_output_fails_the_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the plain script, of which one has a byte that a run does not write."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for folder in (right, wrong):
        folder.mkdir()
        for name in OUTPUTS:
            (folder / name).write_text("id\n1\n")
    (wrong / OUTPUTS[1]).write_text("id\n2\n")
    monkeypatch.setitem(CASES, "audit", lambda _: compare(right, wrong))

    assert 1 == main(["audit", "--rows", "40"])
    assert f"{OUTPUTS[1]} differs from" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["nothing"], ["--rows", "ten"], ["--rows", "10,1"], ["--docs", "no-such-file.md"]])
def test_a_case_or_size_that_there_is_not_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert 2 == ended.value.code
    assert words[-1] in capsys.readouterr().err
