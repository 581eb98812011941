"""The command that has a seal stamped by an outsider: ``timestamp``."""

from __future__ import annotations

from typing import Annotated

import typer

from elspeth.cli.output import note, print_json, print_text
from elspeth.cli.trail_commands import DbOption, JsonOption, RunArgument, open_reader

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("timestamp")(timestamp)


def timestamp(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="A time-stamping authority (RFC 3161).")],
    run: RunArgument = "latest",
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """Let a time-stamping authority say that the run's last seal exists now.

    It is sent the hash of the seal and nothing else. Its answer is kept beside the seals.
    """
    from elspeth.app.timestamping import timestamp_run

    with open_reader(db) as reader:
        stamped = timestamp_run(reader, reader.run(run), url=url)
    if json:
        print_json(stamped.as_json())
    else:
        said = f"seal of {stamped.commits} commits existed on {stamped.timestamp.time}"
        print_text(f"run {stamped.run_id}: {said}, says {stamped.timestamp.authority}")
        note(f"{'kept in' if stamped.is_new else 'was there already; nobody was asked:'} {stamped.path}")
        note("Not verified yet: elspeth verify RUN --tsa-certificate FILE does, with a root that you trust.")
    if stamped.later_commits:
        note(f"{stamped.later_commits} commits after that seal are not covered: ask again when they are sealed")
