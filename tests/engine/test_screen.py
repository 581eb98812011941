from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.calls import Redactor
from elspeth.engine.plan import Step
from elspeth.engine.screen import RedactingScreen
from elspeth.engine.tokens import Token

STEP = Step(number=1, name="step", targets={})
TOKEN = Token(0, {}, b"{}", b"", writer=0, is_new=False)
SECRET = "secret-1"
PIECES = st.sampled_from([b"", b"secret-", b"1", SECRET.encode(), b"a" + SECRET.encode() + b"\n", b"plain\n"])


@given(st.lists(PIECES, max_size=6))
def test_the_look_at_all_of_them_misses_none(data: list[bytes]) -> None:
    screen = RedactingScreen(Redactor([SECRET]))
    if any(screen.holds_secret(STEP, TOKEN, one) for one in data):
        assert screen.may_hold_secret(STEP, data)
    elif not any(SECRET.encode() in b"".join(data[:end]) for end in range(len(data) + 1)):
        assert not screen.may_hold_secret(STEP, data)
