"""The bytes of values: rows, outside JSON and canonical JSON.

Two forms serve two ends. A *row* must come back exactly as it was, or a row that
is rebuilt after a crash would render another prompt: `RowCodec` keeps the order
of its fields, keeps int and float apart, takes integers of any size (up to the
interpreter's limit on digits) and writes date, datetime and Decimal as strings
that the recorded schema restores. *Envelopes and settings* must have one form
whoever writes them: `canonical_json` is RFC 8785.

`decode_json` is the door for JSON that others wrote. What it lets in can always
be encoded again: no NaN, no infinity, no duplicate key, no lone surrogate, no
deeper nesting than `MAX_DEPTH`.
"""

from __future__ import annotations

import hashlib
import json
import json.encoder
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from itertools import chain
from math import isfinite
from typing import Any, Final

import msgspec

from elspeth.contracts import Fields, FieldType, Row

__all__ = [
    "MAX_DEPTH",
    "NotEncodableError",
    "RowCodec",
    "canonical_json",
    "compact_json",
    "decode_json",
    "sha256",
    "sha256_each",
]

MAX_DEPTH: Final = 128
"""Levels of nesting that a value may have; fixed, for what is accepted must not depend on the call stack."""

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_TEXT: Final = frozenset({str})
_CONTAINERS: Final = frozenset({dict, list})


class NotEncodableError(ValueError):
    """A value has no bytes from which it would come back as it was.

    ``field`` is the row's field that holds it, None when the value is no row.
    """

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        super().__init__(reason if field is None else f"field {field!r} {reason}")
        self.reason = reason
        self.field = field


def sha256(data: bytes) -> bytes:
    """The 32 bytes of the SHA-256 of ``data``."""
    return hashlib.sha256(data).digest()


def sha256_each(items: Iterable[bytes]) -> list[bytes]:
    """The SHA-256 of each item."""
    new = hashlib.sha256
    return [new(data).digest() for data in items]


def canonical_json(value: object) -> bytes:
    """RFC 8785 bytes of a JSON value; raises `NotEncodableError` (integers beyond 2**53 included)."""
    import rfc8785

    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, AttributeError, UnicodeEncodeError) as fault:
        raise NotEncodableError(f"has no canonical form: {fault}") from fault
    except RecursionError:
        raise NotEncodableError("is nested too deeply") from None


def compact_json(value: object) -> str:
    """A JSON value as text without spaces, keys in their order; raises `NotEncodableError`."""
    try:
        text = "".join(_chunks(value, 0))
        text.encode()
    except (ValueError, TypeError, RecursionError) as fault:
        raise NotEncodableError(_fault_in(value) or _reason(fault)) from None
    if type(value) not in _SCALARS and (reason := _fault_in(value)) is not None:
        raise NotEncodableError(reason)
    return text


def decode_json(data: bytes | str) -> Any:
    """The value of a JSON text that somebody else wrote; raises ValueError and nothing else."""
    is_decoded = isinstance(data, str)
    text = (data if isinstance(data, str) else data.decode()).strip(" \t\n\r")
    try:
        value, end = _scan(text, 0)
        if end != len(text):
            raise ValueError(f"goes on after its end, at character {end + 1}")
    except StopIteration as stop:
        raise ValueError(f"has no value at character {int(stop.value) + 1}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
    if "\\ud" in text or "\\uD" in text or (is_decoded and not text.isascii()):
        _refuse_surrogates(text, value)
    return value


class RowCodec:
    """Rows to bytes and back, for rows whose declared fields are ``fields``.

    ``decode(encode(row)) == row``, types and order of fields included. The bytes are one
    line of UTF-8 JSON without its newline.
    """

    __slots__ = ("_restore", "_texts")

    def __init__(self, fields: Fields) -> None:
        self._texts = tuple((n, _TO_TEXT[t]) for n, t in fields.types.items() if t in _TO_TEXT)
        self._restore = tuple((n, _FROM_TEXT[t]) for n, t in fields.types.items() if t in _FROM_TEXT)

    def encode(self, row: Row) -> bytes:
        """The row's bytes; raises `NotEncodableError` with the field that has none."""
        return self.encode_batch((row,))[0]

    def encode_batch(self, rows: Sequence[Row], *, are_plain: bool = False) -> list[bytes]:
        """The bytes of each row, the checks made for all at once; the error is that of a row without any.

        With ``are_plain`` whoever made the rows vouches for what the C encoder does not look at: that names are text,
        numbers finite and types exactly those of JSON or of the declared fields. It takes as long as the encoding.
        """
        plain = [self._as_text(row) for row in rows] if self._texts else rows
        try:
            data = list(map(_encode_row, plain))
        except (ValueError, TypeError, RecursionError):
            raise _first_fault(plain) from None
        if not are_plain:
            _check_all(plain, data)
        return data

    def encode_each(self, rows: Sequence[Row], *, are_plain: bool = False) -> Sequence[bytes | NotEncodableError]:
        """The bytes of each row, or why it has none."""
        try:
            return self.encode_batch(rows, are_plain=are_plain)
        except NotEncodableError:
            return [self._encoded(row) for row in rows]

    def decode(self, data: bytes) -> Row:
        """The row of bytes that `encode` made; raises ValueError for anything else."""
        try:
            row: Row = _decode_row(data)
        except (ValueError, RecursionError):
            row = _decoded_otherwise(data)
        if data[-1:] != b"}" or data[:1] != b"{":
            raise ValueError("these bytes are not a row")
        for name, restore in self._restore:
            value = row.get(name)
            if value is not None:
                row[name] = _restored(name, value, restore)
        return row

    @property
    def converts(self) -> bool:
        """Whether some field has another type in a row than in the row's bytes."""
        return bool(self._texts)

    def reads_like(self, other: RowCodec) -> bool:
        """Whether any bytes are the same row to both."""
        return self._restore == other._restore

    def _encoded(self, row: Row) -> bytes | NotEncodableError:
        try:
            return self.encode(row)
        except NotEncodableError as error:
            return error

    def _as_text(self, row: Row) -> Row:
        plain = dict(row)
        for name, to_text in self._texts:
            value = plain.get(name)
            if value is not None:
                try:
                    plain[name] = to_text(value)
                except ValueError as fault:
                    raise NotEncodableError(str(fault), field=name) from None
        return plain


def _decoded_otherwise(data: bytes) -> Row:
    """What the usual decoder refused, though `RowCodec` wrote it: it counts the sign of a number as a digit."""
    try:
        row: Row = decode_json(data)
    except ValueError:
        raise ValueError("these bytes are not a row") from None
    return row


def _date_text(value: object) -> str:
    if type(value) is not date:
        raise ValueError(f"is declared as date and holds a {type(value).__name__}")
    return value.isoformat()


def _datetime_text(value: object) -> str:
    if type(value) is not datetime:
        raise ValueError(f"is declared as datetime and holds a {type(value).__name__}")
    text = value.isoformat()
    is_plain = (value.tzinfo is None or value.tzinfo is UTC) and not value.fold
    if not is_plain and repr(datetime.fromisoformat(text)) != repr(value):
        raise ValueError("holds a datetime with a fold or a named zone, which ISO 8601 cannot say")
    return text


def _decimal_text(value: object) -> str:
    if type(value) is not Decimal:
        raise ValueError(f"is declared as decimal and holds a {type(value).__name__}")
    if not value.is_finite():
        raise ValueError(f"holds {value}, which is no number")
    return str(value)


_TO_TEXT: Final[dict[FieldType | None, Callable[[object], str]]] = {
    FieldType.DATE: _date_text,
    FieldType.DATETIME: _datetime_text,
    FieldType.DECIMAL: _decimal_text,
}
_FROM_TEXT: Final[dict[FieldType | None, Callable[[str], object]]] = {
    FieldType.DATE: date.fromisoformat,
    FieldType.DATETIME: datetime.fromisoformat,
    FieldType.DECIMAL: Decimal,
}


def _restored(name: str, value: object, restore: Callable[[str], object]) -> object:
    if type(value) is not str:
        raise ValueError(f"field {name!r} of a stored row is not the text that its type needs")
    try:
        return restore(value)
    except (ValueError, InvalidOperation):
        raise ValueError(f"field {name!r} of a stored row does not have its declared type") from None


def _check_all(plain: Sequence[Row], data: Sequence[bytes]) -> None:
    """Refuses what the C encoder wrote as something else."""
    others = [value for row in plain for value in row.values() if type(value) is not str]
    kinds = set(map(type, others))
    is_flat = kinds <= _SCALARS and all(isinstance(name, str) for name in set().union(*plain))
    if not is_flat:
        for row in plain:
            _check_types(row)
    if not is_flat or [v for v in others if type(v) is float and v - v != 0.0]:
        for row, line in zip(plain, data, strict=True):
            if b"null" in line:  # which is what NaN and the infinities are written as
                _check_numbers(row)


def _check_types(plain: Row) -> None:
    """The C encoder turns tuples into arrays, integer keys into strings and subclasses into their bases."""
    for name, value in plain.items():
        if not isinstance(name, str):
            raise NotEncodableError(f"the row has a key that is not text: {name!r}")
        if type(value) not in _SCALARS and (reason := _fault_in(value)) is not None:
            raise NotEncodableError(reason, field=name)


def _check_numbers(plain: Row) -> None:
    """Refuses NaN and the infinities, at any depth."""
    for value in plain.values():
        if type(value) is float and not isfinite(value):
            raise _diagnosis(plain)
        if type(value) in _CONTAINERS:
            try:
                "".join(_chunks(value, 0))
            except ValueError:
                raise _diagnosis(plain) from None


def _first_fault(rows: Sequence[Row]) -> NotEncodableError:
    """Why rows were not encoded, by the first that cannot be."""
    for row in rows:
        try:
            _encode_row(row)
        except (ValueError, TypeError, RecursionError):
            return _diagnosis(row)
    raise AssertionError("rows that were not encoded hold one that cannot be")


def _diagnosis(plain: Row) -> NotEncodableError:
    """Which field kept a row from being encoded. Slow, and only for rows that failed."""
    try:
        _check_types(plain)
    except NotEncodableError as fault:
        return fault
    for name, value in plain.items():
        for part, words in ((name, "has a name that is no text: "), (value, "")):
            try:
                "".join(_chunks(part, 0)).encode()
            except (ValueError, TypeError, RecursionError) as fault:
                return NotEncodableError(
                    f"{words}{_reason(fault)}", field=name.encode(errors="backslashreplace").decode()
                )
    return NotEncodableError("the row cannot be encoded")


def _reason(fault: Exception) -> str:
    if isinstance(fault, UnicodeEncodeError):
        return "holds half a surrogate pair, which is no text"
    if isinstance(fault, RecursionError):
        return "is nested too deeply"
    what = str(fault).partition(":")[0]  # some encoders add the value
    return f"holds a value that JSON does not have ({what})"


def _fault_in(value: object) -> str | None:
    """Why a value would not come back from JSON as it was, by its types; None when it would.

    Goes level by level, a C loop for the members of each container.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                if not _TEXT.issuperset(map(type, item)):
                    return "holds an object with a key that is not text"
                members: Iterable[Any] = item.values()
            elif kind is list:
                members = item
            elif kind in _SCALARS:
                continue
            else:
                return f"holds a {kind.__name__}, which JSON does not have"
            below.extend(m for m in members if type(m) not in _SCALARS)
        if not below:
            return None
        level = list({id(m): m for m in below}.values())  # each once, or a cycle would grow without end
    return f"is nested more than {MAX_DEPTH} levels deep"


def _depth(value: object) -> int:
    depth = 0
    level: list[Any] = [value]
    while level := [item for item in level if type(item) in _CONTAINERS]:
        depth += 1
        level = list(chain.from_iterable(i.values() if type(i) is dict else i for i in level))
    return depth


def _refuse_surrogates(text: str, value: object) -> None:
    try:
        text.encode()
        "".join(_chunks(value, 0)).encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a surrogate pair, which is no text") from None


def _refuse_constant(word: str) -> None:
    raise ValueError(f"holds {word}, which is no JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0.0:
        raise ValueError(f"holds {text:.40}, which is too large for a float")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"holds the key {twice!r:.60} twice")
    return members


def _compact_encoder() -> Callable[[object, int], Iterable[str]]:
    """The C encoder that ``json.dumps`` builds anew at each call (half its time), built once.

    It keeps no state between calls when it is not asked to look for cycles. It is no public
    interface: where it is missing or does not behave, the public encoder does its work.
    """
    plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    probe = {"text": 'é"\n', "numbers": [1, 2.0, 10**20], "other": {"a": None, "b": True}}
    if make is not None:
        escape = json.encoder.encode_basestring
        try:
            fast: Callable[[object, int], Iterable[str]] = make(
                None, plain.default, escape, None, ":", ",", False, False, False
            )
            if "".join(fast(probe, 0)) == plain.encode(probe):
                return fast
        except TypeError:
            pass
    return lambda value, _level: (plain.encode(value),)


_chunks: Final = _compact_encoder()
_STRICT: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite, parse_constant=_refuse_constant)
_scan: Final[Callable[[str, int], tuple[Any, int]]] = _STRICT.scan_once  # type: ignore[attr-defined]
_encode_row: Final[Callable[[Row], bytes]] = msgspec.json.Encoder().encode
_decode_row: Final[Callable[[bytes], Row]] = msgspec.json.Decoder(dict[str, Any]).decode
