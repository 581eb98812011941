"""What a verifier brought is read out of files, and what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.authority import Authority

from elspeth.app.rotations import state_rotation
from elspeth.app.verification import read_brought
from elspeth.contracts import UsageError
from elspeth.core.landscape.verify import Brought, Finding
from elspeth.core.notes import SigningKey

OLD = SigningKey("elspeth-old", bytes(31) + b"\x01")
NEW = SigningKey("elspeth-new", bytes(31) + b"\x02")
STATEMENT = state_rotation(OLD, new=NEW.verifier, day="2026-11-26")
CHAIN = {NEW.verifier: "elspeth-old named elspeth-new its successor on 2026-11-26"}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.txt"
    path.write_text(f"{OLD.verifier.encode()}\n")
    return path


def test_statements_are_taken_from_files_and_from_this_machine(key: Path, tmp_path: Path) -> None:
    own, brought = tmp_path / "elspeth" / "rotations", tmp_path / "statements"
    own.parent.mkdir()
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    brought.write_text(STATEMENT)
    expected = Brought(keys=[OLD.verifier], checkpoints=[], known_keys=[], successors=CHAIN, doubts=[])
    without = Brought(keys=[OLD.verifier], checkpoints=[], known_keys=[], doubts=[])

    assert without == read_brought([key], [], environ)
    assert expected == read_brought([key], [], environ, rotations=[brought])
    own.write_text(STATEMENT)
    assert expected == read_brought([key], [], environ)
    assert Brought(checkpoints=[], keys=[], known_keys=[], doubts=[]) == read_brought([], [], environ)


def test_a_forged_statement_is_a_doubt_that_names_its_file(key: Path, tmp_path: Path) -> None:
    brought = tmp_path / "statements"
    brought.write_text(STATEMENT.replace("2026-11-26", "2020-01-01"))
    found = read_brought([key], [], {"XDG_CONFIG_HOME": str(tmp_path)}, rotations=[brought])

    message = f"the signature by elspeth-old+{OLD.verifier.key_id.hex()} does not fit the text"
    assert ([Finding("rotations", "statements statement 0", message)], {}) == (found.doubts, found.successors)


def test_statements_need_a_key_to_lead_on_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lead on from a key, and none was brought"):
        read_brought([], [], {"XDG_CONFIG_HOME": str(tmp_path)}, rotations=[tmp_path / "statements"])


def test_certificates_are_read_from_every_file(tmp_path: Path) -> None:
    authority, environ = Authority(), {"XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    (tmp_path / "tsa.pem").write_bytes(authority.certificate_pem)

    both = [tmp_path / "tsa.pem", tmp_path / "root.pem"]
    assert read_brought([], [], environ, tsa_certificates=both).authorities is not None
    with pytest.raises(UsageError, match="lead to no root"):
        read_brought([], [], environ, tsa_certificates=both[:1])
    with pytest.raises(UsageError, match=r"gone\.pem cannot be read"):
        read_brought([], [], environ, tsa_certificates=[tmp_path / "gone.pem"])
