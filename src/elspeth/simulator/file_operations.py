"""The five operations on files."""

from dataclasses import replace

from elspeth.simulator.exchange import Answer, ApiError, Call, created_status, json_answer
from elspeth.simulator.json_values import JsonObject
from elspeth.simulator.line_edits import LineEdits
from elspeth.simulator.paging import page
from elspeth.simulator.records import FileKind, StoredFile
from elspeth.simulator.settings import Settings
from elspeth.simulator.shapes import file_object
from elspeth.simulator.store import Store
from elspeth.simulator.upload import Upload

PURPOSES = frozenset({"assistants", "batch", "fine-tune", "vision", "user_data", "evals"})
LIST_LIMITS = (10_000, 10_000)
# How long an expiry must at least lie ahead, and may at most.
AZURE_EXPIRY_S = (1_209_600, 2_592_000)
OPENAI_EXPIRY_S = (3_600, 2_592_000)


class FileOperations:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def create(self, call: Call) -> Answer:
        upload = self._checked_upload(call)
        file = self._store.add_file(
            upload.path,
            kind=FileKind.INPUT,
            purpose=upload.fields["purpose"],
            filename=upload.file_name,
            size=upload.size,
            sha256=upload.sha256,
            created_at=call.now,
            visible_from=call.now,
            pending_s=self._settings.pending_file_s,
            expires_at=_expiry(upload, call),
        )
        return json_answer(self._render(file, call), status=created_status(call))

    def retrieve(self, call: Call) -> Answer:
        return json_answer(self._render(self.find(call.route.object_id, call), call))

    def listing(self, call: Call) -> Answer:
        purpose = call.query.get("purpose")
        return page(
            self._store.files(),
            call,
            settings=self._settings,
            limits=LIST_LIMITS,
            is_shown=lambda file: file.is_there(call.now) and purpose in (None, "", file.purpose),
            render=lambda file: self._render(file, call),
            foreign=[self._foreign(number, call) for number in (1, 2)],
        )

    def content(self, call: Call) -> Answer:
        file = self.find(call.route.object_id, call)
        path = self._store.body_path(file.id)
        edits = LineEdits.parse(call.action.lines)
        kind = FileKind(file.kind)
        headers = {"content-type": "application/octet-stream"}
        if kind is FileKind.INPUT or not edits.touches(kind):
            return Answer(headers=headers, path=path)
        edited = self._store.tmp / f"{file.id}.{call.now}.edited"
        with path.open("rb") as lines, edited.open("wb") as stream:
            stream.writelines(edits.edit(kind, lines))
        return Answer(headers=headers, path=edited)

    def delete(self, call: Call) -> Answer:
        file = self.find(call.route.object_id, call)
        self._store.delete_file(file)
        return json_answer({"id": file.id, "object": "file", "deleted": True})

    def find(self, file_id: str, call: Call) -> StoredFile:
        """Raises ApiError."""
        file = self._store.file(file_id)
        if file is None or not file.is_there(call.now):
            raise ApiError(404, "not_found", f"No such File object: {file_id}", param="id")
        return file

    def _render(self, file: StoredFile, call: Call) -> JsonObject:
        return file_object(file, profile=call.route.profile, settings=self._settings, now=call.now)

    def _checked_upload(self, call: Call) -> Upload:
        upload = call.upload
        if upload is None or upload.fault is not None:
            reason = upload.fault if upload and upload.fault else "The body must be multipart/form-data."
            raise ApiError(400, "invalid_request", reason)
        if upload.file_name is None:
            raise ApiError(400, "missing_required_parameter", "The part 'file' is missing.", param="file")
        if upload.fields.get("purpose") not in PURPOSES:
            raise ApiError(400, "invalid_value", "purpose is missing or unknown.", param="purpose")
        if upload.size > self._settings.max_file_bytes:
            most = self._settings.max_file_bytes
            raise ApiError(413, "file_too_large", f"The file has {upload.size} bytes, at most {most} may be.")
        return upload

    def _foreign(self, number: int, call: Call) -> JsonObject:
        """Somebody else's file in the same resource."""
        file = StoredFile(
            id=f"file-{self._store.make_id('foreign file', number)}",
            seq=0,
            kind=FileKind.INPUT,
            purpose="batch",
            filename=f"somebody-elses-{number}.jsonl",
            size=1234,
            sha256="",
            created_at=call.now - 60 * number,
            visible_from=0.0,
        )
        return self._render(replace(file, pending_s=0.0), call)


def _expiry(upload: Upload, call: Call) -> float | None:
    seconds = upload.fields.get("expires_after[seconds]")
    anchor = upload.fields.get("expires_after[anchor]")
    if seconds is None and anchor is None:
        return None
    least, most = AZURE_EXPIRY_S if call.route.profile.is_azure else OPENAI_EXPIRY_S
    if anchor != "created_at" or not (seconds or "").isdecimal() or not least <= int(seconds or 0) <= most:
        message = f"expires_after takes the anchor created_at and {least} to {most} seconds."
        raise ApiError(400, "invalid_value", message, param="expires_after")
    return call.now + int(seconds or 0)
