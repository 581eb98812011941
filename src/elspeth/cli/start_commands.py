"""Where people begin: a project of their own, a demonstration, a provider on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.output import complete_line, note, print_text

if TYPE_CHECKING:
    from elspeth.app.runs import RunResult
    from elspeth.engine.orchestrator import Progress

__all__ = ["register"]

_AFTER_INIT = """
{enter}  elspeth validate pipeline.yaml
  elspeth plan pipeline.yaml --show 1
  elspeth run pipeline.yaml            # offline: the answers are simulated
  elspeth explain latest --row 0"""

_AFTER_DEMO = """
THE ANSWERS ARE SIMULATED: no model was asked, nothing left this machine.

Look around
  cd {folder}
  elspeth status latest
  elspeth explain latest --key 0ad
  elspeth calls latest

Your own data
  elspeth init my-project && cd my-project
  # edit pipeline.yaml: the source's path and schema, the template, response_schema, the sinks
  elspeth validate pipeline.yaml
  elspeth plan pipeline.yaml --show 1

Your own account
  # in pipeline.yaml: endpoint: ${{AZURE_OPENAI_ENDPOINT}}, api_key: ${{AZURE_OPENAI_API_KEY}}, your deployment_name
  export AZURE_OPENAI_ENDPOINT=https://NAME.openai.azure.com AZURE_OPENAI_API_KEY=...
  elspeth run pipeline.yaml --limit 20 --no-wait
  elspeth resume latest"""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("init")(init)
    app.command("demo")(demo)
    app.command(
        "simulate",
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(simulate)


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; the current folder if left out.")] = Path(),
) -> None:
    """Write a small pipeline that runs offline."""
    from elspeth.app.starter import write_starter

    for path in write_starter(folder):
        note(f"wrote {path}")
    enter = "" if folder.absolute() == Path.cwd() else f"  cd {shlex.quote(str(folder))}\n"
    print_text("Next:" + _AFTER_INIT.format(enter=enter))


def demo(
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="The working folder.")] = Path("elspeth-demo"),
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="Read at most N rows.")] = 1000,
) -> None:
    """Show the whole story on this machine.

    An example runs against the simulator, its rows are counted and one of them is explained.
    """
    from elspeth.app.starter import copy_example

    note(f"1. copying the example debian-packages to {folder}")
    pipeline = copy_example(folder)
    note("2. running it: each package's section is asked for through a Batch API, a simulated one")
    result = _run_example(pipeline, rows)
    if result.error is not None:
        raise result.error
    _tell_story(result)
    print_text(_AFTER_DEMO.format(folder=shlex.quote(str(folder))))
    raise typer.Exit(result.exit_code)


def simulate(context: typer.Context) -> None:
    """Serve a local Batch API with scriptable faults.

    The paths are those of Azure and of OpenAI; `elspeth simulate --help` lists the options.
    """
    from elspeth.simulator import main

    raise typer.Exit(main(context.args, prog="elspeth simulate"))


def _run_example(pipeline: Path, rows: int) -> RunResult:
    """Runs the copy with a trail of its own; an environment that points elsewhere is left out of it."""
    from elspeth.app.runs import Conditions, start_run
    from elspeth.app.state import STATE_FOLDER, State

    state = State(pipeline.absolute().parent / STATE_FOLDER)
    conditions = Conditions(environ={}, on_progress=_Announcer().update)
    return start_run(pipeline, state=state, conditions=conditions, limit=rows, allow_second=True)


def _tell_story(result: RunResult) -> None:
    from elspeth.app.explanation import explain_row
    from elspeth.app.reports import run_status
    from elspeth.core.landscape import LandscapeReader

    with LandscapeReader(result.database) as reader:
        run = reader.run(result.run_id)
        note("3. every row is accounted for")
        print_text(complete_line(run_status(reader, run)))
        note("4. why did row 0 end where it did?  elspeth explain latest --row 0")
        print_text(f"\n{explain_row(reader, run, row=0)}")


class _Announcer:
    """A line whenever more batch files are in flight than before."""

    def __init__(self) -> None:
        self._most_in_flight = 0

    def update(self, progress: Progress) -> None:
        """Takes where the run stands."""
        in_flight = progress.batches.get("created", 0)
        if in_flight > self._most_in_flight:
            self._most_in_flight = in_flight
            note(f"   {progress.rows_read:,} rows read, {in_flight} batch file{'s' * (in_flight > 1)} in flight")
