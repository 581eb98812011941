"""The command line."""

from elspeth.cli.app import main

__all__ = ["main"]
