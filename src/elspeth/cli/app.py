"""The command ``elspeth``: its parts, and how every error ends it.

An error of ours is a message and a hint on stderr and its exit code; anything else is
a bug, and says so. Command modules import what they need when they are called, so
that ``elspeth --help`` starts fast.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import Annotated

import typer

from elspeth import __version__
from elspeth.cli import (
    key_commands,
    pipeline_commands,
    replay_commands,
    retention_commands,
    run_commands,
    start_commands,
    timestamp_commands,
    trail_commands,
    verify_commands,
)
from elspeth.cli.output import print_error
from elspeth.contracts import ElspethError
from elspeth.core.heap import RARELY

__all__ = ["build_app", "main", "narrow"]


def build_app() -> typer.Typer:
    """The application with every command."""
    app = typer.Typer(
        name="elspeth",
        help="Data pipelines with language models whose every decision stands up to a formal inquiry.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
        ] = False,
    ) -> None:
        pass

    start_commands.register(app)
    pipeline_commands.register(app)
    run_commands.register(app)
    trail_commands.register(app)
    verify_commands.register(app)
    key_commands.register(app)
    replay_commands.register(app)
    retention_commands.register(app)
    timestamp_commands.register(app)
    return app


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"elspeth {__version__}")
        raise typer.Exit


def narrow(app: typer.Typer, word: str) -> None:
    """Leaves the command or group that ``word`` names, where it names one: to prepare all takes as long as `runs`."""
    commands = [command for command in app.registered_commands if command.name == word]
    groups = [group for group in app.registered_groups if group.name == word]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups


def main() -> None:
    """Runs the command line and exits with its code."""
    gc.set_threshold(*RARELY)
    atexit.register(gc.freeze)  # what is there at the end goes with the process, and need not be looked through first
    app = build_app()
    narrow(app, sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except ElspethError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read us has gone; the interpreter must not try to flush again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
