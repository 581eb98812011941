"""The folder that a replay writes into: the outputs at their paths as seen from the pipeline file.

A replay replaces what an earlier one left there and touches nothing else: the files that
it makes are listed in a file of its own before the first one is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from elspeth.contracts import UsageError

__all__ = ["ReplayFolder"]

_LIST = ".elspeth-replay.json"
_OUTSIDE = "outside"
_HINT = "Name another folder with --out."


class ReplayFolder:
    """``path``, as the only place to which a replay writes."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def place_of(self, output: str, *, beside: Path) -> Path:
        """Where an output goes: as seen from ``beside``, where the pipeline file lies; any other is put outside."""
        absolute = Path(output)
        if absolute.is_relative_to(beside):
            return self.path / absolute.relative_to(beside)
        return self.path / _OUTSIDE / absolute.relative_to(absolute.anchor)

    def clear(self, run_id: str, files: Iterable[Path]) -> None:
        """Makes the folder, or removes what an earlier replay left in it; lists the ``files`` to come.

        Raises `UsageError` for a folder in which anything else is, or which cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            earlier = self._listed()
            strange = next((path for path in _files_in(self.path) if path not in earlier), None)
            if strange is not None:
                raise UsageError(f"{self.path} holds what no replay has made: {strange.name}", hint=_HINT)
            for path in earlier:
                path.unlink(missing_ok=True)
            names = sorted(str(path.relative_to(self.path)) for path in files)
            (self.path / _LIST).write_text(json.dumps({"run": run_id, "files": names}) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror or error}", hint=_HINT) from error

    def _listed(self) -> set[Path]:
        """The files of the replay before, the list included."""
        file = self.path / _LIST
        if not file.is_file():
            return set()
        try:
            names = json.loads(file.read_text(encoding="utf-8"))["files"]
            places = {self.path / str(name) for name in names}
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{file} is not the list that a replay writes", hint=_HINT) from error
        if any(".." in place.parts for place in places):
            raise UsageError(f"{file} names files that are not in its folder", hint=_HINT)
        return {file, *places}


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink())
