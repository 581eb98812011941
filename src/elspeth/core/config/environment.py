"""The environment: variables that are set, those of ``.env``, and references to them.

``${NAME}`` and ``${NAME:-default}`` stand for a variable in any text value of a
pipeline file, ``$$`` for a dollar sign. The default also serves a variable that
is set to nothing. Keys are never touched, nor are gates, ``template`` and
``system_prompt``: in prose and in expressions a dollar sign is just that.

A value that is one reference and nothing else is read again as YAML, so that
``max_requests: ${N}`` is a number; in quotes it stays text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from elspeth.contracts import Diagnostic
from elspeth.core.config.document import SURROGATE, Scalar, read_scalar

__all__ = ["Interpolation", "read_dotenv"]

REFERENCE = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
BODY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
SINGLE_QUOTED = re.compile(r"'([^']*)'\s*(?:#.*)?")
DOUBLE_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
ESCAPE = re.compile(r"\\(.)")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
DOTENV_LIMIT_BYTES = 1_000_000


def read_dotenv(path: Path) -> tuple[dict[str, str], list[Diagnostic]]:
    """The variables of a ``.env`` file, and what is wrong with it; nothing when there is none.

    The file holds secrets, so no diagnostic shows any of its text.
    """
    if not path.is_file():
        return {}, []
    fault = Diagnostic(path=(), code="BAD_DOTENV", message="", file=str(path))
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").split("\n")
    except OSError as error:
        return {}, [fault_at(fault, 1, f"this file cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return {}, [fault_at(fault, 1, "this file is not UTF-8")]
    if len(data) > DOTENV_LIMIT_BYTES:
        return {}, [fault_at(fault, 1, f"this file is larger than {DOTENV_LIMIT_BYTES:,} bytes")]
    values: dict[str, str] = {}
    diagnostics = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = ASSIGNMENT.fullmatch(text)
        value = unquote(match[2]) if match else None
        if match is None or value is None:
            problem = "a line must be NAME=VALUE" if match is None else "a quote is not closed, or text follows it"
            diagnostics.append(fault_at(fault, number, problem))
        else:
            values[match[1]] = value
    return values, diagnostics


def fault_at(fault: Diagnostic, line: int, message: str) -> Diagnostic:
    """A diagnostic at a line of the file."""
    return Diagnostic(path=(), code=fault.code, message=message, file=fault.file, line=line, column=1)


def unquote(text: str) -> str | None:
    """A value without its quotes and its comment; None when a quote is left open."""
    if text.startswith("'"):
        match = SINGLE_QUOTED.fullmatch(text)
        return match[1] if match else None
    if text.startswith('"'):
        match = DOUBLE_QUOTED.fullmatch(text)
        return ESCAPE.sub(lambda found: ESCAPES.get(found[1], found[1]), match[1]) if match else None
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()


class Interpolation(Struct):
    """Puts the environment's values into texts and notes what is missing."""

    environ: Mapping[str, str]
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def value(self, scalar: Scalar, path: tuple[str | int, ...]) -> Any:
        """What a scalar stands for. After a diagnostic the value is empty, to go on with."""
        if "$" not in scalar.text:
            return scalar.value
        before = len(self.diagnostics)
        text = REFERENCE.sub(lambda match: self._replace(match, path), scalar.text)
        if len(self.diagnostics) > before:
            return ""
        only = REFERENCE.fullmatch(scalar.text)
        is_one_reference = only is not None and only[1] is not None
        return read_scalar(text) if is_one_reference and scalar.style is None else text

    def _replace(self, match: re.Match[str], path: tuple[str | int, ...]) -> str:
        if match[1] is None:
            return "$"
        body = BODY.fullmatch(match[1])
        if body is None or not match[2]:
            hint = "write ${NAME} or ${NAME:-default}; a literal dollar sign is $$"
            return self._note(match, path, "BAD_REFERENCE", "this is no reference to a variable", hint)
        name, default = body[1], body[2]
        value = self.environ.get(name) or default
        if value is None and name in self.environ:
            value = ""
        if value is None:
            hint = f"set {name} in the environment or in .env, or give a default: ${{{name}:-...}}"
            return self._note(match, path, "ENV_MISSING", f"the variable {name} is not set", hint)
        if SURROGATE.search(value):
            return self._note(match, path, "BAD_REFERENCE", f"the value of {name} is not UTF-8", None)
        return value

    def _note(
        self, match: re.Match[str], path: tuple[str | int, ...], code: str, message: str, hint: str | None
    ) -> str:
        offset = match.start()
        self.diagnostics.append(Diagnostic(path=path, code=code, message=message, hint=hint, offset=offset))
        return ""
