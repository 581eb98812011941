"""JSON as this package handles it: an alias for the untyped values, and one encoder.

The simulator passes JSON on far more often than it looks inside, so the
values stay untyped; every place that does look inside checks first.
"""

import json
from typing import Any, TypeAlias

Json: TypeAlias = Any
JsonObject: TypeAlias = dict[str, Json]


def encode_json(value: Json) -> bytes:
    """UTF-8, unescaped as the providers send it; escaped only where a lone surrogate forces it."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def decode_json(text: bytes) -> Json:
    """Strict JSON: UTF-8 without BOM, no NaN, no Infinity. Raises ValueError."""
    return _DECODER.decode(text.decode())


def merged(target: JsonObject, patch: JsonObject) -> JsonObject:
    """Objects merge key by key, everything else replaces; null is a value, it deletes nothing."""
    result = dict(target)
    for key, value in patch.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
