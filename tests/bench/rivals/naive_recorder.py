"""The audit case with an audit as it is often built: a transaction for each record, a file for each payload.

python naive_recorder.py rows.csv urgent.csv normal.csv STATE JOURNAL_MODE

For each row: the row, a state for each of the three steps, an outcome, each inserted and committed by itself under
SQLite's default ``synchronous=FULL``; the row and what each transform made of it are files named by their SHA-256,
written beside, flushed to the disk and renamed. There are no leaves, no signatures and no files' hashes.
"""

import csv
import hashlib
import json
import os
import sqlite3
import sys
from pathlib import Path

from plain import FIELDS, label, tidy

SCHEMA = """
CREATE TABLE rows (row_index INTEGER PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE states (row_index INTEGER, step TEXT, input_hash TEXT, output_hash TEXT, route TEXT,
                     PRIMARY KEY (row_index, step));
CREATE TABLE outcomes (row_index INTEGER PRIMARY KEY, outcome TEXT, sink TEXT, hash TEXT);
"""


class Recorder:
    def __init__(self, state, journal_mode):
        self.payloads = state / "payloads"
        self.payloads.mkdir(parents=True)
        self.database = sqlite3.connect(state / "audit.db")
        self.database.execute(f"PRAGMA journal_mode={journal_mode}")
        self.database.executescript(SCHEMA)

    def record(self, table, *values):
        with self.database:
            self.database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)

    def store(self, row):
        content = json.dumps(row).encode()
        digest = hashlib.sha256(content).hexdigest()
        path = self.payloads / digest[:2] / digest
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        return digest


def main(source_path, urgent_path, normal_path, state_path, journal_mode):
    recorder = Recorder(Path(state_path), journal_mode)
    with (
        open(source_path, newline="", encoding="utf-8") as source,
        open(urgent_path, "w", newline="", encoding="utf-8") as urgent_file,
        open(normal_path, "w", newline="", encoding="utf-8") as normal_file,
    ):
        sinks = {}
        for name, file in (("urgent", urgent_file), ("normal", normal_file)):
            sinks[name] = csv.DictWriter(file, FIELDS, lineterminator="\n")
            sinks[name].writeheader()
        for index, row in enumerate(csv.DictReader(source)):
            row["id"] = int(row["id"])
            row["amount"] = float(row["amount"])
            row["priority"] = int(row["priority"])
            ticket, before = row, recorder.store(row)
            recorder.record("rows", index, before)
            for step in (tidy, label):
                ticket = step(ticket)
                after = recorder.store(ticket)
                recorder.record("states", index, step.__name__, before, after, None)
                before = after
            urgent = ticket["priority"] >= 3
            recorder.record("states", index, "risk", before, before, "true" if urgent else "false")
            sink = "urgent" if urgent else "normal"
            sinks[sink].writerow(ticket)
            recorder.record("outcomes", index, "routed" if urgent else "completed", sink, before)


if __name__ == "__main__":
    main(*sys.argv[1:])
