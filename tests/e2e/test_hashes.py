"""Every hash in the trail is that of bytes which were really on the wire, and gives them back."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import zstandard
from tests.e2e.small_run import COUNT, SmallRun
from tests.e2e.wire import of, request_payload_hash, sha256

import elspeth

HEX = re.compile(r"\b[0-9a-f]{64}\b")


def hashes_in(value: Any) -> Iterator[str]:
    """Every hash that stands in a field of its own (not within a recorded line or message)."""
    match value:
        case dict():
            for name, child in value.items():
                if name in {"hash", "sha256"} or name.endswith("_hash"):
                    assert child is None or HEX.fullmatch(child), (name, child)
                if isinstance(child, str) and HEX.fullmatch(child):
                    yield child
                else:
                    yield from hashes_in(child)
        case list():
            for child in value:
                yield from hashes_in(child)


def decompressed(path: Path) -> bytes:
    """What ``zstdcat`` gives: all frames, one after the other."""
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()


def test_every_call_has_the_hashes_of_the_bodies_that_the_provider_saw(small: SmallRun) -> None:
    calls = small.project.query("SELECT * FROM v_calls ORDER BY CAST(substr(call_id, instr(call_id, ':') + 1) AS INT)")
    seen = [
        (entry["operation"], entry["method"], entry["status"], request_payload_hash(entry), entry["response_sha256"])
        for entry in small.journal
    ]
    assert seen == [
        (call["operation"], call["method"], call["http_status"], call["request_hash"], call["response_hash"])
        for call in calls
    ]
    assert {"success"} == {call["status"] for call in calls}
    assert [entry["path"] for entry in small.journal] == [urlsplit(call["url"]).path for call in calls]


def test_every_recorded_body_is_given_back_byte_for_byte(small: SmallRun) -> None:
    wanted = set()
    for entry in small.journal:
        wanted |= {request_payload_hash(entry), entry["response_sha256"]}
    for digest in sorted(wanted):
        assert digest == sha256(small.payload(digest))


def test_the_batch_files_are_stored_as_the_provider_received_them(small: SmallRun) -> None:
    uploads = of(small.journal, "files.create")
    assert len(uploads) == 2
    ids = []
    for entry in uploads:
        body = small.payload(entry["file_sha256"])
        assert entry["file_bytes"] == len(body)
        ids += [json.loads(line)["custom_id"] for line in body.splitlines()]
    assert [f"row-{n}-0" for n in range(COUNT) if n not in (3, 7, 11)] == ids


def test_the_result_files_are_stored_as_the_provider_sent_them(small: SmallRun) -> None:
    downloads = of(small.journal, "files.content")
    assert len(downloads) == 3, "two output files and one error file"
    for entry in downloads:
        body = small.payload(entry["response_sha256"])
        assert entry["response_bytes"] == len(body)
        assert all(json.loads(line)["custom_id"].startswith("row-") for line in body.splitlines())


def test_zstdcat_of_a_segment_is_the_batch_file(small: SmallRun) -> None:
    folder = small.project.folder / ".elspeth" / "payloads"
    stored = {sha256(decompressed(path)) for path in folder.rglob("*.jsonl.zst")}
    sent = {entry["file_sha256"] for entry in of(small.journal, "files.create")}
    received = {entry["response_sha256"] for entry in of(small.journal, "files.content")}
    assert sent | received == stored


def test_every_hash_of_every_explanation_can_be_fetched_and_hashes_to_itself(small: SmallRun) -> None:
    with elspeth.open(small.project.database) as trail:
        for row in range(COUNT):
            found = sorted(set(hashes_in(small.explain(row))))
            assert found
            for digest in found:
                assert digest == sha256(trail.payload(digest))
    for digest in set(hashes_in(small.explain(0))) | set(hashes_in(small.explain(3))):
        assert digest == sha256(small.payload(digest))


def test_every_hash_of_every_view_can_be_fetched_and_hashes_to_itself(small: SmallRun) -> None:
    digests = set()
    for view in ("v_rows", "v_states", "v_calls"):
        for record in small.project.query(f"SELECT * FROM {view}"):
            digests |= {record[name] for name in record if name.endswith("_hash") and record[name] is not None}
    assert len(digests) > 40
    with elspeth.open(small.project.database) as trail:
        for digest in sorted(digests):
            assert digest == sha256(trail.payload(digest))


def test_a_call_shows_its_envelope_without_the_key(small: SmallRun) -> None:
    call = small.project.calls("latest", "--operation", "files.create")[0]
    shown = small.project("call", call["call_id"], "--json").json()
    envelope = json.loads(shown["envelope"])
    assert call["request_hash"] == shown["request_hash"]
    assert ("POST", 201) == (envelope["request"]["method"], envelope["response"]["status"])
    assert {"[REDACTED]"} == {
        value for name, value in envelope["request"]["headers"] if name in ("api-key", "authorization")
    }
    assert small.project("call", call["call_id"]).out.startswith("run_id: ")


def test_a_hash_that_nothing_has_is_refused_with_2(small: SmallRun) -> None:
    assert "no recorded payload" in small.project("payload", "0" * 64, code=2).err
    assert "64 hexadecimal digits" in small.project("payload", "xyz", code=2).err
