"""The command line: every option reaches the settings; the process keeps its promises."""

import argparse
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.simulator.client import AZURE, WireClient, batch_of
from tests.simulator.process import running

from elspeth.simulator import AZURE_QUIRKS, Settings, add_arguments, main, settings_from_arguments


def settings_of(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return settings_from_arguments(parser.parse_args(arguments))


def test_without_options_the_settings_are_the_defaults() -> None:
    assert Settings() == settings_of()


FAULT = {"operation": "files.list", "action": "stall"}

OPTIONS: list[tuple[list[str], dict[str, Any]]] = [
    (["--host", "127.0.0.2"], {"host": "127.0.0.2"}),
    (["--port", "8080"], {"port": 8080}),
    (["--state", "folder"], {"state_dir": Path("folder")}),
    (["--api-key", "k"], {"api_key": "k"}),
    (["--seed", "s"], {"seed": "s"}),
    (["--latency", "500ms"], {"latency_s": 0.5}),
    (["--file-latency", "2m"], {"file_latency_s": 120.0}),
    (["--deployment", "a", "--deployment", "b"], {"deployments": frozenset({"a", "b"})}),
    (["--model-name", "m"], {"model_name": "m"}),
    (["--upstream", "http://x/v1"], {"upstream_url": "http://x/v1"}),
    (["--upstream", "u", "--upstream-key-env", "A_KEY"], {"upstream_url": "u", "upstream_key": "secret"}),
    (["--max-requests", "7"], {"max_requests": 7}),
    (["--max-file-bytes", "9"], {"max_file_bytes": 9}),
    (["--quirk", "iso_dates", "--quirk", "null_counts"], {"quirks": frozenset({"iso_dates", "null_counts"})}),
    (["--quirks", "azure"], {"quirks": AZURE_QUIRKS}),
    (["--quirks", "azure", "--quirk", "wrong_counts"], {"quirks": AZURE_QUIRKS | {"wrong_counts"}}),
    (["--fail-rate", "0.25"], {"fail_rate": 0.25}),
    (["--fail-kinds", "429, refusal"], {"fail_kinds": ("429", "refusal")}),
    (["--expire-after", "0.5"], {"expire_after": 0.5}),
    (["--undone-rows", "missing"], {"undone_rows": "missing"}),
    (["--faulty-jobs", "1"], {"faulty_jobs": 1}),
    (["--enqueued-token-limit", "5"], {"enqueued_token_limit": 5}),
    (["--quota-style", "job"], {"quota_style": "job"}),
]


@pytest.mark.parametrize(("arguments", "expected"), OPTIONS)
def test_an_option_reaches_the_settings(
    arguments: list[str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "secret")
    assert Settings(**expected) == settings_of(*arguments)


def test_a_faults_file_reaches_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text(json.dumps({"faults": [FAULT], "row_faults": {"row-1": "429"}}))
    rows = {"operation": "batches.create", "occurrence": "every", "action": {"row_faults": {"row-1": "429"}}}
    assert (FAULT, rows) == settings_of("--faults", str(path)).faults


def test_every_option_is_tested_here() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    source = Path(__file__).read_text(encoding="utf-8")
    options = {name for action in parser._actions for name in action.option_strings}
    options -= {"--exit-with-parent"}  # given to every process of these tests
    assert [name for name in sorted(options) if f'"{name}"' not in source] == []


@pytest.mark.parametrize("arguments", [
    ["--latency", "soon"],
    ["--latency", "-1s"],
    ["--fail-rate", "2"],
    ["--fail-kinds", "418"],
    ["--fail-kinds", ""],
    ["--quirk", "unknown"],
    ["--expire-after", "-0.1"],
    ["--upstream-key-env", "NOT_SET_ANYWHERE"],
    ["--faults", "/no/such/file"],
])  # fmt: skip
def test_an_option_that_makes_no_sense_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_faults_file_that_can_not_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "faults.json"
    path.write_text('[{"operation": "files.list", "action": "stal"}]')
    with pytest.raises(SystemExit):
        main(["--faults", str(path)])
    assert "faults.json: unknown action 'stal'" in capsys.readouterr().err


def test_settings_with_unknown_words_are_refused() -> None:
    for wrong in ({"quirks": ["x"]}, {"row_faults": {"r": "x"}}, {"undone_rows": "x"}, {"quota_style": "x"}):
        with pytest.raises(ValueError, match="unknown"):
            Settings(**wrong)


def test_keys_are_not_in_the_repr_of_the_settings() -> None:
    assert "secret" not in repr(Settings(api_key="secret", upstream_key="secret"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_where_it_is_and_ends_cleanly_on_a_signal(number: int, tmp_path: Path) -> None:
    plan = tmp_path / "faults.json"
    plan.write_text(json.dumps(FAULT))
    with running("--faults", str(plan)) as process, WireClient(process.url) as client:
        assert {"schema_version", "url", "pid"} == set(process.ready)
        assert (1, process.popen.pid) == (process.ready["schema_version"], process.ready["pid"])
        with pytest.raises(httpx2.ReadTimeout):
            client.http.get("/files", timeout=0.1)
        started = time.monotonic()
        os.kill(process.popen.pid, number)
        assert process.popen.wait(5) == 0
        assert time.monotonic() - started < 1
        assert process.end() == (b"", b"")


def test_the_process_ends_with_its_parent() -> None:
    with running() as process:
        assert process.popen.stdin is not None
        process.popen.stdin.close()
        assert process.popen.wait(5) == 0
        process.popen.stdin = None


def test_verbose_logs_to_standard_error_and_never_to_standard_output() -> None:
    with running("--verbose", "--latency", "0") as process, WireClient(process.url) as client:
        client.run(batch_of(1))
        process.popen.terminate()
        out, err = process.popen.communicate(timeout=5)
        assert out == b""
        assert b"completed" in err


def test_a_whole_run_through_the_command_line() -> None:
    options = ["--latency", "0", "--quirks", "azure", "--fail-rate", "0.5", "--fail-kinds", "refusal,500"]
    with running(*options, "--api-key", "k", "--seed", "7") as process:
        with WireClient(process.url, AZURE, key="k") as client:
            batch = client.run(batch_of(40))
            while not batch["output_file_id"]:
                batch = client.batch(batch["id"])
            good, bad = client.lines(batch["output_file_id"]), client.lines(batch["error_file_id"])
    refused = [row for row in good if row["response"]["body"]["choices"][0]["message"]["refusal"]]
    assert len(good) + len(bad) == 40
    assert len(refused) > 0
    assert {500} == {row["response"]["status_code"] for row in bad}


def test_a_large_file_is_answered_in_flat_memory() -> None:
    with running("--latency", "0.1", "--quirk", "shuffled_output") as process:
        with WireClient(process.url, timeout=30) as client:
            batch = client.run(batch_of(20_000, padding="x" * 2000))
            assert batch["request_counts"]["completed"] == 20_000
            client.content(batch["output_file_id"])
        status = Path(f"/proc/{process.popen.pid}/status")
        if status.exists():
            peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            assert int(peak.split()[1]) < 150_000
