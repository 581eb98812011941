"""What an old key says of its successor, and what is no such statement."""

from __future__ import annotations

import pytest

from elspeth.app.rotations import Rotation, read_rotations, state_rotation
from elspeth.contracts import KeyFileError, NoteError
from elspeth.core.notes import SigningKey, parse_checkpoint, parse_note

OLD = SigningKey("elspeth-old", bytes(31) + b"\x01")
NEW = SigningKey("elspeth-new", bytes(31) + b"\x02")
LAST = SigningKey("elspeth-last", bytes(31) + b"\x03")
DAY = "2026-02-03"


def test_a_statement_has_this_form() -> None:
    """Ed25519 is deterministic, so the bytes are fixed; whoever reads old statements relies on them."""
    expected = (
        "elspeth key rotation v1\n"
        "elspeth-new+6956ff4f+AXQiuYh1mAaOMsREipSa2ykND041ueAbDuXxoeYA/iZ0\n"
        "2026-02-03\n"
        "\n"
        "— elspeth-old "
        "rf8C46ibHR5CELfE9JUBtiJzHwRLVeUhDR75HpMx4xeFfFFuMP8m981dU3JvI2JehTt9/ZJHc9kI7Istd0gTI45axAE=\n"
    )

    assert expected == state_rotation(OLD, new=NEW.verifier, day=DAY)
    assert OLD.verifier == parse_note(expected).signed_by([OLD.verifier])


def test_statements_come_back_from_a_file_of_them() -> None:
    text = state_rotation(OLD, new=NEW.verifier, day=DAY) + state_rotation(NEW, new=LAST.verifier, day="2027-01-01")
    keys = [OLD.verifier, NEW.verifier]

    assert [
        Rotation(OLD.verifier, NEW.verifier, DAY),
        Rotation(NEW.verifier, LAST.verifier, "2027-01-01"),
    ] == read_rotations(text, iter(keys))
    assert [] == read_rotations("", keys)


def test_a_strangers_statement_is_refused() -> None:
    with pytest.raises(NoteError, match="no known key signed"):
        read_rotations(state_rotation(LAST, new=NEW.verifier, day=DAY), [OLD.verifier, NEW.verifier])


def test_a_changed_statement_is_refused() -> None:
    statement = state_rotation(OLD, new=NEW.verifier, day=DAY)

    for changed in (statement.replace(DAY, "2026-02-04"), statement.replace("elspeth-new", "elspeth-now")):
        with pytest.raises(NoteError, match="does not fit the text"):
            read_rotations(changed, [OLD.verifier])
    with pytest.raises(NoteError):
        read_rotations(statement[:-9], [OLD.verifier])


@pytest.mark.parametrize(
    "text",
    [
        "anything\n",
        "elspeth key rotation v1\n",
        f"elspeth key rotation v2\n{NEW.verifier.encode()}\n{DAY}\n",
        f"elspeth key rotation v1\n{NEW.verifier.encode()}\n{DAY}\nmore\n",
        f"elspeth key rotation v1\n{NEW.verifier.encode()}\ntoday\n",
        f"elspeth key rotation v1\n{NEW.verifier.encode()}\n\n",
    ],
)
def test_another_text_of_the_old_key_names_no_successor(text: str) -> None:
    with pytest.raises(NoteError, match="not a statement"):
        read_rotations(OLD.sign(text), [OLD.verifier])


def test_a_successor_without_a_sound_key_is_refused() -> None:
    with pytest.raises(KeyFileError):
        read_rotations(OLD.sign(f"elspeth key rotation v1\nnonsense\n{DAY}\n"), [OLD.verifier])


def test_no_statement_can_be_taken_for_a_checkpoint() -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(parse_note(state_rotation(OLD, new=NEW.verifier, day=DAY)).text)
