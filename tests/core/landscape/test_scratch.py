from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.core.landscape.scratch import ScratchTable


def test_the_last_values_that_were_put_are_found() -> None:
    table = ScratchTable(("number", "digest"))
    table.put(b"one", 1, b"x")
    table.put(b"one", 2, None)

    assert (2, None) == table.get(b"one")
    assert table.get(b"two") is None


def test_the_first_values_that_were_added_stay() -> None:
    table = ScratchTable(("number",))
    table.add_all([(b"one", 1), (b"one", 2), (b"two", 3)])
    table.add_all([(b"two", 4)])

    assert [(1,), (3,)] == [table.get(b"one"), table.get(b"two")]


def test_nothing_of_it_is_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even of more than memory is to hold."""
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    monkeypatch.setattr("elspeth.core.landscape.scratch._CACHE_KIB", 64)
    table = ScratchTable(("filling",))
    table.add_all((number.to_bytes(32), bytes(1_000)) for number in range(1_000))

    assert [] == list(tmp_path.iterdir())
    assert (bytes(1_000),) == table.get((999).to_bytes(32))
    table.close()
