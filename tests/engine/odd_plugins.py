"""Transforms that do what transforms should not, or seldom do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, ClassVar

from elspeth.contracts import CallStatus, CallType, Context, Fields, FieldType, Row, TransformResult
from elspeth.core.config.options import Options


class NoOptions(Options):
    """Nothing to choose."""


class Odd:
    """What they share."""

    options_model: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Options) -> None:
        self.options = options

    def output_fields(self, fields: Fields) -> Fields:
        return Fields(fields.types, True)

    def process(self, row: Row, ctx: Context) -> TransformResult:
        raise NotImplementedError


class SpoilThenFail(Odd):
    """Changes a row in place, deeply, and then fails if the row says so."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        row["text"] = "spoilt"
        row.setdefault("list", []).append("spoilt")
        return TransformResult.error("spoilt", "changed and failed") if row.get("bad") else TransformResult.success(row)


class ReturnNan(Odd):
    """Divides badly."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        return TransformResult.success({**row, "ratio": float("nan") if row.get("bad") else 0.5})


class ReturnTwo(Odd):
    """Makes two rows of one."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        return TransformResult.success_multi([row, dict(row)])


class EchoSecret(Odd):
    """Writes a secret into the row, or into an error's message."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        secret = "-".join(["sk", "test", "0123456789"])
        if row.get("bad"):
            return TransformResult.error("leak", f"the key {secret} is wrong")
        return TransformResult.success({**row, "leak": secret} if row.get("leak") else row)


class ReachOut(Odd):
    """Opens a connection behind the engine's back, and swallows what comes of it."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        import socket

        try:
            socket.create_connection(("127.0.0.1", 9), timeout=0.1).close()
        except Exception:  # noqa: BLE001 - on purpose
            return TransformResult.success(row)
        return TransformResult.success(row)


class TellCall(Odd):
    """Records a call of its own kind."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        ctx.record_call(CallType.OTHER, CallStatus.SUCCESS, {"ask": "sk-test-0123456789"}, {"answer": 1})
        return TransformResult.success(row)


class CallOut(Odd):
    """Asks a service whatever the row wants to know, and keeps what it hears. Breaks once, where a flag stands."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        from pathlib import Path

        import httpx2

        said = []
        client = ctx.http("service")
        for what in row["ask"]:
            url = f"{row['url']}/{what}"
            try:
                if what == "upload":
                    answer = client.post(url, files={"file": ("a.txt", b"content")}, data={"purpose": "batch"})
                else:
                    answer = client.post(url, json={"what": what}) if what.startswith("post") else client.get(url)
                said.append(answer.text)
            except httpx2.HTTPError as error:
                said.append(type(error).__name__)
        flag = Path(row.get("flag") or "none")
        if flag.is_file():
            flag.unlink()
            raise ZeroDivisionError("a bug")
        return TransformResult.success({**row, "said": said})


class Break(Odd):
    """Has a bug."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        raise ZeroDivisionError("a bug")


class Vary(Odd):
    """Gives a row values of every kind, by what stands in it; some fail, some stay as they are."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        mode = row.get("mode")
        values: dict[str, Any] = {"float": 3.0, "big": 2**70, "deep": {"a": [1, {"b": None}]}, "text": 'é"\n,='}
        match mode:
            case "fail":
                row["spoilt"] = True
                return TransformResult.error("varied", "fails, the message has\na line end", detail={"mode": mode})
            case "same":
                return TransformResult.success(dict(row))
            case "drop":
                return TransformResult.success({"id": row["id"], "mode": mode})
            case name if name in values:
                row["value"] = values[name]
        return TransformResult.success(row)


class Count(Odd):
    """Numbers the rows as they come by."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._count = 0

    def process(self, row: Row, ctx: Context) -> TransformResult:
        self._count += 1
        return TransformResult.success({**row, "count": self._count})


class LoseOne(Odd):
    """A bulk transform that loses a row."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        return TransformResult.success(row)

    def process_bulk(self, rows: Sequence[Row]) -> Sequence[Row] | None:
        return rows[1:]


class ToDate(Odd):
    """Makes dates of text: other values with the same bytes."""

    def output_fields(self, fields: Fields) -> Fields:
        return Fields({**fields.types, "due": FieldType.DATE}, is_open=fields.is_open)

    def process(self, row: Row, ctx: Context) -> TransformResult:
        return TransformResult.success({**row, "due": date.fromisoformat(row["due"])})


class Undeclare(Odd):
    """Keeps to the letter of what it vouches for: it moves values, and says less of their types."""

    moves_values = True

    def output_fields(self, fields: Fields) -> Fields:
        return Fields(is_open=True)

    def process(self, row: Row, ctx: Context) -> TransformResult:
        return TransformResult.success(row)

    def process_bulk(self, rows: Sequence[Row]) -> Sequence[Row] | None:
        return rows


TRANSFORMS = {
    "undeclare": "Undeclare",
    "to_date": "ToDate",
    "count": "Count",
    "lose_one": "LoseOne",
    "spoil_then_fail": "SpoilThenFail",
    "return_nan": "ReturnNan",
    "return_two": "ReturnTwo",
    "echo_secret": "EchoSecret",
    "reach_out": "ReachOut",
    "tell_call": "TellCall",
    "call_out": "CallOut",
    "break": "Break",
    "vary": "Vary",
}
