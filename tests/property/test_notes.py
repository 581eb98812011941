"""Notes, keys and checkpoints come back as they were, and no changed one passes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import NoteError
from elspeth.core.notes import (
    Checkpoint,
    Note,
    SigningKey,
    VerifierKey,
    encode_checkpoint,
    parse_checkpoint,
    parse_note,
    split_notes,
)

CHARACTERS = st.characters(exclude_categories=["Cs"]).filter(lambda c: c >= " ")
TEXTS = st.text(CHARACTERS | st.just("\n"), max_size=200).map(lambda text: f"{text}\n")
LINES = st.text(CHARACTERS, min_size=1, max_size=40)
NAMES = LINES.filter(lambda name: not any(c.isspace() or c == "+" for c in name))
KEYS = st.builds(SigningKey, NAMES, st.binary(min_size=32, max_size=32))
CHECKPOINTS = st.builds(
    Checkpoint,
    LINES.filter(lambda origin: not origin.startswith("— ")),
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(LINES, max_size=3).map(tuple),
)


@given(TEXTS, st.lists(KEYS, min_size=1, max_size=3))
def test_what_is_signed_is_read_back_and_verifies(text: str, keys: list[SigningKey]) -> None:
    note = Note(text, tuple(parse_note(key.sign(text)).signatures[0] for key in keys))

    assert note == parse_note(note.encode())
    assert note.encode() == parse_note(note.encode()).encode()
    for key in keys:
        assert key.verifier == note.signed_by([key.verifier])


@given(TEXTS, KEYS, st.data())
def test_no_character_of_a_note_can_be_changed(text: str, key: SigningKey, data: st.DataObject) -> None:
    """Unless the signature becomes that of somebody we do not know, and then nobody signed."""
    signed = key.sign(text)
    where = data.draw(st.integers(0, len(signed) - 1))
    other = data.draw((CHARACTERS | st.just("\n") | st.just("")).filter(lambda c: c != signed[where]))
    changed = f"{signed[:where]}{other}{signed[where + 1 :]}"

    with suppress(NoteError):
        assert parse_note(changed).signed_by([key.verifier]) is None


@given(st.text())
def test_whatever_is_read_as_a_note_is_one_or_is_refused(text: str) -> None:
    for candidate in (text, f"{text}\n\n— {text}\n", f"text\n\n— name {text}\n"):
        try:
            note = parse_note(candidate)
        except NoteError:
            continue
        assert candidate == note.encode()


@given(KEYS)
def test_keys_come_back_from_their_lines(key: SigningKey) -> None:
    assert key == SigningKey.parse(key.encode())
    assert key.verifier == VerifierKey.parse(key.verifier.encode())


@given(CHECKPOINTS)
def test_checkpoints_come_back_from_their_texts(checkpoint: Checkpoint) -> None:
    text = encode_checkpoint(checkpoint)

    assert checkpoint == parse_checkpoint(text)
    assert text == encode_checkpoint(parse_checkpoint(text))


@given(st.text(CHARACTERS | st.sampled_from("\n0123456789="), max_size=80))
def test_whatever_is_read_as_a_checkpoint_is_one_or_is_refused(text: str) -> None:
    for candidate in (text, f"{text}\n", f"origin\n1\n{text}\n", f"{text}\n1\n{'A' * 43}=\n"):
        try:
            checkpoint = parse_checkpoint(candidate)
        except NoteError:
            continue
        assert candidate == encode_checkpoint(checkpoint)


@given(st.lists(st.tuples(CHECKPOINTS, KEYS), max_size=4))
def test_joined_notes_are_split_where_they_were_joined(signed: list[tuple[Checkpoint, SigningKey]]) -> None:
    notes = [key.sign(encode_checkpoint(checkpoint)) for checkpoint, key in signed]

    assert notes == split_notes("".join(notes))


@given(st.text(st.sampled_from("\n— ax"), max_size=60) | st.text())
def test_splitting_loses_nothing(text: str) -> None:
    pieces = split_notes(text)

    assert text == "".join(pieces)
    assert "" not in pieces


@given(st.lists(st.tuples(CHECKPOINTS, KEYS), min_size=1, max_size=3), st.data())
def test_a_file_cut_anywhere_keeps_the_notes_before_the_cut(
    signed: list[tuple[Checkpoint, SigningKey]], data: st.DataObject
) -> None:
    notes = [key.sign(encode_checkpoint(checkpoint)) for checkpoint, key in signed]
    cut = data.draw(st.integers(0, len("".join(notes)) - 1))
    pieces = split_notes("".join(notes)[:cut])
    ends = [sum(map(len, notes[: number + 1])) for number in range(len(notes))]
    whole = sum(end <= cut for end in ends)

    assert notes[:whole] == pieces[:whole]
    for piece in pieces[whole:]:
        with pytest.raises(NoteError):
            parse_note(piece)
