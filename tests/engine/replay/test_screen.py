"""What a secret decided is obeyed, and nothing else is."""

from __future__ import annotations

import pytest
from tests.engine.replay.desk import found, replay
from tests.engine.workbench import Project

from elspeth.contracts import RowError, StateStatus
from elspeth.core.canonical import compact_json
from elspeth.engine.plan import Step
from elspeth.engine.replay.findings import Findings
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.screen import RecordedScreen
from elspeth.engine.replay.stretch import Stretch

STEP = Step(number=1, name="step", targets={})
ROW = 0


def screen(error: dict[str, object]) -> tuple[RecordedScreen, Findings]:
    findings = Findings(keep=1)
    made = RecordedScreen(Pairing(recorded={0: 0, 1: 1}, is_edited=False), findings)
    what = (StateStatus.FAILED.value, 0, None, None, compact_json(error))
    made.stretch = Stretch({0: (b"", 0)}, {(0, 1): (what, 0)})
    return made, findings


@pytest.mark.parametrize(
    ("recorded", "replayed", "is_obeyed"),
    [
        ("the key [REDACTED] is wrong", "the key sk-123 is wrong", True),
        ("the key [REDACTED] is wrong", "the key sk-123 is right", False),
        ("[REDACTED]", "anything", True),
        ("the key is wrong", "the key sk-123 is wrong", False),
    ],
)
def test_words_with_a_secret_stand_when_those_around_it_agree(recorded: str, replayed: str, is_obeyed: bool) -> None:
    made, findings = screen({"code": "leak", "message": recorded})
    error = made.error(STEP, ROW, RowError(code="leak", message=replayed))
    assert (recorded if is_obeyed else replayed) == error["message"]
    assert is_obeyed == bool(findings.not_recomputed)
    assert "other" == made.error(STEP, ROW, RowError(code="other", message=replayed))["code"]


def test_a_row_is_refused_for_a_secret_where_the_record_says_so() -> None:
    made, findings = screen({"code": "secret", "message": "m"})
    assert {0} == set(made.with_secret(STEP, [ROW], [b"data"]))
    assert {"rows that would have held a secret": 1} == findings.not_recomputed
    assert not screen({"code": "leak", "message": "[REDACTED]"})[0].with_secret(STEP, [ROW], [b"data"])


@pytest.mark.usefixtures("odd_plugins")
def test_a_replay_without_the_secret_gives_the_same_and_says_what_it_took_on_trust(bench: Project) -> None:
    bench.rows([{"bad": False, "leak": True}, {"bad": True, "leak": False}, {"bad": False, "leak": False}])
    bench.pipeline(
        """
        - {name: echo, plugin: echo_secret, on_error: failed}
        - {name: skip, gate: "True", routes: {true: done, false: next}}
        - name: ask
          plugin: openai_batch_llm
          options: {base_url: "http://127.0.0.1:9/v1", api_key: "${KEY}", model: m, template: "{{ row.bad }}"}
        """,
        source="schema: {bad: bool, leak: bool}",
        sinks=["done", "failed"],
    )
    bench.run()
    content = replay(bench)
    assert [] == found(content)
    assert content["is_identical"]
    assert {"rows that would have held a secret": 1, "failures whose words held a secret": 1} == content[
        "not_recomputed"
    ]
