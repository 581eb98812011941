"""Data pipelines with language models whose every decision stands up to a formal inquiry."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elspeth.app.api import Run, Trail, open, resume, run

__version__ = "0.1.0"

__all__ = ["Run", "Trail", "__version__", "open", "resume", "run"]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used: the command line must start fast."""
    if name in __all__:
        from elspeth.app import api

        return getattr(api, name)
    raise AttributeError(f"module 'elspeth' has no attribute {name!r}")
