"""Uses keys in processes that die on their way, or that all come at once; run by test_keys.py.

key_scene.py death FOLDER create|rotate     one process for each effect, which dies before it
key_scene.py race FOLDER create|rotate      many processes at once
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from elspeth.app.keys import rotate, signing_key
from elspeth.contracts import KeyFileError

EFFECTS = frozenset({"fcntl.flock", "open", "os.mkdir", "os.remove", "os.rename"})
DEAD = 9
MOST_DEATHS = 60
AT_ONCE = 8


def act(what: str, folder: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(folder)}
    if what == "create":
        signing_key(environ)
    else:
        rotate(environ)


def die_before(number: int, folder: Path) -> None:
    """Ends this process, without a word, before the effect of that number in the folder, reads included."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in EFFECTS or not (event == "fcntl.flock" or str(arguments[0]).startswith(str(folder))):
            return
        seen += 1
        if seen == number:
            os._exit(DEAD)

    sys.addaudithook(hook)


def forked(work: Callable[[], None]) -> int:
    """Does something in a process of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        traceback.print_exc()
        os._exit(1)


def death(folder: Path, what: str) -> None:
    """A folder for each death, named by its number; the last process lives."""
    for number in range(1, MOST_DEATHS):
        place = folder / str(number)
        if what == "rotate":
            shutil.copytree(folder / "before", place)

        def work(number: int = number, place: Path = place) -> None:
            die_before(number, place)
            act(what, place)

        _, status = os.waitpid(forked(work), 0)
        code = os.waitstatus_to_exitcode(status)
        if code != DEAD:
            sys.exit(code)
    sys.exit(f"more than {MOST_DEATHS} effects")


def race(folder: Path, what: str) -> None:
    """All wait for one pipe to be closed. Of rotations one may come too late."""
    reading, writing = os.pipe()

    def work() -> None:
        os.close(writing)
        os.read(reading, 1)
        try:
            act(what, folder)
        except KeyFileError as error:
            if what == "create" or "just now" not in error.message:
                raise

    children = [forked(work) for _ in range(AT_ONCE)]
    os.close(writing)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


if __name__ == "__main__":
    {"death": death, "race": race}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
