"""The command line prepares what is asked for, and says the same as if it had prepared everything."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from elspeth.cli.app import build_app, narrow


@pytest.mark.parametrize(
    "arguments", [["run", "--help"], ["keys"], ["keys", "show", "--help"], ["status", "--no-such-option"]]
)
def test_a_command_alone_says_what_it_says_among_all(arguments: list[str]) -> None:
    alone, among_all = build_app(), build_app()
    narrow(alone, arguments[0])

    assert 1 == len(alone.registered_commands) + len(alone.registered_groups)
    shown, expected = (CliRunner().invoke(app, arguments) for app in (alone, among_all))
    assert (expected.exit_code, expected.output) == (shown.exit_code, shown.output)


@pytest.mark.parametrize("word", ["", "--help", "--version", "nosuchcommand", "show"])
def test_a_word_that_names_no_command_leaves_them_all(word: str) -> None:
    narrowed, whole = build_app(), build_app()
    narrow(narrowed, word)

    assert len(whole.registered_commands) == len(narrowed.registered_commands)
    assert len(whole.registered_groups) == len(narrowed.registered_groups)
