"""The sections of a pipeline file, each read by itself so that all errors show at once.

What the documentation promises for later is in ``not_yet``: no key is accepted
that nothing obeys.
"""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

from msgspec import Struct
from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from elspeth.contracts import FieldType
from elspeth.core.config.options import Options, PathText, context_of, refuse
from elspeth.core.expressions import did_you_mean

__all__ = [
    "FieldSpec",
    "GateSection",
    "LandscapeSection",
    "LimitsSection",
    "PayloadsSection",
    "PipelineFile",
    "RetrySection",
    "SinkSection",
    "SourceSection",
    "StepSection",
]

SQLITE = "sqlite:///"
FIELD_TYPES = tuple(kind.value for kind in FieldType)


class FieldSpec(Struct, frozen=True):
    """A field's type in a schema; ``is_nullable`` is written as a question mark."""

    type: FieldType
    is_nullable: bool = False

    @classmethod
    def parse(cls, text: object) -> FieldSpec:
        """Reads ``int`` or ``int?``."""
        if isinstance(text, FieldSpec):
            return text
        name = str(text).removesuffix("?")
        if not isinstance(text, str) or name not in FIELD_TYPES:
            hint = did_you_mean(name, FIELD_TYPES) or f"the types are {', '.join(FIELD_TYPES)}, each also with ?"
            refuse("bad_value", "this is no type of a field", hint)
        return cls(FieldType(name), text.endswith("?"))

    def __str__(self) -> str:
        return f"{self.type.value}{'?' if self.is_nullable else ''}"


FieldSpecText = Annotated[
    FieldSpec,
    PlainValidator(FieldSpec.parse),
    PlainSerializer(str),
    WithJsonSchema({"enum": [f"{name}{mark}" for name in FIELD_TYPES for mark in ("", "?")]}),
]


class SourceSection(Options):
    """``source``: where rows come from."""

    plugin: str
    options: dict[str, Any] = Field(default_factory=dict)
    fields: dict[str, FieldSpecText] | None = Field(default=None, alias="schema", min_length=1)
    key: str | None = None
    on_invalid: str = "discard"


class StepSection(Options):
    """A step that is a plugin."""

    not_yet: ClassVar[frozenset[str]] = frozenset({"collect", "emit"})

    name: str
    plugin: str
    options: dict[str, Any] = Field(default_factory=dict)
    on_error: str = "discard"
    next: str = "next"


class GateSection(Options):
    """A step that is a gate."""

    name: str
    gate: str
    routes: dict[str, str] = Field(min_length=1)
    on_error: str = "discard"


class SinkSection(Options):
    """One of ``sinks``: where rows end."""

    plugin: str
    options: dict[str, Any] = Field(default_factory=dict)


class FolderPath(PathText):
    """The absolute path of a folder of the program's own."""

    __slots__ = ()


class LandscapeSection(Options):
    """``landscape``: the database of the trail. Without ``url`` it is in the state folder."""

    url: str | None = None

    @field_validator("url", mode="after")
    @classmethod
    def _absolute(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            return None
        scheme, separator, _ = url.partition("://")
        if not separator or (scheme == "sqlite" and not url.startswith(SQLITE)) or url == SQLITE:
            refuse("bad_value", "this is no URL of a database", "write sqlite:///PATH")
        if scheme != "sqlite":
            refuse("not_yet", "only sqlite databases are in this version", "write sqlite:///PATH")
        path = url.removeprefix(SQLITE)
        if path.startswith(":memory:") or "?" in path:
            refuse("bad_value", "the trail is a plain file", "write sqlite:///PATH")
        return SQLITE + os.path.normpath(context_of(info).folder.absolute() / path)

    @property
    def path(self) -> str | None:
        """The database file, absolute."""
        return self.url.removeprefix(SQLITE) if self.url else None


class PayloadsSection(Options):
    """``payloads``: where the verbatim bytes are kept, and for how long.

    Without ``path`` beside the database. After ``retention_days`` `elspeth purge` takes them; nothing goes by itself.
    """

    path: FolderPath | None = None
    retention_days: int | None = Field(default=None, ge=1, le=36_500)


class LimitsSection(Options):
    """``limits``: what stops a run. ``max_error_rate`` is a share of the rows, 0 to 1; money is in US dollars."""

    max_cost_usd: Decimal | None = Field(default=None, gt=0)
    max_error_rate: float | None = Field(default=None, ge=0, le=1)


class RetrySection(Options):
    """``retry``: attempts at remote operations and live calls; waits grow from initial to max."""

    max_attempts: int = Field(default=5, ge=1, le=1000)
    initial_seconds: float = Field(default=1.0, gt=0)
    max_seconds: float = Field(default=300.0, gt=0)

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.max_seconds < self.initial_seconds:
            raise ValueError("max_seconds must not be less than initial_seconds")
        return self


class PipelineFile(Options):
    """The top of the file. Source, steps and sinks are read one by one, as their own sections."""

    name: str
    source: dict[str, Any]
    steps: list[Any] = Field(default_factory=list)
    sinks: dict[str, Any]
    output: str | None = None
    landscape: LandscapeSection = Field(default_factory=LandscapeSection)
    payloads: PayloadsSection = Field(default_factory=PayloadsSection)
    limits: LimitsSection = Field(default_factory=LimitsSection)
    retry: RetrySection = Field(default_factory=RetrySection)
