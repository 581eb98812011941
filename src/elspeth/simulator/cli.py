"""The command line: its options, and a process that serves until it is told to stop."""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from elspeth.simulator.faults import fault_list, parse_fault
from elspeth.simulator.json_values import Json, decode_json
from elspeth.simulator.server import Simulator
from elspeth.simulator.settings import (
    AZURE_QUIRKS,
    DEFAULT_MAX_FILE_BYTES,
    QUOTA_STYLES,
    UNDONE_ROWS,
    Quirk,
    RowFault,
    Settings,
    parse_duration_s,
)

SCHEMA_VERSION = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every option of the simulator, for `settings_from_arguments` to read."""
    _add_server_arguments(parser)
    _add_answer_arguments(parser)
    _add_fault_arguments(parser)


def settings_from_arguments(arguments: argparse.Namespace) -> Settings:
    """Raises ValueError, with a message for people; OSError for a faults file that can't be read."""
    key_name = arguments.upstream_key_env
    if key_name and key_name not in os.environ:
        raise ValueError(f"the environment variable {key_name} is not set")
    return Settings(
        host=arguments.host,
        port=arguments.port,
        seed=arguments.seed,
        state_dir=arguments.state,
        latency_s=parse_duration_s(arguments.latency),
        file_latency_s=None if arguments.file_latency is None else parse_duration_s(arguments.file_latency),
        api_key=arguments.api_key,
        quirks=frozenset(arguments.quirk) | (AZURE_QUIRKS if arguments.quirks == "azure" else frozenset()),
        deployments=frozenset(arguments.deployment),
        model_name=arguments.model_name,
        fail_rate=arguments.fail_rate,
        fail_kinds=tuple(kind.strip() for kind in arguments.fail_kinds.split(",") if kind.strip()),
        expire_after=arguments.expire_after,
        undone_rows=arguments.undone_rows,
        faulty_jobs=arguments.faulty_jobs,
        enqueued_token_limit=arguments.enqueued_token_limit,
        quota_style=arguments.quota_style,
        max_requests=arguments.max_requests,
        max_file_bytes=arguments.max_file_bytes,
        faults=_read_faults(arguments.faults),
        upstream_url=arguments.upstream,
        upstream_key=os.environ[key_name] if key_name else None,
    )


def main(argv: list[str] | None = None, *, prog: str = "python -m elspeth.simulator") -> int:
    """Serves until SIGTERM, SIGINT or, with `--exit-with-parent`, the end of standard input."""
    parser = argparse.ArgumentParser(prog=prog, description="A local Batch API with scriptable faults.")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO if arguments.verbose else logging.ERROR)
    try:
        simulator = Simulator(settings_from_arguments(arguments))
        simulator.start()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    try:
        end = _End()
        if arguments.exit_with_parent:
            threading.Thread(target=end.watch_stdin, daemon=True).start()
        ready = {"schema_version": SCHEMA_VERSION, "url": simulator.url, "pid": os.getpid()}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        end.wait()
    finally:
        simulator.stop()
    return 0


def _add_server_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("server")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    group.add_argument("--port", type=int, default=0, help="port to listen on (default 0: a free one)")
    group.add_argument("--state", type=Path, metavar="DIR", help="keep everything here, over restarts")
    group.add_argument("--api-key", metavar="KEY", help="the only key that is valid (default: any)")
    group.add_argument("--verbose", action="store_true", help="log to standard error")
    group.add_argument("--exit-with-parent", action="store_true", help="end when standard input reaches its end")


def _add_answer_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("answers")
    group.add_argument("--seed", default="0", help="answers depend on this and on the request (default 0)")
    group.add_argument("--latency", default="1s", metavar="TIME", help="how long a job takes (default 1s)")
    group.add_argument(
        "--file-latency", metavar="TIME", help="how long a file is pending on Azure (default: latency / 5)"
    )
    group.add_argument(
        "--deployment", action="append", default=[], metavar="NAME", help="one that exists (default: any)"
    )
    group.add_argument("--model-name", metavar="NAME", help="the model named in answers")
    group.add_argument("--upstream", metavar="URL", help="ask URL/chat/completions for the answers")
    group.add_argument("--upstream-key-env", metavar="NAME", help="environment variable with its key")
    group.add_argument("--max-requests", type=int, metavar="N", help="requests in one file")
    group.add_argument("--max-file-bytes", type=int, default=DEFAULT_MAX_FILE_BYTES, metavar="N")
    group.add_argument("--quirk", action="append", default=[], choices=sorted(Quirk), help="one of a server's oddities")
    group.add_argument("--quirks", choices=["none", "azure"], default="none", help="all that Azure has")


def _add_fault_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faults")
    group.add_argument("--faults", type=Path, metavar="FILE", help="a fault plan, in JSON")
    group.add_argument("--fail-rate", type=float, default=0.0, metavar="R", help="share of rows that fail")
    group.add_argument("--fail-kinds", default="429", metavar="LIST", help=f"comma-separated, of {', '.join(RowFault)}")
    group.add_argument(
        "--expire-after", type=float, metavar="FRACTION", help="jobs expire with this share of rows done"
    )
    group.add_argument("--undone-rows", choices=UNDONE_ROWS, default="error_file", help="where the rest is told")
    group.add_argument(
        "--faulty-jobs", type=int, metavar="N", help="rows fail and jobs expire only in the first N jobs"
    )
    group.add_argument("--enqueued-token-limit", type=int, metavar="N", help="tokens of all active jobs")
    group.add_argument(
        "--quota-style", choices=QUOTA_STYLES, default="http", help="how a job over that limit is refused"
    )


def _read_faults(path: Path | None) -> tuple[Json, ...]:
    if path is None:
        return ()
    try:
        faults = fault_list(decode_json(path.read_bytes()))
        for fault in faults:
            parse_fault(fault)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return tuple(faults)


class _End:
    """The end, waited for by the main thread. A pipe, since a signal handler may not touch a lock."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def wait(self) -> None:
        os.read(self._reader, 1)

    def watch_stdin(self) -> None:
        """Reads the descriptor itself: a buffered read in a daemon thread breaks the interpreter's exit."""
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.write(self._writer, b".")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        os.write(self._writer, b".")
