"""The benchmark: what elspeth costs, as ratios to its rivals in one run on one machine.

python -m tests.bench [CASE ...] [--rows N,N,N] [--times N] [--out FILE.json] [--docs FILE.md]

It ends with 1 when an output is wrong, never because of a time. docs/performance.md says what each case is and why.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench.cases import CASES
from tests.bench.record import as_json, as_markdown, machine, with_figures
from tests.bench.usage import WrongOutputError
from tests.bench.workshop import Workshop

SIZES = (10_000, 100_000, 1_000_000)


def main(argv: list[str] | None = None) -> int:
    """Runs the cases that are named, or all, in the order in which they share most."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.docs:
        try:
            with_figures(arguments.docs.read_text(), "")
        except (OSError, ValueError) as error:
            parser.error(str(error))
    chosen = [name for name in CASES if not arguments.case or name in arguments.case]
    place = machine()
    with tempfile.TemporaryDirectory(prefix="elspeth-bench-", dir=arguments.folder) as folder:
        workshop = Workshop(Path(folder), sizes=arguments.rows, times=arguments.times)
        try:
            reports = {name: CASES[name](workshop) for name in chosen}
        except WrongOutputError as error:
            print(f"a wrong output: {error}", file=sys.stderr)
            return 1
    markdown = as_markdown(place, reports)
    print(markdown)
    if arguments.out:
        arguments.out.write_text(as_json(place, reports, workshop.measurements))
    if arguments.docs:
        arguments.docs.write_text(with_figures(arguments.docs.read_text(), markdown))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What elspeth costs.")
    parser.add_argument("case", nargs="*", type=_case, metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument(
        "--rows", type=_sizes, default=SIZES, metavar="N,N", help="sizes (default 10000,100000,1000000)"
    )
    parser.add_argument("--times", type=int, metavar="N", help="repetitions of all (default: each its own)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="everything that was measured, as JSON")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="rewrite the block of figures in this document")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="work below it (about 4 GB for a million rows)")
    return parser


def _case(text: str) -> str:
    if text not in CASES:
        raise argparse.ArgumentTypeError(f"no case {text!r}; there are {', '.join(CASES)}")
    return text


def _sizes(text: str) -> tuple[int, ...]:
    if not all(part.isdecimal() and int(part) > 1 for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"not numbers of rows, two at least: {text!r}")
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
