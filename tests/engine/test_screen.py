"""Secrets are found in many lines at once where they are found in one of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.calls import Redactor
from elspeth.engine.plan import Step
from elspeth.engine.screen import RedactingScreen

STEP = Step(number=1, name="step", targets={})
ROW = 0


@given(st.lists(st.sampled_from([b"", b"plain", b"a sk-secret-1 b", b"sk-se", b"cret-1", b"sk-secret-1"]), max_size=6))
def test_the_places_are_those_of_the_lines_with_a_secret(data: list[bytes]) -> None:
    redactor = Redactor(["sk-secret-1"])
    found = RedactingScreen(redactor).with_secret(STEP, [ROW] * len(data), data)

    assert {place for place, one in enumerate(data) if redactor.is_in(one)} == set(found)


def test_without_secrets_nothing_is_found() -> None:
    assert not RedactingScreen(Redactor()).with_secret(STEP, [ROW], [b"anything"])
