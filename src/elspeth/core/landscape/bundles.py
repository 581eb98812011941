"""What `records.json` of a bundle says: some leaves of a run, and the paths that prove them.

    leaf            its lines and blinding, its place in the tree of its commit, the path to that tree's root
    commit          its root and leaf count, the path to the root of the run's tree
    earlier tree    its size and root, the path that proves it the beginning of the run's tree
    run's tree      its size; its root stands in the checkpoint

`encode_records` and `decode_records` are inverses, and reading is strict: there is one spelling of
each content, so that a byte which means nothing cannot be changed either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from elspeth.contracts import PayloadClass, TrailError
from elspeth.core.landscape.leaves import BLINDING_BYTES
from elspeth.core.landscape.schema import SCHEMA_VERSION, table

__all__ = [
    "BY_BATCH",
    "BY_JOURNEY",
    "CHECKPOINT",
    "KEY",
    "OF_ROWS",
    "PAYLOAD_COLUMNS",
    "PAYLOAD_FOLDER",
    "README",
    "RECORDS",
    "SCRIPT",
    "WHOLE",
    "BundleRecords",
    "EarlierTree",
    "ProvenCommit",
    "ProvenLeaf",
    "decode_records",
    "encode_records",
    "named_hashes",
    "parse_line",
    "payload_name",
]

README: Final = "README.md"
SCRIPT: Final = "verify.py"
CHECKPOINT: Final = "checkpoint.txt"
KEY: Final = "key.txt"
RECORDS: Final = "records.json"
PAYLOAD_FOLDER: Final = "payloads/"

OF_ROWS: Final = ("rows", "row_keys", "passages", "outcomes", "batch_members", "reuses")
WHOLE: Final = ("runs", "run_files", "nodes", "edges", "artifacts", "purges")
"""Tables that a bundle has all records of: what the run is, and what became of it."""
BY_BATCH: Final = ("call_intents", "calls", "batches", "batch_events")
"""Tables of which it has the records of the batches that its rows were in."""
BY_JOURNEY: Final = ("journeys",)
"""Tables of which it has the records of the journeys that the passages of its rows name."""

PAYLOAD_COLUMNS: Final[Mapping[str, tuple[PayloadClass, tuple[str, ...]]]] = {
    "rows": (PayloadClass.ROWS, ("data_hash",)),
    "passages": (PayloadClass.ROWS, ("output_hashes",)),
    "batch_members": (PayloadClass.FILES, ("line_hash",)),
    "reuses": (PayloadClass.FILES, ("request_hash", "reply_hash")),
    "run_files": (PayloadClass.FILES, ("hash",)),
}
"""The class in which the payloads of a bundle are kept, and the columns that name them, by table."""

_NAMES: Final = {
    name: tuple(c.name for c in table(name).hashed_columns) for name in (*OF_ROWS, *BY_JOURNEY, *WHOLE, *BY_BATCH)
}
_HASH_BYTES: Final = 32
_HASH_DIGITS: Final = 2 * _HASH_BYTES


class ProvenLeaf(Struct, frozen=True, kw_only=True):
    """A leaf; ``lines`` are without their newlines."""

    commit_no: int
    place: int
    blinding: bytes
    lines: tuple[str, ...]
    path: tuple[bytes, ...]


class ProvenCommit(Struct, frozen=True, kw_only=True):
    """A commit of which there are leaves."""

    commit_no: int
    leaf_count: int
    root: bytes
    path: tuple[bytes, ...]


class EarlierTree(Struct, frozen=True, kw_only=True):
    """The run's tree as an earlier seal tells of it."""

    size: int
    root: bytes
    path: tuple[bytes, ...]


class BundleRecords(Struct, frozen=True, kw_only=True):
    """All of it; ``files`` are the SHA-256 of the files beside the payloads."""

    run_id: str
    pipeline: str
    rows: tuple[int, ...]
    tree_size: int
    leaves: tuple[ProvenLeaf, ...]
    commits: tuple[ProvenCommit, ...]
    earlier: tuple[EarlierTree, ...]
    files: Mapping[str, bytes]

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Table and columns of every record, in order, with the number of its commit.

        Raises `TrailError` for one that a bundle does not have.
        """
        for leaf in self.leaves:
            for line in leaf.lines:
                name, record = parse_line(line)
                yield name, {**record, "commit_no": leaf.commit_no}


def parse_line(line: str) -> tuple[str, dict[str, Any]]:
    """Table and hashed columns of a record's line. Raises `TrailError` for a table that a bundle does not have."""
    try:
        name, *values = json.loads(line)
        columns = _NAMES[name]
        return name, dict(zip(columns, values, strict=True))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrailError(f"a bundle has no such record: {line[:80]!r}") from error


def named_hashes(record: Mapping[str, Any], column: str) -> list[str]:
    """The hashes that stand in a column, as digits: none, one, or several of them joined."""
    digits = record[column] or ""
    return [digits[at : at + _HASH_DIGITS] for at in range(0, len(digits), _HASH_DIGITS)]


def payload_name(digest: bytes | str) -> str:
    """The file of a payload, by its SHA-256."""
    return PAYLOAD_FOLDER + (digest if isinstance(digest, str) else digest.hex())


def encode_records(records: BundleRecords) -> bytes:
    """The bytes of `records.json`."""
    content = {
        "audit_format": SCHEMA_VERSION,
        "run": records.run_id,
        "pipeline": records.pipeline,
        "rows": records.rows,
        "tree_size": records.tree_size,
        "files": {name: digest.hex() for name, digest in records.files.items()},
        "earlier": [{"size": tree.size, "root": tree.root.hex(), "path": _hex(tree.path)} for tree in records.earlier],
        "commits": [
            {"commit": one.commit_no, "leaf_count": one.leaf_count, "root": one.root.hex(), "path": _hex(one.path)}
            for one in records.commits
        ],
        "leaves": [
            {
                "commit": leaf.commit_no,
                "place": leaf.place,
                "blinding": leaf.blinding.hex(),
                "lines": leaf.lines,
                "path": _hex(leaf.path),
            }
            for leaf in records.leaves
        ],
    }
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode_records(data: bytes) -> BundleRecords:
    """The inverse of `encode_records`; raises `TrailError` for any other bytes."""
    try:
        content = _Object(json.loads(data), "records.json")
        audit_format = content.integer("audit_format")
        if audit_format != SCHEMA_VERSION:
            raise TrailError(
                f"the bundle has audit format {audit_format}, and this version of elspeth knows {SCHEMA_VERSION}",
                hint="Check it by its own script: python3 verify.py",
            )
        records = BundleRecords(
            run_id=content.text("run"),
            pipeline=content.text("pipeline"),
            rows=tuple(content.integers("rows")),
            tree_size=content.integer("tree_size"),
            files={name: _digest(digest, name) for name, digest in content.mapping("files").items()},
            earlier=tuple(_earlier(one) for one in content.objects("earlier")),
            commits=tuple(_commit(one) for one in content.objects("commits")),
            leaves=tuple(_leaf(one) for one in content.objects("leaves")),
        )
        is_same = encode_records(records) == data
    except (ValueError, RecursionError) as error:
        raise TrailError(f"records.json is not what a bundle has: {error}") from error
    if not is_same:
        raise TrailError("records.json is not written as a bundle's is")
    return records


class _Object:
    """An object of the file, whose members are read by kind; raises `TrailError` with its place."""

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise TrailError(f"{place} is not an object")
        self._value = value
        self._place = place

    def _read(self, name: str, kind: type) -> Any:
        value = self._value.get(name)
        if type(value) is not kind:
            raise TrailError(f"{self._place}: {name} is not what it must be")
        return value

    def text(self, name: str) -> str:
        return str(self._read(name, str))

    def integer(self, name: str) -> int:
        return int(self._read(name, int))

    def mapping(self, name: str) -> dict[str, object]:
        return dict(self._read(name, dict))

    def objects(self, name: str) -> list[_Object]:
        return [_Object(one, f"{name} {number}") for number, one in enumerate(self._read(name, list))]

    def integers(self, name: str) -> list[int]:
        return [int(one) for one in self._each(name, int)]

    def texts(self, name: str) -> list[str]:
        return [str(one) for one in self._each(name, str)]

    def digest(self, name: str) -> bytes:
        return _digest(self._read(name, str), f"{self._place}: {name}")

    def path(self) -> tuple[bytes, ...]:
        return tuple(_digest(one, f"{self._place}: path") for one in self.texts("path"))

    def _each(self, name: str, kind: type) -> list[Any]:
        values: list[Any] = self._read(name, list)
        if any(type(value) is not kind for value in values):
            raise TrailError(f"{self._place}: {name} is not what it must be")
        return values


def _earlier(found: _Object) -> EarlierTree:
    return EarlierTree(size=found.integer("size"), root=found.digest("root"), path=found.path())


def _commit(found: _Object) -> ProvenCommit:
    return ProvenCommit(
        commit_no=found.integer("commit"),
        leaf_count=found.integer("leaf_count"),
        root=found.digest("root"),
        path=found.path(),
    )


def _leaf(found: _Object) -> ProvenLeaf:
    return ProvenLeaf(
        commit_no=found.integer("commit"),
        place=found.integer("place"),
        blinding=_digest(found.text("blinding"), "blinding", size=BLINDING_BYTES),
        lines=tuple(found.texts("lines")),
        path=found.path(),
    )


def _digest(text: object, place: str, *, size: int = _HASH_BYTES) -> bytes:
    decode: Callable[[str], bytes] = bytes.fromhex
    data = decode(text) if isinstance(text, str) else b""
    if len(data) != size:
        raise TrailError(f"{place}: {text!r:.80} is not {size} bytes as hexadecimal digits")
    return data


def _hex(path: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in path]
