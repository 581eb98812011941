"""A batch transform that asks a language model about each row.

A row becomes a line of a request file, a line of a result file becomes the row's
new fields. Nothing here waits, sends or keeps a result: the engine's batch driver
does, and the same row and the same line give the same bytes on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from elspeth.contracts import (
    AnswerLine,
    BatchProvider,
    Context,
    Diagnostic,
    Fields,
    FieldType,
    FileRole,
    LineVerdict,
    PipelineError,
    Price,
    Row,
    RowError,
    TokenEstimate,
    TransformResult,
)
from elspeth.core.canonical import compact_json
from elspeth.plugins.llm.answers import AnswerReader, AnswerShape, line_id
from elspeth.plugins.llm.batch_options import BatchLLMOptions
from elspeth.plugins.llm.prompts import PromptError, did_you_mean
from elspeth.plugins.llm.provider import Connection, OpenAIBatchProvider

__all__ = ["BatchLLMTransform"]


class BatchLLMTransform:
    """What the batch transforms of all providers share; a subclass says where its provider is.

    ``simulator_url`` is the origin of a running simulator; it is used, and needed by
    `provider` alone, when ``uses_simulator`` is true.
    """

    options_model: ClassVar[type[BatchLLMOptions]]
    service: ClassVar[str]

    def __init__(self, options: BatchLLMOptions, *, step: str, simulator_url: str | None = None) -> None:
        self.options = options
        self.limits = options.limits
        self.uses_simulator = options.uses_simulator
        self._simulator_url = simulator_url
        self._template = options.prompt_template()
        self._lookup = options.lookup_table()
        self._builder = options.request_builder()
        self._tokens = options.token_rule(fixed_bytes=self._builder.fixed_bytes)
        metadata = step if options.metadata else None
        shape = AnswerShape(
            text_field=options.response_field,
            schema=options.response_schema,
            prefix=options.response_prefix,
            metadata_prefix=metadata,
        )
        self._reader = AnswerReader(shape)
        self._metadata_types = _metadata_types(metadata)
        self._added = frozenset({*options.answer_types, *self._metadata_types})

    def output_fields(self, fields: Fields) -> Fields:
        """The fields that arrive, then those of the reply, then the metadata."""
        problems = [*self._unknown_fields(fields), *self._existing_fields(fields)]
        if problems:
            raise PipelineError(problems)
        schema = self.options.response_schema
        is_open = schema is not None and schema.get("additionalProperties", True) is not False
        types = {**fields.types, **self.options.answer_types, **self._metadata_types}
        return Fields(types, fields.is_open or is_open)

    def request_line(self, row: Row, custom_id: str) -> bytes | RowError:
        """The row's line; a row that could not take its answer is refused before it is paid for."""
        if not self.options.overwrite and not self._added.isdisjoint(row):
            return _exists(self._added & row.keys())
        try:
            prompt = self._template.render(row, self._lookup)
        except PromptError as error:
            return RowError(code="template", message=error.message)
        line = self._builder.line(custom_id, prompt)
        if isinstance(line, bytes) and len(line) > self.limits.max_bytes:
            message = f"the request has {len(line):,} bytes, a file may have {self.limits.max_bytes:,}"
            return RowError(code="too_large", message=message)
        return line

    def line_id(self, line: bytes) -> str | None:
        """The ``custom_id`` of a line of a result file; None when it names no row."""
        return line_id(line)

    def read_line(self, line: bytes, role: FileRole) -> AnswerLine:
        """What one line of a result file means."""
        return self._reader.read(line, role)

    def merge(self, row: Row, verdict: LineVerdict) -> TransformResult:
        """The row with its answer's fields behind its own; a failure becomes the row's error."""
        answer, failure = verdict.answer, verdict.failure
        if failure is not None or answer is None:
            failure = failure or RowError(code="provider", message="neither an answer nor an error")
            return TransformResult((), failure)
        if not self.options.overwrite and not row.keys().isdisjoint(answer):
            return TransformResult((), _exists(row.keys() & answer.keys()))
        return TransformResult.success({**row, **answer})

    def answers_from(self) -> str:
        """The service, its address, the model, and the API that jobs are made with."""
        said = {"service": self.service, **self.options.answerer, "endpoint": self.options.job_endpoint}
        return compact_json(said)

    def price(self) -> Price | None:
        """From the pipeline file, else, for OpenAI's own models, from the price list."""
        return self.options.batch_price()

    def estimate(self, *, requests: int, size_bytes: int) -> TokenEstimate:
        """By rule of thumb, from the bytes of the lines."""
        return self._tokens.estimate(requests=requests, size_bytes=size_bytes)

    def provider(self, ctx: Context) -> BatchProvider:
        """The adapter; raises `CredentialsError` or `UsageError` when there is nothing to authenticate with."""
        return OpenAIBatchProvider(self._connection(ctx), ctx.http(self.service))

    def _connection(self, ctx: Context) -> Connection:
        raise NotImplementedError

    def _simulator_origin(self) -> str:
        if self._simulator_url is None:
            raise RuntimeError("this step uses the simulator, and nobody said where it is")
        return self._simulator_url.rstrip("/")

    def _unknown_fields(self, fields: Fields) -> Iterator[Diagnostic]:
        if fields.is_open:
            return
        is_text = self.options.template is not None
        for name, offset in self._template.fields.items():
            if name not in fields:
                near = did_you_mean(name, fields.names)
                yield Diagnostic(
                    path=("template",) if is_text else ("template_file",),
                    code="FIELD_UNKNOWN",
                    message=f"the template reads {name!r}, which no row has here",
                    hint=near or f"rows have: {', '.join(fields.names) or 'no fields'}",
                    offset=offset if is_text else 0,
                )

    def _existing_fields(self, fields: Fields) -> Iterator[Diagnostic]:
        own = self.options.answer_types
        for name in own:
            if name in fields and not self.options.overwrite:
                yield self._exists_at(self._place(name), name)
        for name in self._metadata_types:
            if name in own or (name in fields and not self.options.overwrite):
                yield self._exists_at(("metadata",), name)

    def _place(self, name: str) -> tuple[str | int, ...]:
        if self.options.response_schema is not None:
            return ("response_schema", "properties", name.removeprefix(self.options.response_prefix))
        return ("response_field",) if "response_field" in self.options.model_fields_set else ()

    def _exists_at(self, path: tuple[str | int, ...], name: str) -> Diagnostic:
        rename = "response_field" if self.options.response_schema is None else "response_prefix"
        return Diagnostic(
            path=path,
            code="FIELD_EXISTS",
            message=f"rows have a field {name!r} already",
            hint=f"choose another name with `{rename}`, or set `overwrite: true`",
            on_key=True,
        )


def _metadata_types(prefix: str | None) -> dict[str, FieldType]:
    if prefix is None:
        return {}
    return {
        f"{prefix}_usage": FieldType.JSON,
        f"{prefix}_model": FieldType.STR,
        f"{prefix}_finish_reason": FieldType.STR,
    }


def _exists(names: set[str] | frozenset[str]) -> RowError:
    message = f"the row has these fields already: {', '.join(sorted(names))}"
    return RowError(code="field_exists", message=message)
