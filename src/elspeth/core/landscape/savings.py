"""What a run did not ask for: answers that were taken, and rows that shared a request of another one."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from elspeth.core.landscape.reader import LandscapeReader, RunHeader

__all__ = ["Savings", "savings_of"]


class Savings(Struct, frozen=True, kw_only=True):
    """At one node: answers taken of other runs, requests that rows of this run shared, and tokens not used again."""

    node_no: int
    answers_reused: int
    requests_shared: int
    input_tokens: int
    output_tokens: int


def savings_of(reader: LandscapeReader, run: RunHeader) -> list[Savings]:
    """By node, in order; what shares a request counts when its answer is home."""
    found: dict[int, Counter[str]] = {}
    for node_no, is_own, rows, tokens_in, tokens_out in reader.query(
        "SELECT node_no, from_run = ?, COUNT(*), COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0) "
        "FROM reuses WHERE run_no = ? GROUP BY 1, 2",
        run.run_id,
        run.run_no,
    ):
        kind = "requests_shared" if is_own else "answers_reused"
        counts = {kind: rows, "input_tokens": tokens_in, "output_tokens": tokens_out}
        found.setdefault(node_no, Counter()).update(counts)
    for node_no, rows, tokens_in, tokens_out in reader.query(
        "SELECT b.node_no, SUM(json_extract(e.detail_json, '$.shared_rows')), "
        "SUM(json_extract(e.detail_json, '$.shared_tokens[0]')), "
        "SUM(json_extract(e.detail_json, '$.shared_tokens[1]')) "
        "FROM batch_events e JOIN batches b ON b.run_no = e.run_no AND b.batch_no = e.batch_no "
        "WHERE e.run_no = ? AND e.event = 'harvested' AND json_extract(e.detail_json, '$.shared_rows') > 0 "
        "GROUP BY b.node_no",
        run.run_no,
    ):
        counts = {"requests_shared": rows, "input_tokens": tokens_in, "output_tokens": tokens_out}
        found.setdefault(node_no, Counter()).update(counts)
    return [
        Savings(
            node_no=node_no,
            answers_reused=counts["answers_reused"],
            requests_shared=counts["requests_shared"],
            input_tokens=counts["input_tokens"],
            output_tokens=counts["output_tokens"],
        )
        for node_no, counts in sorted(found.items())
    ]
