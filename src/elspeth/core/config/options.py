"""What plugin authors build their options from.

A plugin's options are one frozen `Options` model. Four types stand for values
that mean more than their text:

    InputPath     a file to read; relative ones start at the pipeline file's folder
    OutputPath    a file to write; ``{run}`` in it is replaced by the engine
    Secret        ``${NAME}`` in the file, revealed only at the moment of use
    Asset         a text file that belongs to the configuration, read at validation

A validator of a model may raise `ValueError` (the message is shown at the
field), or `PipelineError` with `Diagnostic`s whose paths start at the options,
such as ``("template",)``, and whose offsets point into the text.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self, TypeAlias, TypeVar

from msgspec import Struct, field
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from elspeth.contracts import CredentialsError
from elspeth.core.config.assets import Assets, DiskAssets, digest

__all__ = ["Asset", "InputPath", "Options", "OptionsContext", "OutputPath", "Secret", "parse_options"]

SECRET_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-)?\}")
SECRET_HINT = "write ${NAME} and set NAME in the environment or in .env beside the pipeline file"  # noqa: S105
PLACEHOLDER = re.compile(r"\{[^{}]*\}")


class Options(BaseModel):
    """Base of the options of every plugin, and of every section of the pipeline file.

    ``not_yet`` names keys that the documentation promises for later: using one is an error that says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    not_yet: ClassVar[frozenset[str]] = frozenset()


class OptionsContext(Struct, frozen=True, kw_only=True):
    """What the special types need while options are read; the defaults serve tests and scripts.

    ``is_recorded`` is true when the values come from the trail and not from a pipeline file: secrets and
    assets then have their recorded form.
    """

    folder: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    assets: Assets = field(default_factory=DiskAssets)
    is_recorded: bool = False


JsonSchema: TypeAlias = dict[str, Any]
Model = TypeVar("Model", bound=Options)


def parse_options(model: type[Model], values: object, context: OptionsContext) -> Model:
    """Reads options as the loader does; raises pydantic's `ValidationError`, or `PipelineError`.

    It goes through JSON on purpose: pydantic's strict JSON mode takes a list for a tuple and a word for an
    enum, but neither ``"5"`` for a number nor ``no`` for false.
    """
    return model.model_validate_json(json.dumps(values), strict=True, context=context)


def context_of(info: core_schema.ValidationInfo) -> OptionsContext:
    """The context given to validation; without one, that of the current folder and process."""
    return info.context if isinstance(info.context, OptionsContext) else OptionsContext()


def refuse(code: str, message: str, hint: str | None = None) -> NoReturn:
    """Raises pydantic's error for one of our codes."""
    raise PydanticCustomError(code, "{text}", {"text": message, "hint": hint})


def absolute_path(value: object, context: OptionsContext) -> str:
    """The path as seen from the pipeline file's folder, without ``..`` and ``.``."""
    if not isinstance(value, str):
        refuse("wrong_type", "this must be a path", "write the path as text")
    if not value.strip() or "\0" in value:
        refuse("bad_value", "this is no path")
    return os.path.normpath(context.folder.absolute() / value)


class PathText(str):
    """An absolute path as text; what its subclasses allow in it is in `check`."""

    __slots__ = ()

    @classmethod
    def check(cls, written: str) -> None:
        """Refuses what such a path must not contain."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._read, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return {"type": "string", "minLength": 1}

    @classmethod
    def _read(cls, value: object, info: core_schema.ValidationInfo) -> Self:
        path = absolute_path(value, context_of(info))
        cls.check(str(value))
        return cls(path)


class InputPath(PathText):
    """The absolute path of a file to read. Whether it exists is the reader's business."""

    __slots__ = ()


class OutputPath(PathText):
    """The absolute path of a file to write, in which ``{run}`` still stands for the run's id."""

    __slots__ = ()

    @classmethod
    def check(cls, written: str) -> None:
        """Refuses placeholders that nothing would fill."""
        for placeholder in PLACEHOLDER.findall(written):
            if placeholder != "{run}":
                refuse("bad_value", f"{placeholder} means nothing in a path", "only {run} does: the run's id")


class Secret:
    """A reference to a secret. The value is looked up at use and is shown by nothing.

    A pipeline can be validated where its secrets are not set. ``${NAME:-}`` marks one that may be missing.
    """

    __slots__ = ("_environ", "is_optional", "reference")

    def __init__(self, reference: str, environ: Mapping[str, str], *, is_optional: bool = False) -> None:
        self.reference = reference
        self.is_optional = is_optional
        self._environ = environ

    @property
    def is_set(self) -> bool:
        """Whether the environment has a value for it."""
        return bool(self._environ.get(self.reference))

    def reveal(self) -> str:
        """The value; empty for a missing optional one. Raises `CredentialsError` when it is missing."""
        value = self._environ.get(self.reference, "")
        if not value and not self.is_optional:
            raise CredentialsError(
                f"the secret {self.reference} is not set",
                hint=f"set {self.reference} in the environment or in .env beside the pipeline file",
            )
        return value

    def recorded(self) -> dict[str, str | bool]:
        """What the trail keeps of it."""
        name: dict[str, str | bool] = {"$secret": self.reference}
        return {**name, "optional": True} if self.is_optional else name

    def __repr__(self) -> str:
        return f"Secret(${{{self.reference}}})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.recorded() == other.recorded()

    def __hash__(self) -> int:
        return hash((self.reference, self.is_optional))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled: the environment would go with it")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._read, serialization=core_schema.plain_serializer_function_ser_schema(cls.recorded)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return {"type": "string", "pattern": f"^{SECRET_REFERENCE.pattern}$"}

    @classmethod
    def _read(cls, value: object, info: core_schema.ValidationInfo) -> Self:
        context = context_of(info)
        if isinstance(value, Secret):
            return cls(value.reference, value._environ, is_optional=value.is_optional)
        if context.is_recorded and isinstance(value, dict) and isinstance(value.get("$secret"), str):
            return cls(value["$secret"], context.environ, is_optional=value.get("optional") is True)
        match = SECRET_REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            refuse("secret_literal", "a secret must not stand in the pipeline file", SECRET_HINT)
        return cls(match[1], context.environ, is_optional=match[2] is not None)


class Asset:
    """A text file that is part of the configuration. ``data`` are its bytes, as found or as recorded."""

    __slots__ = ("data", "path")

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data

    @property
    def text(self) -> str:
        """The file's text without a byte order mark; line ends are left as they are."""
        return self.data.decode("utf-8-sig")

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, in hex."""
        return digest(self.data)

    def recorded(self) -> dict[str, str]:
        """What the configuration's record keeps of it; the bytes are kept as a payload."""
        return {"$asset": self.path, "sha256": self.sha256}

    def __repr__(self) -> str:
        return f"Asset({self.path!r}, sha256={self.sha256[:12]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and (self.path, self.data) == (other.path, other.data)

    def __hash__(self) -> int:
        return hash((self.path, self.data))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._read, serialization=core_schema.plain_serializer_function_ser_schema(cls.recorded)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return {"type": "string", "minLength": 1}

    @classmethod
    def _read(cls, value: object, info: core_schema.ValidationInfo) -> Self:
        if isinstance(value, Asset):
            return cls(value.path, value.data)
        context = context_of(info)
        record = value if context.is_recorded and isinstance(value, dict) else {"$asset": value}
        path = absolute_path(record.get("$asset"), context)
        try:
            asset = cls(path, context.assets.read(path))
            _ = asset.text
        except OSError as error:
            refuse("missing_file", f"cannot read {path}: {error.strerror or error}")
        except UnicodeDecodeError as error:
            refuse("invalid_utf8", f"{path} is not UTF-8 at byte {error.start}")
        if record.get("sha256", asset.sha256) != asset.sha256:
            refuse("changed_file", f"{path} is not the file that was recorded")
        return asset
