"""Result files as a careless server might write them.

The edits name rows by custom_id. `in_both_files` takes the row to be
answered and gives it a line in the error file as well; `extra` adds good
lines for rows that were never sent, to the output file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from elspeth.simulator.json_values import Json, JsonObject, decode_json, encode_json
from elspeth.simulator.records import FileKind


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEdits:
    duplicate: frozenset[str] = frozenset()
    duplicate_different: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    extra: frozenset[str] = frozenset()
    bad_json: frozenset[str] = frozenset()
    in_both_files: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, source: Json) -> "LineEdits":
        known = {edit.name for edit in fields(cls)}
        if not isinstance(source, dict) or set(source) - known:
            raise ValueError(f"line edits are {', '.join(sorted(known))}; not {source!r}")
        return cls(**{name: frozenset(map(str, ids)) for name, ids in source.items()})

    def touches(self, kind: FileKind) -> bool:
        if kind is FileKind.ERROR and self.in_both_files:
            return True
        return any(getattr(self, edit.name) for edit in fields(self) if edit.name != "in_both_files")

    def edit(self, kind: FileKind, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            yield from self._edit_line(line)
        if kind is FileKind.OUTPUT:
            yield from (_good_line(custom_id) for custom_id in sorted(self.extra))
        if kind is FileKind.ERROR:
            yield from (_undone_line(custom_id) for custom_id in sorted(self.in_both_files))

    def _edit_line(self, line: bytes) -> Iterator[bytes]:
        try:
            custom_id = decode_json(line).get("custom_id")
        except ValueError:  # broken on purpose when the file was made
            yield line
            return
        if custom_id in self.missing:
            return
        if custom_id in self.bad_json:
            yield line[: len(line) // 2].rstrip(b"\n") + b"\n"
            return
        yield line
        if custom_id in self.duplicate:
            yield line
        if custom_id in self.duplicate_different:
            yield _different_line(line)


def _different_line(line: bytes) -> bytes:
    row: JsonObject = decode_json(line)
    response = row.get("response")
    body = response.get("body") if response else None
    if isinstance(body, dict) and body.get("choices"):
        body["choices"][0]["message"]["content"] = "a different answer"
    else:
        row["response"], row["error"] = None, {"code": "request_timeout", "message": "A different error."}
    return encode_json(row) + b"\n"


def _good_line(custom_id: str) -> bytes:
    message = {"role": "assistant", "content": "an answer to nobody's question", "refusal": None}
    body = {
        "id": "chatcmpl-extra",
        "object": "chat.completion",
        "created": 0,
        "model": "simulated",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    response = {"status_code": 200, "request_id": "req_extra", "body": body}
    row = {"id": "batch_req_extra", "custom_id": custom_id, "response": response, "error": None}
    return encode_json(row) + b"\n"


def _undone_line(custom_id: str) -> bytes:
    error = {"code": "request_timeout", "message": "This request timed out."}
    row = {"id": "batch_req_both", "custom_id": custom_id, "response": None, "error": error}
    return encode_json(row) + b"\n"
