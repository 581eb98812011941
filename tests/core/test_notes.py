"""Published notes and keys, what is refused as malformed, and who signed what.

What holds for every note is in tests/property/test_notes.py.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys

import pytest

from elspeth.contracts import KeyFileError, NoteError
from elspeth.core.notes import (
    Checkpoint,
    Note,
    Signature,
    SigningKey,
    VerifierKey,
    encode_checkpoint,
    parse_checkpoint,
    parse_note,
    split_notes,
)

GO_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    f"{GO_TEXT}\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example of golang.org/x/mod/sumdb/note."""

C2SP_CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
C2SP_NOTE = (
    f"{C2SP_CHECKPOINT}\n— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
"""The example of c2sp.org/tlog-checkpoint."""


def test_the_published_note_of_go_verifies() -> None:
    key = VerifierKey.parse(GO_VERIFIER)
    note = parse_note(GO_NOTE)

    assert ("PeterNeumann", bytes.fromhex("c74f20a3")) == (key.name, key.key_id)
    assert GO_TEXT == note.text
    assert key == note.signed_by([key])


def test_the_published_key_of_go_signs_the_same_bytes() -> None:
    key = SigningKey.parse(GO_SIGNER)

    assert GO_NOTE == key.sign(GO_TEXT)
    assert GO_SIGNER == key.encode()
    assert GO_VERIFIER == key.verifier.encode()


def test_the_published_checkpoint_is_read() -> None:
    note = parse_note(C2SP_NOTE)
    checkpoint = parse_checkpoint(note.text)

    assert ["example.com/behind-the-sofa"] == [signature.name for signature in note.signatures]
    assert ("example.com/behind-the-sofa", 20852163) == (checkpoint.origin, checkpoint.size)
    assert "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62" == checkpoint.root.hex()
    assert C2SP_CHECKPOINT == encode_checkpoint(checkpoint)
    assert C2SP_NOTE == note.encode()


def test_a_new_key_is_called_after_its_public_half() -> None:
    key = SigningKey.generate()

    assert f"elspeth-{hashlib.sha256(key.verifier.public).hexdigest()[:8]}" == key.name
    assert key != SigningKey.generate()
    assert "auditor.example" == SigningKey.generate("auditor.example").name


def test_a_signing_key_does_not_show_its_seed() -> None:
    key = SigningKey.parse(GO_SIGNER)

    assert "SigningKey(name='PeterNeumann')" == repr(key)


# Who signed


def test_a_note_of_strangers_is_signed_by_nobody_we_know() -> None:
    note = parse_note(SigningKey.generate("stranger").sign("text\n"))

    assert note.signed_by([]) is None
    assert note.signed_by([VerifierKey.parse(GO_VERIFIER)]) is None


def test_one_name_or_one_id_is_not_yet_the_same_key() -> None:
    """Else whoever calls a key like ours could make our notes fail."""
    ours, stranger = SigningKey.generate("same"), SigningKey.generate("same")
    signature = parse_note(ours.sign("text\n")).signatures[0]
    other_name = Note("text\n", (Signature("other", signature.key_id, bytes(64)),))

    assert parse_note(stranger.sign("text\n")).signed_by([ours.verifier]) is None
    assert other_name.signed_by([ours.verifier]) is None


def test_a_changed_text_is_no_longer_signed_by_a_known_key() -> None:
    forged = parse_note(GO_NOTE.replace("answer", "Answer"))

    with pytest.raises(NoteError, match=r"PeterNeumann\+c74f20a3 does not fit the text"):
        forged.signed_by([VerifierKey.parse(GO_VERIFIER)])


def test_one_forged_signature_of_a_known_key_spoils_the_note() -> None:
    first, second = SigningKey.generate("first"), SigningKey.generate("second")
    good = parse_note(first.sign("text\n")).signatures
    (of_another_text,) = parse_note(second.sign("other text\n")).signatures
    note = Note("text\n", (*good, of_another_text))

    assert first.verifier == note.signed_by([first.verifier])
    with pytest.raises(NoteError, match="second"):
        note.signed_by([first.verifier, second.verifier])


def test_a_signature_of_the_wrong_length_is_a_forged_one() -> None:
    key = SigningKey.generate("k")
    note = Note("text\n", (Signature("k", key.verifier.key_id, b"short"),))

    with pytest.raises(NoteError, match="does not fit"):
        note.signed_by([key.verifier])


def test_the_order_of_the_keys_decides_between_two_signers() -> None:
    first, second = SigningKey.generate("first"), SigningKey.generate("second")
    signatures = [parse_note(key.sign("text\n")).signatures[0] for key in (first, second)]
    note = Note("text\n", tuple(signatures))

    assert second.verifier == note.signed_by(key.verifier for key in (second, first))


# What is malformed

SIGNED = GO_NOTE.removeprefix(f"{GO_TEXT}\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no blank line"),
        (GO_TEXT, "no blank line"),
        (f"{GO_TEXT}\n", "no blank line"),
        (f"{GO_TEXT}{SIGNED}", "no blank line"),
        (f"\n{SIGNED}", "no blank line"),
        (GO_NOTE[:-1], "does not end in a newline"),
        (f"{GO_NOTE}\n", "no blank line"),
        (f"{GO_NOTE}more\n", "is no signature"),
        (GO_NOTE.replace("— ", "- "), "is no signature"),
        (GO_NOTE.replace("— PeterNeumann ", "— PeterNeumann"), "is no signature"),
        (GO_NOTE.replace("— PeterNeumann ", "—  "), "is no signature"),
        (GO_NOTE.replace("— PeterNeumann", "— Peter+Neumann"), "is no signature"),
        (GO_NOTE.replace("— PeterNeumann", "— Peter\N{NO-BREAK SPACE}Neumann"), "is no signature"),
        (GO_NOTE.replace("nAM=\n", "nAM\n"), "not the base64"),
        (GO_NOTE.replace("nAM=\n", "nAN=\n"), "not the base64"),
        (GO_NOTE.replace("nAM=\n", "nAM= \n"), "not the base64"),
        (GO_NOTE.replace("nAM=\n", "nAM=nAM=\n"), "not the base64"),
        (GO_NOTE.replace("/ZJku", "_ZJku"), "not the base64"),
        (GO_NOTE.replace("x08go", "é08go"), "not the base64"),
        (f"{GO_TEXT}\n— PeterNeumann x08gow==\n", "not the base64 of a key id and a signature"),
        (GO_NOTE.replace("\n", "\r\n"), "control character"),
        (GO_NOTE.replace("answer", "an\tswer"), "control character"),
        (GO_NOTE.replace("answer", "an\0swer"), "control character"),
        (GO_NOTE.replace("answer", "an\udc80swer"), "half a surrogate pair"),
        (f"{GO_TEXT}\n{SIGNED * 101}", "more than 100"),
    ],
)
def test_what_is_not_exactly_a_note_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NoteError, match=reason):
        parse_note(text)


def test_sixteen_signatures_are_not_too_many() -> None:
    assert 16 == len(parse_note(f"{GO_TEXT}\n{SIGNED * 16}").signatures)


def test_a_text_may_have_blank_lines_and_lines_that_look_like_signatures() -> None:
    text = f"one\n\n{SIGNED}\n\n"
    key = SigningKey.generate("k")
    note = parse_note(key.sign(text))

    assert text == note.text
    assert key.verifier == note.signed_by([key.verifier])


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "return\r\n", "half\ud800\n"])
def test_what_no_note_can_hold_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        SigningKey.generate("k").sign(text)


# Keys


def test_every_mangling_of_a_verifier_key_is_refused() -> None:
    """As the tests of Go's note package do: each piece of the line, and each character by another."""
    count = len(GO_VERIFIER)
    pieces = {GO_VERIFIER[i:j] for i in range(count) for j in range(i + 1, count + 1)} - {GO_VERIFIER}
    changed = {f"{GO_VERIFIER[:i]}{chr(ord(c) + 1)}{GO_VERIFIER[i + 1 :]}" for i, c in enumerate(GO_VERIFIER)}

    for line in ("", *pieces, *changed, f" {GO_VERIFIER}", f"{GO_VERIFIER}\n", GO_VERIFIER.replace("c74f", "C74F")):
        with pytest.raises(KeyFileError) as refused:
            VerifierKey.parse(line)
        assert refused.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
    ids=["length", "algorithm"],
)
def test_a_key_of_another_length_or_kind_is_refused_though_its_id_fits(line: str) -> None:
    with pytest.raises(KeyFileError, match="not an Ed25519 key"):
        VerifierKey.parse(line)


@pytest.mark.parametrize("line", ["", GO_VERIFIER, GO_SIGNER[:-1], GO_SIGNER[:-4], f"{GO_SIGNER}\n", GO_SIGNER.lower()])
def test_a_mangled_signing_key_is_refused_and_never_shown(line: str) -> None:
    with pytest.raises(KeyFileError) as refused:
        SigningKey.parse(line)
    assert refused.value.hint
    assert GO_SIGNER[-30:] not in f"{refused.value} {refused.value.hint}"


def test_a_signing_key_under_another_name_has_another_id() -> None:
    with pytest.raises(KeyFileError, match="does not fit"):
        SigningKey.parse(GO_SIGNER.replace("PeterNeumann", "PaulNeumann"))


@pytest.mark.parametrize("name", ["", "two words", "plus+plus", "tab\t", "null\0", "thin\N{THIN SPACE}space", "\ud800"])
def test_a_name_that_a_note_could_not_hold_is_no_name_of_a_key(name: str) -> None:
    with pytest.raises(KeyFileError, match="cannot be the name of a key"):
        SigningKey(name, bytes(32))


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(KeyFileError, match="32 bytes"):
        SigningKey("k", bytes(31))
    with pytest.raises(KeyFileError, match="32 bytes"):
        VerifierKey("k", bytes(33))


def test_the_library_of_ciphers_is_loaded_only_when_it_is_needed() -> None:
    """It would cost every command a part of its start."""
    script = "import sys; import elspeth.core.notes; sys.exit('cryptography' in sys.modules)"

    subprocess.run([sys.executable, "-c", script], check=True)


# Checkpoints

ROOT = bytes(range(32))
ROOT_LINE = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "o\n1\n",
        f"o\n1\n{ROOT_LINE}",
        f"\n1\n{ROOT_LINE}\n",
        f"o\n1\n{ROOT_LINE}\n\n",
        f"o\n1\n{ROOT_LINE}\n\nmore\n",
        f"o\n01\n{ROOT_LINE}\n",
        f"o\n+1\n{ROOT_LINE}\n",
        f"o\n-1\n{ROOT_LINE}\n",
        f"o\n1_0\n{ROOT_LINE}\n",
        f"o\n １\n{ROOT_LINE}\n",
        f"o\n١\n{ROOT_LINE}\n",
        f"o\n\n{ROOT_LINE}\n",
        f"o\n9223372036854775808\n{ROOT_LINE}\n",
        f"o\n{'9' * 5000}\n{ROOT_LINE}\n",
        "o\n1\nnot base64\n",
        f"o\n1\n{ROOT_LINE[:-4]}\n",
        f"o\n1\n{ROOT_LINE} \n",
        f"o\t\n1\n{ROOT_LINE}\n",
        f"o\n1\n{ROOT_LINE}\next\r\n",
    ],
)
def test_what_is_not_exactly_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(text)


def test_a_checkpoint_holds_lines_of_others_too() -> None:
    checkpoint = Checkpoint("o", 0, ROOT, ("one", "two words"))

    assert f"o\n0\n{ROOT_LINE}\none\ntwo words\n" == encode_checkpoint(checkpoint)
    assert checkpoint == parse_checkpoint(encode_checkpoint(checkpoint))


@pytest.mark.parametrize(
    "values",
    [
        ("", 1, ROOT, ()),
        ("a\nb", 1, ROOT, ()),
        ("o", -1, ROOT, ()),
        ("o", 1 << 63, ROOT, ()),
        ("o", 1, ROOT[1:], ()),
        ("o", 1, ROOT, ("",)),
        ("o", 1, ROOT, ("a\nb",)),
        ("o", 1, ROOT, ("\ud800",)),
    ],
)
def test_a_checkpoint_that_could_not_be_read_back_is_not_made(values: tuple[str, int, bytes, tuple[str, ...]]) -> None:
    with pytest.raises(NoteError):
        Checkpoint(*values)


# Several notes in one file


def test_a_file_of_notes_is_split_into_them() -> None:
    notes = [GO_NOTE, C2SP_NOTE, f"{GO_NOTE}{SIGNED}", C2SP_NOTE]

    assert notes == split_notes("".join(notes))
    assert [] == split_notes("")


def test_a_line_of_the_text_that_begins_like_a_signature_does_not_end_it() -> None:
    note = SigningKey.generate().sign(f"text\n{SIGNED}more text\n")

    assert [note, note] == split_notes(note * 2)


def test_a_note_that_was_cut_short_is_the_last_piece_and_is_refused() -> None:
    cut = C2SP_NOTE[:-9]
    *whole, rest = split_notes(GO_NOTE + cut)

    assert ([GO_NOTE], cut) == (whole, rest)
    with pytest.raises(NoteError):
        parse_note(rest)


def test_what_stands_between_two_notes_is_refused_with_the_second() -> None:
    first, second = split_notes(f"{GO_NOTE}stray\n\n{C2SP_NOTE}")

    assert GO_NOTE == first
    assert f"stray\n\n{C2SP_NOTE}" == second
    with pytest.raises(NoteError):
        parse_checkpoint(parse_note(second).text)
