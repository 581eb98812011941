"""What plugins there are and where each comes from.

Built-ins stand in one list below, as words: naming a plugin imports nothing, using
it imports its module only. Everybody else registers through the entry-point group
``elspeth.plugins``; it is looked at when a name is not built in, or for a listing.
An entry point's name is the plugin's name, or ``KIND.NAME`` (``sink.parquet``) where
one package has a source and a sink of the same name; without a kind the class shows
what it is. No folder is scanned.

A plugin of somebody else that cannot be loaded must not take the others with it: it
is listed with its fault, and only using it is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from elspeth.contracts import UsageError
from elspeth.core.calls import ask_platform
from elspeth.core.config.catalog import PluginKind
from elspeth.core.config.options import Options

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "KINDS", "PluginSpec", "Registry", "is_batch_transform", "kind_of"]

GROUP: Final = "elspeth.plugins"
KINDS: Final = ("source", "transform", "sink")
BUILT_IN: Final = "elspeth"

_BATCH_METHODS: Final = ("output_fields", "request_line", "line_id", "read_line", "merge", "answers_from", "provider")
_METHODS: Final = {
    "source": ("fields", "read"),
    "transform": ("output_fields", "process"),
    "sink": ("header", "encode"),
}


class PluginSpec(Struct, frozen=True, kw_only=True):
    """A plugin by name. ``kind`` is one of `KINDS`, or ``?`` when a faulty plugin does not say.

    ``origin`` is ``elspeth`` or the distribution that registered it, ``target`` is ``module:Class``,
    ``fault`` says why it cannot be used.
    """

    name: str
    kind: str
    summary: str
    origin: str
    target: str
    fault: str | None = None

    def load(self) -> type[Any]:
        """The plugin's class; raises `UsageError` when there is none to be had."""
        if self.fault is not None:
            raise UsageError(
                f"the {self.kind} plugin {self.name!r} from {self.origin} cannot be used: {self.fault}",
                hint=f"repair or uninstall {self.origin}",
            )
        if self.origin != BUILT_IN:
            ask_platform()
        module, _, name = self.target.partition(":")
        loaded: type[Any] = getattr(import_module(module), name)
        return loaded


def _built_in(kind: str, name: str, target: str, summary: str) -> PluginSpec:
    return PluginSpec(name=name, kind=kind, summary=summary, origin=BUILT_IN, target=f"elspeth.plugins.{target}")


_BUILT_INS: Final = (
    _built_in("source", "csv", "sources.csv:CsvSource", "Rows from a file of delimited text."),
    _built_in("source", "jsonl", "sources.jsonl:JsonlSource", "Rows from a file with one JSON object a line."),
    _built_in(
        "transform",
        "azure_batch_llm",
        "llm.azure_batch:AzureBatchLLMTransform",
        "Asks a model about each row, through Azure OpenAI's Batch API.",
    ),
    _built_in(
        "transform",
        "field_mapper",
        "transforms.field_mapper:FieldMapperTransform",
        "Renames, drops, adds and selects fields.",
    ),
    _built_in(
        "transform",
        "openai_batch_llm",
        "llm.openai_batch:OpenAIBatchLLMTransform",
        "Asks a model about each row, through a Batch API like OpenAI's.",
    ),
    _built_in("transform", "passthrough", "transforms.passthrough:PassthroughTransform", "Changes nothing."),
    _built_in("sink", "csv", "sinks.csv:CsvSink", "Rows as delimited text."),
    _built_in("sink", "jsonl", "sinks.jsonl:JsonlSink", "Rows as one JSON object a line."),
)


def is_batch_transform(plugin: type[Any]) -> bool:
    """Whether rows wait at this transform while a provider works (`elspeth.contracts.BatchTransform`)."""
    return all(callable(getattr(plugin, method, None)) for method in _BATCH_METHODS)


def kind_of(plugin: object) -> str | None:
    """The kind of a plugin class by the methods it has; None when it has those of no kind, or of several."""
    kinds = [kind for kind, methods in _METHODS.items() if all(callable(getattr(plugin, m, None)) for m in methods)]
    if isinstance(plugin, type) and is_batch_transform(plugin):
        kinds.append("transform")
    return kinds[0] if len(kinds) == 1 else None


class Registry:
    """Finds plugins by kind and name.

    ``entries`` are the entry points to use instead of the installed ones, for tests.
    """

    def __init__(self, entries: Sequence[EntryPoint] | None = None) -> None:
        self._built_ins = {(spec.kind, spec.name): spec for spec in _BUILT_INS}
        self._entries = entries
        self._foreign: list[PluginSpec] | None = None

    def find(self, kind: PluginKind, name: str) -> PluginSpec:
        """The plugin of that kind and name; raises `UsageError` when there is none or it cannot be used."""
        spec = self._built_ins.get((kind, name))
        if spec is not None:
            return spec
        found = self._registered(kind, name)
        if not found:
            raise self._unknown(kind, name)
        if found[0].fault is not None:
            found[0].load()
        return found[0]

    def names(self, kind: PluginKind) -> tuple[str, ...]:
        """The names that `find` knows for a kind, sorted."""
        return tuple(sorted(s.name for s in self.all() if s.kind == kind and s.fault is None))

    def options_model(self, kind: PluginKind, name: str) -> type[Options] | None:
        """The model that the plugin's options are checked against, None when there is no such plugin.

        Raises `UsageError` with the reason for a plugin that is there and cannot be used.
        """
        if (kind, name) not in self._built_ins and not self._registered(kind, name):
            return None
        plugin = self.find(kind, name).load()
        model: type[Options] = plugin.options_model
        return model

    def all(self) -> list[PluginSpec]:
        """Every plugin, the faulty ones too, sorted by kind, name and origin."""
        order = {kind: place for place, kind in enumerate(KINDS)}
        return sorted(
            [*self._built_ins.values(), *self._scan()],
            key=lambda s: (order.get(s.kind, len(order)), s.name, s.origin != BUILT_IN, s.origin, s.target),
        )

    def _registered(self, kind: PluginKind, name: str) -> list[PluginSpec]:
        """The entry points of that name, sound ones first."""
        found = [s for s in self._scan() if s.name == name and s.kind in (kind, "?")]
        return sorted(found, key=lambda s: s.fault is not None)

    def _unknown(self, kind: PluginKind, name: str) -> UsageError:
        names = self.names(kind)
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"
        return UsageError(f"there is no {kind} plugin named {name!r}", hint=hint)

    def _scan(self) -> list[PluginSpec]:
        if self._foreign is None:
            from importlib.metadata import entry_points

            entries = entry_points(group=GROUP) if self._entries is None else self._entries
            self._foreign = self._refuse_doubles([_inspect(entry) for entry in entries])
        return self._foreign

    def _refuse_doubles(self, specs: list[PluginSpec]) -> list[PluginSpec]:
        """A name has one meaning: nobody takes a built-in's, and of two claimants neither gets it."""
        checked = []
        for spec in specs:
            rivals = [s for s in specs if (s.kind, s.name) == (spec.kind, spec.name) and s is not spec]
            if (spec.kind, spec.name) in self._built_ins:
                checked.append(_faulty(spec, f"the name {spec.name!r} belongs to a built-in {spec.kind}"))
            elif rivals and spec.fault is None:
                others = ", ".join(sorted({s.origin for s in rivals}))
                checked.append(_faulty(spec, f"{others} registers the name {spec.name!r} too"))
            else:
                checked.append(spec)
        return checked


def _faulty(spec: PluginSpec, fault: str) -> PluginSpec:
    return PluginSpec(name=spec.name, kind=spec.kind, summary="", origin=spec.origin, target=spec.target, fault=fault)


def _inspect(entry: EntryPoint) -> PluginSpec:
    """What an entry point registers. Loading it runs the code of strangers, so any exception may come."""
    declared, _, rest = entry.name.partition(".")
    kind, name = (declared, rest) if declared in KINDS and rest else ("?", entry.name)
    origin = entry.dist.name if entry.dist is not None else entry.value.partition(":")[0].partition(".")[0]
    blank = PluginSpec(name=name, kind=kind, summary="", origin=origin, target=entry.value)
    try:
        plugin = entry.load()
    except Exception as fault:  # noqa: BLE001 (the boundary to plugins of others)
        return _faulty(blank, f"loading {entry.value} failed: {type(fault).__name__}: {fault}")
    shown = kind_of(plugin)
    if not isinstance(plugin, type) or shown is None or kind not in ("?", shown):
        return _faulty(blank, f"{entry.value} is not a class with the methods of one kind of plugin")
    model = getattr(plugin, "options_model", None)
    if not (isinstance(model, type) and issubclass(model, Options)):
        return _faulty(blank, f"{entry.value} has no options_model derived from Options")
    summary = (plugin.__doc__ or "").strip().partition("\n")[0]
    return PluginSpec(name=name, kind=shown, summary=summary, origin=origin, target=entry.value)
