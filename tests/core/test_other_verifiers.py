"""Programs that are not ours agree about trees, notes and checkpoints.

`metamorphic_log` verifies in Rust; `tamperlog` makes and checks proofs by the recursive definitions of
RFC 6962, which merkle.py does not use. What Go wrote is in test_notes.py.
"""

from __future__ import annotations

from collections.abc import Callable

import metamorphic_log
import pytest
import tamperlog.errors
from metamorphic_log import VerifyError
from tamperlog import merkle as theirs

from elspeth.contracts import NoteError
from elspeth.core.merkle import (
    check_consistency,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root_from_inclusion,
    root_of,
)
from elspeth.core.notes import Checkpoint, SigningKey, encode_checkpoint, parse_note

SIZES = range(1, 34)
LEAVES = [leaf_hash(str(number).encode()) for number in range(SIZES.stop)]
KEY = SigningKey("elspeth.example/log", bytes(range(32)))
VERIFIER_LINE = KEY.verifier.encode()


@pytest.mark.parametrize("size", SIZES)
def test_others_make_the_same_roots_and_the_same_paths(size: int) -> None:
    leaves = LEAVES[:size]

    assert theirs.merkle_root(leaves) == root_of(leaves)
    for index in range(size):
        assert theirs.inclusion_proof(index, leaves) == inclusion_path(leaves, index)
    for old_size in range(size + 1):
        assert theirs.consistency_proof(old_size, leaves) == consistency_path(leaves, old_size)


@pytest.mark.parametrize("size", SIZES)
def test_we_accept_the_proofs_that_others_make(size: int) -> None:
    leaves = LEAVES[:size]
    root = theirs.merkle_root(leaves)

    for index, leaf in enumerate(leaves):
        path = theirs.inclusion_proof(index, leaves)
        assert root == root_from_inclusion(leaf, index=index, size=size, path=path)
    for old_size in range(1, size + 1):
        assert check_consistency(
            old_size=old_size,
            old_root=theirs.merkle_root(leaves[:old_size]),
            new_size=size,
            new_root=root,
            path=theirs.consistency_proof(old_size, leaves),
        )


@pytest.mark.parametrize("size", SIZES)
def test_others_accept_our_inclusion_paths(size: int) -> None:
    leaves = LEAVES[:size]
    root = root_of(leaves)

    for index, leaf in enumerate(leaves):
        path = inclusion_path(leaves, index)
        metamorphic_log.verify_inclusion(index, size, leaf, path, root)
        theirs.verify_inclusion(index, size, leaf, path, root)
        with pytest.raises(VerifyError):
            metamorphic_log.verify_inclusion(index, size, LEAVES[size], path, root)
        with pytest.raises(tamperlog.errors.ProofError):
            theirs.verify_inclusion(index, size, LEAVES[size], path, root)


@pytest.mark.parametrize("size", SIZES)
def test_others_accept_our_consistency_paths(size: int) -> None:
    leaves = LEAVES[:size]
    root = root_of(leaves)

    for old_size in range(1, size + 1):
        old_root, path = root_of(leaves[:old_size]), consistency_path(leaves, old_size)
        metamorphic_log.verify_consistency(old_size, size, path, old_root, root)
        theirs.verify_consistency(old_size, old_root, size, root, path)
        with pytest.raises(VerifyError):
            metamorphic_log.verify_consistency(old_size, size, path, LEAVES[size], root)


def test_others_accept_our_notes_and_refuse_changed_ones() -> None:
    signed = KEY.sign("Any text,\n\neven one with a blank line and ünicode.\n")
    stranger = SigningKey.generate().verifier.encode()

    assert 1 == metamorphic_log.verify_signed_note(signed, [stranger, VERIFIER_LINE])
    for wrong, keys in ((signed.replace("Any", "any"), [VERIFIER_LINE]), (signed, [stranger])):
        with pytest.raises(VerifyError):
            metamorphic_log.verify_signed_note(wrong, keys)


def test_others_read_our_checkpoints_as_we_mean_them() -> None:
    checkpoint = Checkpoint("elspeth.example/log", len(LEAVES), root_of(LEAVES), ("for whoever knows",))
    signed = KEY.sign(encode_checkpoint(checkpoint))

    head = metamorphic_log.checkpoint_verify(signed, [VERIFIER_LINE])
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (head.origin, head.size, head.root)
    assert list(checkpoint.extensions) == head.extensions


def test_others_follow_a_log_of_ours_from_checkpoint_to_checkpoint() -> None:
    """All of it at once: two signed heads, the proof between them, and a leaf under the second."""
    old, new = (
        KEY.sign(encode_checkpoint(Checkpoint("elspeth.example/log", size, root_of(LEAVES[:size])))) for size in (9, 30)
    )

    metamorphic_log.checkpoint_verify_consistency(old, new, [VERIFIER_LINE], consistency_path(LEAVES[:30], 9))
    metamorphic_log.checkpoint_verify_inclusion(new, [VERIFIER_LINE], 17, LEAVES[17], inclusion_path(LEAVES[:30], 17))
    with pytest.raises(VerifyError):
        metamorphic_log.checkpoint_verify_consistency(old, new, [VERIFIER_LINE], consistency_path(LEAVES[:30], 8))


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note[:-1],
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.replace("— ", "- "),
        lambda note: note.replace("=\n", "\n"),
        lambda note: note.replace("text", "te\txt"),
    ],
    ids=["no newline at the end", "no blank line", "no em dash", "no padding", "a control character"],
)
def test_others_refuse_what_we_refuse(change: Callable[[str], str]) -> None:
    changed = change(KEY.sign("a text\n"))

    with pytest.raises(VerifyError):
        metamorphic_log.verify_signed_note(changed, [VERIFIER_LINE])
    with pytest.raises(NoteError):
        parse_note(changed)
