"""Every fault at every operation: recorded, told without a traceback, mended by a resume, never paid for twice."""

from typing import Any

import pytest
from tests.e2e.fault_scene import Scene, fault, scene
from tests.e2e.project import Done
from tests.e2e.wire import of

Folders = pytest.TempPathFactory
ROWS = 3
OPERATIONS = ["files.create", "files.retrieve", "batches.create", "batches.list", "batches.retrieve", "files.content"]
ACTIONS: dict[str, Any] = {
    "401": {"status": 401},
    "404": {"status": 404},
    "429": {"status": 429},
    "500": {"status": 500},
    "reset_before": "reset_before",
    "reset_after": "reset_after",
    "stall": "stall",
    "truncate": "truncate",
    "malformed_json": "malformed_json",
}
ONCE = ["401", "404", "429", "500", "reset_before", "reset_after"]
RESULTS_LOST = ("files.content", "404")  # a rerun costs money: only a person can want it
FINAL = {"401": 4, "404": 3}
"""The exit code of a fault that a later attempt would meet again; all others are waited out."""

NOT_FINAL_AT = {("files.retrieve", "404"), ("batches.create", "404"), ("batches.retrieve", "404")}
PENDING = fault("files.create", "every", {"patch": {"status": "pending"}})
LOST_ANSWER = fault("batches.create", 1, "reset_after")


def check_ending(played: Scene, done: Done, word: str) -> None:
    """Someone who reads the terminal knows what happened and what to do."""
    if done.code in (3, 4):
        played.check_told(done, {"reset_before": "no answer", "reset_after": "no answer"}.get(word, word))
    else:
        played.check_told(done, "Safe to close")


def check_met(played: Scene, operation: str, word: str) -> None:
    assert [e for e in of(played.journal(), operation) if e["fault"] == ACTIONS[word]], "the fault was met"


def check_completed(played: Scene) -> None:
    played.check_complete(ROWS)
    assert {0} == {attempt for _, attempt, _, _ in played.batches()}
    assert len(played.batches()) == played.accepted(), "one job for each file and no other was paid for"


@pytest.mark.parametrize("word", ONCE)
def test_a_fault_that_happens_once_at_each_operation(tmp_path_factory: Folders, word: str) -> None:
    operations = [operation for operation in OPERATIONS if (operation, word) != RESULTS_LOST]
    faults = [fault(operation, 1, ACTIONS[word]) for operation in operations]
    lost = fault("batches.create", 2, "reset_after")
    with scene(tmp_path_factory.mktemp("once"), *faults, lost, PENDING) as played:
        played.prepare(ROWS, max_requests=2, attempts=4)
        final = [operation for operation in operations if word in FINAL and (operation, word) not in NOT_FINAL_AT]
        codes = [*(FINAL[word] for _ in final), 0]
        for number, code in enumerate(codes):
            done = played.run(code=code) if number == 0 else played.resume(code=code)
            if code:
                check_ending(played, done, word)
        for operation in operations:
            check_met(played, operation, word)
        check_completed(played)


@pytest.mark.parametrize("word", ["truncate", "malformed_json"])
def test_answers_that_are_cut_are_recorded_as_far_as_they_came(tmp_path_factory: Folders, word: str) -> None:
    """A whole answer that is half a file cannot be told from the file: there only what breaks off is met."""
    faults = [fault(operation, 1, word) for operation in OPERATIONS[:5]] + [fault("files.content", 1, "truncate")]
    with scene(tmp_path_factory.mktemp("cut"), *faults, PENDING) as played:
        played.prepare(ROWS, max_requests=2, attempts=4)
        played.run()
        for pair in played.exchanges():
            assert pair.entry["response_sha256"] == pair.call["response_hash"]
        for operation in OPERATIONS[: 6 if word == "truncate" else 5]:
            check_met(played, operation, word)
        check_completed(played)


@pytest.mark.parametrize("word", ["401", "429", "500", "reset_before", "stall"])
def test_a_fault_that_stays(tmp_path_factory: Folders, word: str) -> None:
    """At one operation after the other it outlasts a process, and the next process goes on from there."""
    with scene(tmp_path_factory.mktemp("stays")) as played:
        played.prepare(ROWS, max_requests=ROWS, attempts=9, options={"timeout_seconds": 0.3})
        for operation in OPERATIONS:
            stays = [fault(operation, "every", ACTIONS[word])]
            stays += {"files.retrieve": [PENDING], "batches.list": [LOST_ANSWER]}.get(operation, [])
            played.simulator.add_faults(stays)
            code = FINAL.get(word, 75)
            done = wait_until_met(played, operation, word, code)
            check_ending(played, done, word)
            played.simulator.clear_faults()
        played.resume()
        check_completed(played)


def wait_until_met(played: Scene, operation: str, word: str, code: int) -> Done:
    """On a busy machine the time that is given may be over before the fault is met."""
    for _ in range(20):
        command = ["resume", "latest"] if played.told else ["run", "pipeline.yaml"]
        done = played.project(*command, "--wait", "1s", code=None, timeout=120)
        played.told.append(done)
        if any(e["fault"] == ACTIONS[word] for e in of(played.journal(), operation)):
            break
        assert 75 == done.code, (done.out, done.err)
    check_met(played, operation, word)
    assert code == done.code, (done.out, done.err)
    return done
