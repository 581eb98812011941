"""An instance of a JSON Schema, chosen by hashes: right in form, without meaning.

Covers what structured outputs allow: object, array, string, integer, number,
boolean, null, type lists, enum, const, anyOf, oneOf, allOf, $ref, bounds,
lengths, formats. Not covered: `pattern`, `not`, `if`, `uniqueItems`.
"""

import math
from collections.abc import Callable
from urllib.parse import unquote

from elspeth.simulator.json_values import Json, JsonObject
from elspeth.simulator.prompts import Chooser

# Below this many steps from the root whatever may be left out is left out, so that recursive schemas end.
DEPTH_OF_PLENTY = 6
DEPTH_LIMIT = 60

_FORMATS = {
    "date-time": "2024-01-01T00:00:00Z",
    "date": "2024-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "simulated@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def instance(schema: Json, chooser: Chooser) -> Json:
    return _Maker(schema, chooser).make(schema, ("$",))


_Path = tuple[str, ...]


class _Maker:
    def __init__(self, root: Json, chooser: Chooser) -> None:
        self._root = root
        self._chooser = chooser

    def make(self, schema: Json, path: _Path) -> Json:
        if not isinstance(schema, dict) or len(path) > DEPTH_LIMIT:
            return None
        schema = self._flattened(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._chooser.option(schema["enum"], "/".join(path))
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                return self.make(self._alternative(schema, word, path), path)
        makers: dict[str, Callable[[JsonObject, _Path], Json]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda _, where: self._chooser.index(2, "/".join(where)) == 1,
        }
        maker = makers.get(_type_of(schema, spare=len(path) > DEPTH_OF_PLENTY))
        return None if maker is None else maker(schema, path)

    def _flattened(self, schema: JsonObject) -> JsonObject:
        """Follows `$ref`, and folds `allOf` in."""
        for _ in range(DEPTH_LIMIT):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**_resolve(self._root, schema["$ref"]), **rest}
            elif schema.get("allOf"):
                parts = [self._flattened(part) for part in schema["allOf"]]
                schema = _folded([*parts, {key: value for key, value in schema.items() if key != "allOf"}])
            else:
                break
        return schema

    def _alternative(self, schema: JsonObject, word: str, path: _Path) -> JsonObject:
        """One that is not null, by hash; far down, the plainest one, null first of all."""
        alternatives = [self._flattened(option) for option in schema[word] if isinstance(option, dict)]
        if len(path) > DEPTH_OF_PLENTY:
            chosen = min(alternatives, key=_weight)
        else:
            full = [option for option in alternatives if option.get("type") != "null"] or alternatives
            chosen = full[self._chooser.index(len(full), "/".join(path), word)]
        rest = {key: value for key, value in schema.items() if key != word}
        return _folded([rest, chosen])

    def _object(self, schema: JsonObject, path: _Path) -> Json:
        properties: JsonObject = schema.get("properties") or {}
        required = schema.get("required") or []
        wanted = required if len(path) > DEPTH_OF_PLENTY else [*properties, *required]
        fallback = schema.get("additionalProperties")
        other = fallback if isinstance(fallback, dict) else {"type": "string"}
        return {name: self.make(properties.get(name, other), (*path, name)) for name in dict.fromkeys(wanted)}

    def _array(self, schema: JsonObject, path: _Path) -> Json:
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", least + 2))
        prefix = schema.get("prefixItems") or []
        length = least
        if len(path) <= DEPTH_OF_PLENTY:
            length = max(least, min(most, 1 + self._chooser.index(2, "/".join(path), "length")))
        items = schema.get("items", {"type": "string"})
        kinds = [*prefix, *[items] * max(0, length - len(prefix))]
        kinds = kinds[: max(length, min(len(prefix), most))]
        return [self.make(kind, (*path, str(place))) for place, kind in enumerate(kinds)]

    def _string(self, schema: JsonObject, path: _Path) -> Json:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = f"simulated {path[-1]} {self._chooser.hash('/'.join(path))[:6]}"
        least = int(schema.get("minLength", 0))
        return text.ljust(least, ".")[: int(schema.get("maxLength", max(least, len(text))))]

    def _integer(self, schema: JsonObject, path: _Path) -> Json:
        step = schema.get("multipleOf", 1)
        step = int(step) if float(step).is_integer() else 1
        low, high = _bounds(schema, width=100)
        first, last = math.ceil(low / step), math.floor(high / step)
        first += first * step in (schema.get("exclusiveMinimum"),)
        last -= last * step in (schema.get("exclusiveMaximum"),)
        return (first + self._chooser.index(max(1, last - first + 1), "/".join(path))) * step

    def _number(self, schema: JsonObject, path: _Path) -> Json:
        if "multipleOf" in schema:
            return self._integer({**schema, "multipleOf": max(1, math.ceil(schema["multipleOf"]))}, path)
        low, high = _bounds(schema, width=1)
        exact = low + (high - low) * (0.01 + 0.98 * self._chooser.fraction("/".join(path)))
        rounded = round(exact, 2)
        return rounded if low < rounded < high else exact


def _type_of(schema: JsonObject, *, spare: bool) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        if spare and "null" in kind:
            return "null"
        return str(next((name for name in kind if name != "null"), "null"))
    if kind is None:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _bounds(schema: JsonObject, *, width: int) -> tuple[float, float]:
    lows = [schema[key] for key in ("minimum", "exclusiveMinimum") if key in schema]
    highs = [schema[key] for key in ("maximum", "exclusiveMaximum") if key in schema]
    if lows:
        return max(lows), min(highs, default=max(lows) + width)
    return (min(highs) - width, min(highs)) if highs else (0, width)


def _weight(schema: JsonObject) -> int:
    if schema.get("type") == "null" or "const" in schema or "enum" in schema:
        return 0
    return {"object": 3, "array": 1}.get(_type_of(schema, spare=True), 0 if "type" in schema else 2)


def _folded(parts: list[JsonObject]) -> JsonObject:
    whole: JsonObject = {}
    for part in parts:
        for key, value in part.items():
            if key == "properties":
                whole[key] = {**whole.get(key, {}), **value}
            elif key == "required":
                whole[key] = list(dict.fromkeys([*whole.get(key, []), *value]))
            else:
                whole[key] = value
    return whole


def _resolve(root: Json, reference: str) -> JsonObject:
    found = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
