"""What the pipeline file needs to know of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from elspeth.core.config.options import Options

__all__ = ["PluginCatalog", "PluginKind"]

PluginKind: TypeAlias = Literal["source", "transform", "sink"]


class PluginCatalog(Protocol):
    """The plugins that a pipeline file may name. Batch transforms are transforms here.

    The implementer imports a plugin only when its options are asked for.
    """

    def names(self, kind: PluginKind) -> Sequence[str]:
        """All names of a kind, in order."""
        ...

    def options_model(self, kind: PluginKind, name: str) -> type[Options] | None:
        """The options of a plugin; None when there is no such plugin."""
        ...
