"""Trust goes from a brought key to its successors, and nowhere else."""

from __future__ import annotations

import random

import pytest

from elspeth.app.rotations import state_rotation
from elspeth.app.succession import Statements, Succession, follow
from elspeth.core.landscape.verify import Finding
from elspeth.core.notes import SigningKey

A, B, C, X = (SigningKey(f"elspeth-{name}", bytes(31) + bytes([number])) for number, name in enumerate("abcx"))
A_TO_B = state_rotation(A, new=B.verifier, day="2026-11-26")
B_TO_C = state_rotation(B, new=C.verifier, day="2027-01-02")
X_TO_C = state_rotation(X, new=C.verifier, day="2027-01-02")
A_B = "elspeth-a named elspeth-b its successor on 2026-11-26"
B_C = "elspeth-b named elspeth-c its successor on 2027-01-02"


def followed(*statements: str, keys: tuple[SigningKey, ...] = (A,), known: tuple[SigningKey, ...] = ()) -> Succession:
    files = [Statements("rotations", "".join(statements))]
    return follow([key.verifier for key in keys], files, known=[key.verifier for key in known])


@pytest.mark.parametrize("seed", range(4))
def test_statements_lead_on_in_whatever_order_they_stand(seed: int) -> None:
    statements = [A_TO_B, B_TO_C, X_TO_C]
    random.Random(seed).shuffle(statements)

    assert Succession({B.verifier: A_B, C.verifier: f"{A_B}; {B_C}"}) == followed(*statements)


def test_they_may_be_in_several_files_and_in_more_than_one() -> None:
    files = [Statements("one", B_TO_C), Statements("two", A_TO_B + B_TO_C)]

    assert Succession({B.verifier: A_B, C.verifier: f"{A_B}; {B_C}"}) == follow([A.verifier], files)


def test_a_key_leads_to_those_after_it_only() -> None:
    assert Succession({C.verifier: B_C}) == followed(A_TO_B, B_TO_C, keys=(B,))
    assert Succession() == followed(A_TO_B, B_TO_C, keys=(C,))
    assert Succession() == followed()


def test_a_key_that_is_only_known_leads_nowhere() -> None:
    assert Succession() == followed(X_TO_C, known=(X,))


def test_a_brought_key_that_is_named_again_needs_no_chain() -> None:
    assert Succession() == followed(A_TO_B, keys=(A, B))
    assert Succession({B.verifier: A_B}) == followed(A_TO_B, state_rotation(B, new=A.verifier, day="2027-01-01"))


@pytest.mark.parametrize("known", [(), (A,)], ids=["brought", "known"])
def test_a_statement_in_the_name_of_a_key_that_did_not_sign_it_is_doubted(known: tuple[SigningKey, ...]) -> None:
    forged = A_TO_B.replace("2026-11-26", "2026-11-27")
    found = followed(B_TO_C, forged, keys=(X,) if known else (A,), known=known)

    message = f"the signature by elspeth-a+{A.verifier.key_id.hex()} does not fit the text"
    assert Succession({}, [Finding("rotations", "rotations statement 1", message)]) == found


def test_what_is_no_statement_is_doubted_and_the_others_are_followed() -> None:
    other, half = A.sign("something else\n"), A_TO_B[:-9]
    no_key = A.sign("elspeth key rotation v1\nnonsense\n2026-11-26\n")
    found = followed(other, A_TO_B, no_key, half)

    assert {B.verifier: A_B} == found.chains
    assert [0, 2, 3] == sorted(int(doubt.place.removeprefix("rotations statement ")) for doubt in found.doubts)
