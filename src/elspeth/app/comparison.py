"""Two runs of one trail compared: rows, outputs, configuration, code, money.

The rows are gone through once, when the comparison is made; what is told of single rows is
read when it is asked for. ``str()`` and `to_dict` are not here on purpose: both would hold
as many rows as anybody wants to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from elspeth.app.asking import Asked, asked, likeness
from elspeth.app.reports import run_status
from elspeth.app.settings import file_differences, setting_differences
from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.core.landscape.comparison import Aspect, AspectKind, Comparer, RowComparison
from elspeth.core.landscape.lineage import Lineage
from elspeth.core.landscape.pairing import Pair, are_keyed
from elspeth.core.landscape.standings import Standing

__all__ = ["Comparison", "compare_runs"]


class Comparison:
    """What is told at once is ``content``, in the shape of ``diff --json`` without its three lists of rows."""

    def __init__(
        self,
        content: Mapping[str, Any],
        *,
        is_same: bool,
        comparer: Comparer,
        lineages: tuple[Lineage, Lineage],
        found: RowComparison,
    ) -> None:
        self.content = content
        self.is_same = is_same
        self._comparer = comparer
        self._lineages = lineages
        self._found = found

    @property
    def shown(self) -> dict[str, int]:
        """How many rows of each sort there are to show."""
        found = self._found
        return {
            "differ": len(found.first_differing),
            "only_a": len(found.first_only_a),
            "only_b": len(found.first_only_b),
        }

    def differing(self) -> Iterator[dict[str, Any]]:
        """The first rows that differ: where, in what, each value in both runs, and what the model was asked."""
        for pair in self._found.first_differing:
            yield self._differing_row(pair)

    def only_a(self) -> Iterator[dict[str, Any]]:
        """The first rows that only the first run has."""
        return self._alone(self._found.first_only_a)

    def only_b(self) -> Iterator[dict[str, Any]]:
        """The first rows that only the second run has."""
        return self._alone(self._found.first_only_b)

    def _alone(self, pairs: list[Pair]) -> Iterator[dict[str, Any]]:
        for pair in pairs:
            first, second = self._comparer.standings_of(pair)
            yield {"key": pair.key, **_standing(first or second)}

    def _differing_row(self, pair: Pair) -> dict[str, Any]:
        first, second = self._comparer.standings_of(pair)
        if first is None or second is None:
            raise RuntimeError("only pairs of two rows differ")
        aspects = list(self._comparer.aspects(first, second))
        names = [aspect.name for aspect in aspects if aspect.kind is AspectKind.FIELD]
        values = (self._comparer.a.fields(first), self._comparer.b.fields(second)) if names else ({}, {})
        return {
            "key": pair.key,
            "a": _standing(first),
            "b": _standing(second),
            "differs": [_aspect(aspect) for aspect in aspects],
            "fields": {name: _sides(name, *values) for name in names},
            "answers": self._answers(first, second),
        }

    def _answers(self, first: Standing, second: Standing) -> list[dict[str, Any]]:
        """What each model step answered, where that differs, and whether it was asked the same."""
        one, other = (
            {} if standing.is_rejected else _last_asked(lineage, standing.index)
            for lineage, standing in zip(self._lineages, (first, second), strict=True)
        )
        found = []
        for step in {**one, **other}:
            a, b = one.get(step), other.get(step)
            asks = [(side, ask) for side, ask in (("a", a), ("b", b)) if ask is not None]
            answers = {side: ask.answer for side, ask in asks if ask.purged is None}
            if len(answers) == 2 and answers["a"] == answers["b"]:
                continue
            same = None if a is None or b is None else likeness(a.request, b.request).value
            purged = [side for side, ask in asks if ask.purged is not None]
            found.append({"step": step, "request": same, **answers, **({"purged": purged} if purged else {})})
        return found


def compare_runs(reader: LandscapeReader, a: RunHeader, b: RunHeader, *, keep: int) -> Comparison:
    """Compares run ``a`` with run ``b``, by key where both have one; keeps ``keep`` rows of each sort to be shown."""
    comparer = Comparer(reader, a, b)
    found = comparer.compare(keep=keep)
    outputs = list(_outputs(reader, a, b))
    statuses = [run_status(reader, run) for run in (a, b)]
    is_same = found.is_same and all(output["same"] for output in outputs)
    content = {
        "schema_version": 1,
        "same": is_same,
        "a": _run(reader, a, statuses[0]),
        "b": _run(reader, b, statuses[1]),
        "rows": {
            "by": "key" if are_keyed(a, b) else "index",
            "all": found.rows,
            "same": found.same,
            "differ": found.differ,
            "only_a": found.only_a,
            "only_b": found.only_b,
            "differ_in": [{**_aspect(aspect), "rows": rows} for aspect, rows in found.aspects.most_common()],
        },
        "outputs": outputs,
        "configuration": {
            "settings": list(setting_differences(a, b)),
            "files": list(file_differences(reader, a, b)),
        },
    }
    lineages = Lineage(reader, a), Lineage(reader, b)
    return Comparison(content, is_same=is_same, comparer=comparer, lineages=lineages, found=found)


def _run(reader: LandscapeReader, run: RunHeader, status: Mapping[str, Any]) -> dict[str, Any]:
    ((started_at,),) = reader.query("SELECT started_at FROM v_runs WHERE run_id = ?", run.run_id)
    versions = reader.query(
        "SELECT code_version FROM runs WHERE run_no = ?1 "
        "UNION SELECT code_version FROM run_events WHERE run_no = ?1 ORDER BY 1",
        run.run_no,
    )
    return {
        "run": run.run_id,
        "pipeline": run.pipeline,
        "status": status["status"],
        "started_at": started_at,
        "grade": status["grade"],
        "simulated": status["simulated"],
        "code_versions": [version for (version,) in versions],
        "money": status["money"],
        "usage": status["usage"],
    }


def _outputs(reader: LandscapeReader, a: RunHeader, b: RunHeader) -> Iterator[dict[str, Any]]:
    """Each finished output by its sink's name, with what both runs wrote into it."""
    one, other = _artifacts(reader, a), _artifacts(reader, b)
    for sink in {**one, **other}:
        first, second = one.get(sink), other.get(sink)
        is_same = first is not None and second is not None and first["sha256"] == second["sha256"]
        yield {"sink": sink, "same": is_same, "a": first, "b": second}


def _artifacts(reader: LandscapeReader, run: RunHeader) -> dict[str, dict[str, Any]]:
    return {
        name: {"path": path, "size": size, "sha256": digest.hex(), "records": records}
        for name, path, size, digest, records in reader.query(
            "SELECT n.name, a.path, a.size, a.hash, a.records FROM artifacts a "
            "JOIN nodes n ON n.run_no = a.run_no AND n.node_no = a.node_no WHERE a.run_no = ? ORDER BY a.node_no",
            run.run_no,
        )
    }


def _last_asked(lineage: Lineage, index: int) -> dict[str, Asked]:
    """The last request for a row at each step that asks."""
    return {request.step: request for request in asked(lineage.steps(index), {})}


def _standing(standing: Standing | None) -> dict[str, Any]:
    if standing is None:
        raise RuntimeError("a pair has at least one row")
    return {
        "row": standing.index,
        "hash": standing.sha256.hex(),
        "routes": dict(standing.routes),
        **standing.ending._asdict(),
    }


def _aspect(aspect: Aspect) -> dict[str, str]:
    return {"what": aspect.kind.value, **({"name": aspect.name} if aspect.name else {})}


def _sides(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A field's value in each run; a side that does not have it is left out."""
    return {side: row[name] for side, row in (("a", one), ("b", other)) if name in row}
