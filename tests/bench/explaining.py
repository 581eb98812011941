"""How long one row's explanation takes within a process that has the trail open.

    python explaining.py DATABASE ROWS COUNT

Explains COUNT random rows of the newest run, and prints the seconds of each as JSON. The row must be the one that was
asked for. A first row, not counted, opens what stays open.
"""

from __future__ import annotations

import json
import random
import sys
import time

import elspeth


def main(database: str, rows: int, count: int) -> None:
    """Prints the list."""
    chosen = random.Random(0).choices(range(rows), k=count + 1)
    times_s = []
    with elspeth.open(database) as trail:
        run_id = next(iter(trail.runs()))["id"]
        for row in chosen:
            began = time.perf_counter()
            found = trail.explain(run_id, row=row).to_dict()
            times_s.append(time.perf_counter() - began)
            if found["row"]["data"]["id"] != row:
                raise SystemExit(f"row {row} was asked for, and this came: {found['row']}")
    print(json.dumps(times_s[1:]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
