"""A catalog of made-up plugins, and pipeline files in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pytest
from pydantic import Field, model_validator

from elspeth.contracts import Diagnostic, PipelineError, UsageError
from elspeth.core.config import (
    Asset,
    InputPath,
    Options,
    OutputPath,
    Pipeline,
    PluginKind,
    Secret,
    load_pipeline,
    render_text,
)


class FileSource(Options):
    path: InputPath
    delimiter: str = ","


class Price(Options):
    model: str


class ExactPrice(Options):
    input_per_mtok: float
    output_per_mtok: float


class ModelStep(Options):
    not_yet: ClassVar[frozenset[str]] = frozenset({"reuse"})

    api_key: Secret | None = None
    headers: dict[str, Secret] = Field(default_factory=dict)
    template: str | None = None
    system_prompt: str | None = None
    template_file: Asset | None = None
    max_requests: int = Field(default=10, ge=1)
    temperature: float | None = None
    strict: bool = True
    mode: Literal["fast", "slow"] = "fast"
    price: Price | ExactPrice | None = None
    wait: int | Literal["auto"] = "auto"
    stops: tuple[str, ...] = ()
    body: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.template is not None and "{%" in self.template:
            offset = self.template.index("{%")
            raise PipelineError([Diagnostic(path=("template",), code="TEMPLATE", message="bad tag", offset=offset)])
        return self


class RenameStep(Options):
    rename: dict[str, str] = Field(default_factory=dict)


class FileSink(Options):
    path: OutputPath


@dataclass
class FakeCatalog:
    """Plugins by kind and name; ``broken`` is there and cannot be used."""

    plugins: Mapping[str, Mapping[str, type[Options]]] = field(
        default_factory=lambda: {
            "source": {"csv": FileSource},
            "transform": {"model": ModelStep, "rename": RenameStep},
            "sink": {"csv": FileSink, "jsonl": FileSink},
        }
    )

    def names(self, kind: PluginKind) -> Sequence[str]:
        return list(self.plugins[kind])

    def options_model(self, kind: PluginKind, name: str) -> type[Options] | None:
        if name == "broken":
            raise UsageError("the plugin 'broken' cannot be used: no module", hint="uninstall it")
        return self.plugins[kind].get(name)


class Folder:
    """Writes files and loads the pipeline among them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.catalog = FakeCatalog()

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.write_text(text, encoding="utf-8", newline="")
        return file

    def load(self, text: str | bytes, environ: Mapping[str, str] | None = None) -> Pipeline:
        file = self.path / "p.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_pipeline(file, self.catalog, environ=environ or {})

    def faults(self, text: str | bytes, environ: Mapping[str, str] | None = None) -> list[Diagnostic]:
        with pytest.raises(PipelineError) as caught:
            self.load(text, environ)
        return list(caught.value.diagnostics)

    def places(self, text: str, environ: Mapping[str, str] | None = None) -> list[tuple[str, int, int, str]]:
        return [(d.code, d.line, d.column, d.message) for d in self.faults(text, environ)]

    def rendered(self, text: str | bytes, environ: Mapping[str, str] | None = None) -> str:
        prefix = f"{self.path}/"
        return "\n".join(render_text(d).replace(prefix, "") for d in self.faults(text, environ))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


HEAD = """\
name: demo
source: {plugin: csv, options: {path: in.csv}}
sinks: {out: {plugin: csv, options: {path: out.csv}}}
"""


@pytest.fixture
def with_options() -> Callable[[str], str]:
    """A pipeline with one step `model`, whose options stand one a line from line 8 on."""

    def text(options: str) -> str:
        lines = "".join(f"      {line}\n" for line in options.splitlines())
        return f"{HEAD}steps:\n  - name: ask\n    plugin: model\n    options:\n{lines}"

    return text


@pytest.fixture
def head() -> str:
    """A pipeline without steps, in three lines."""
    return HEAD
