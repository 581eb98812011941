#!/usr/bin/env python3
"""Makes packages.csv: packages of the Debian archive, each with its section and its description.

The index is what ``apt-cache dumpavail`` prints, or a file of that form (an
uncompressed ``Packages`` file of a mirror is one). Standard library only, so that it
runs anywhere. The same index and number of rows give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

COLUMNS = ("package", "section", "description", "installed_size", "priority")


def stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """The records of an index, each as its fields by lower-case name; only their first lines are kept."""
    stanza: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            if stanza:
                yield stanza
            stanza = {}
        elif line[0] not in " \t":
            name, _, value = line.partition(":")
            stanza[name.lower()] = value.strip()
    if stanza:
        yield stanza


def packages(lines: Iterable[str]) -> list[dict[str, str]]:
    """One row for each package that has a section and a description, sorted by name.

    Of several versions the first counts. Area prefixes are dropped: ``contrib/games`` is ``games``.
    """
    found: dict[str, dict[str, str]] = {}
    for stanza in stanzas(lines):
        name = stanza.get("package", "")
        section = stanza.get("section", "").rpartition("/")[2]
        description = stanza.get("description", "")
        if name and section and description and name not in found:
            found[name] = {
                "package": name,
                "section": section,
                "description": description,
                "installed_size": stanza.get("installed-size", ""),
                "priority": stanza.get("priority", ""),
            }
    return [found[name] for name in sorted(found)]


def sample(rows: list[dict[str, str]], count: int) -> Iterator[dict[str, str]]:
    """``count`` rows spread evenly over all; when there are fewer, all of them again and again.

    A repeated package has its round as a suffix (``0ad~2``), so names stay unique.
    """
    full_rounds, rest = divmod(count, len(rows))
    for number in range(1, full_rounds + 1):
        for row in rows:
            yield row if number == 1 else {**row, "package": f"{row['package']}~{number}"}
    number = full_rounds + 1
    for place in range(rest):
        row = rows[place * len(rows) // rest]
        yield row if number == 1 else {**row, "package": f"{row['package']}~{number}"}


def index_lines(source: Path | None) -> Iterator[str]:
    """The lines of the index file, or of what apt-cache prints."""
    if source is not None:
        with source.open(encoding="utf-8", errors="replace", newline="\n") as file:
            yield from file
        return
    command = ["apt-cache", "dumpavail"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace") as process:
        if process.stdout is not None:
            yield from process.stdout
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed; name an index with --from")


def main(arguments: list[str] | None = None) -> int:
    """Writes the file and says how many rows and sections it has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="an index file instead of apt-cache")
    parser.add_argument(
        "--rows",
        type=int,
        metavar="N",
        help="so many rows, spread evenly over the index (default: all of it); when N exceeds the index, its "
        "packages are repeated with a suffix (0ad~2), so a file of any size can be made",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("packages.csv"), metavar="FILE")
    options = parser.parse_args(arguments)
    if options.rows is not None and options.rows < 0:
        parser.error("--rows must not be negative")
    try:
        rows = packages(index_lines(options.source))
    except OSError as fault:
        parser.error(f"the index cannot be read: {fault}")
    if not rows:
        parser.error("the index names no package with a section and a description (try: apt-get update)")
    count, sections = 0, set()
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in sample(rows, len(rows) if options.rows is None else options.rows):
            writer.writerow(row)
            count += 1
            sections.add(row["section"])
    print(f"{options.out}: {count:,} packages in {len(sections)} sections", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
