"""Which plugins there are, and what becomes of those that strangers register."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from elspeth.contracts import BatchTransform, Sink, Source, Transform, UsageError
from elspeth.core.config.catalog import PluginCatalog
from elspeth.core.config.options import Options, OptionsContext, parse_options
from elspeth.plugins.registry import KINDS, Registry, is_batch_transform, kind_of
from elspeth.plugins.sinks.csv import CsvSink
from elspeth.plugins.sources.csv import CsvSource, CsvSourceOptions
from elspeth.plugins.transforms.passthrough import PassthroughTransform


class NoOptions(Options):
    pass


class FirstRows(PassthroughTransform):
    """Keeps the first rows.

    And more.
    """


class OtherSource(CsvSource):
    """Another source."""


class OtherSink(CsvSink):
    """Another sink."""


class NoOptionsModel:
    def output_fields(self) -> None: ...
    def process(self) -> None: ...


class BothSourceAndSink:
    options_model = NoOptions

    def fields(self) -> None: ...
    def read(self) -> None: ...
    def header(self) -> None: ...
    def encode(self) -> None: ...


@pytest.fixture(autouse=True)
def stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("stranger")
    for thing in (FirstRows, OtherSource, OtherSink, NoOptionsModel, BothSourceAndSink):
        setattr(module, thing.__name__, thing)
    monkeypatch.setitem(sys.modules, "stranger", module)


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group="elspeth.plugins")


def test_the_built_in_plugins_are_there() -> None:
    registry = Registry([])

    assert registry.names("source") == ("csv", "jsonl")
    assert registry.names("transform") == ("azure_batch_llm", "field_mapper", "openai_batch_llm", "passthrough")
    assert registry.names("sink") == ("csv", "jsonl")


def test_the_registry_is_the_catalog_of_the_pipeline_file() -> None:
    catalog: PluginCatalog = Registry([])

    assert catalog.options_model("source", "csv") is CsvSourceOptions
    assert catalog.options_model("source", "cvs") is None
    assert catalog.options_model("sink", "passthrough") is None


@pytest.mark.parametrize("spec", Registry([]).all(), ids=lambda s: f"{s.kind}-{s.name}")
def test_every_built_in_loads_and_is_what_the_list_says(spec: object) -> None:
    plugin = spec.load()  # type: ignore[attr-defined]

    assert kind_of(plugin) == spec.kind  # type: ignore[attr-defined]
    assert is_batch_transform(plugin) == spec.name.endswith("_batch_llm")  # type: ignore[attr-defined]
    assert issubclass(plugin.options_model, Options)
    assert spec.summary.endswith(".")  # type: ignore[attr-defined]
    assert spec.origin == "elspeth"  # type: ignore[attr-defined]


def test_the_methods_that_show_a_kind_are_those_of_the_protocols() -> None:
    context = OptionsContext()
    registry = Registry([])
    source = CsvSource(parse_options(CsvSourceOptions, {"path": "x"}, context), schema=None)
    sink = CsvSink(parse_options(CsvSink.options_model, {"path": "x"}, context))
    transform = PassthroughTransform(parse_options(PassthroughTransform.options_model, {}, context))

    assert isinstance(source, Source)
    assert isinstance(sink, Sink)
    assert isinstance(transform, Transform)
    assert not isinstance(transform, BatchTransform)
    assert kind_of(registry.find("transform", "azure_batch_llm").load()) == "transform"


def test_naming_plugins_imports_none_of_them() -> None:
    program = (
        "import sys; from elspeth.plugins.registry import Registry; r = Registry([]); r.all();"
        "r.find('source', 'csv'); r.names('sink');"
        "print([m for m in sys.modules if m.startswith('elspeth.plugins.') and m != 'elspeth.plugins.registry'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_entry_points_are_looked_at_only_when_a_name_is_not_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("looked at the entry points")

    monkeypatch.setattr("importlib.metadata.entry_points", refuse)

    assert Registry().find("sink", "jsonl").name == "jsonl"
    with pytest.raises(AssertionError, match="looked"):
        Registry().find("sink", "parquet")


def test_a_stranger_is_found_by_its_kind_and_summed_up_by_its_docstring() -> None:
    registry = Registry([entry("first_rows", "stranger:FirstRows")])
    spec = registry.find("transform", "first_rows")

    assert (spec.kind, spec.summary, spec.origin) == ("transform", "Keeps the first rows.", "stranger")
    assert spec.load() is FirstRows
    assert registry.options_model("transform", "first_rows") is FirstRows.options_model
    assert "first_rows" in registry.names("transform")
    assert registry.options_model("source", "first_rows") is None


def test_a_source_and_a_sink_may_share_a_name() -> None:
    registry = Registry([entry("source.parquet", "stranger:OtherSource"), entry("sink.parquet", "stranger:OtherSink")])

    assert registry.find("source", "parquet").load() is OtherSource
    assert registry.find("sink", "parquet").load() is OtherSink


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("gone", "no_such_module:Thing", "ModuleNotFoundError"),
        ("gone", "stranger:NoSuchThing", "AttributeError"),
        ("gone", "stranger:NoOptionsModel", "no options_model"),
        ("gone", "stranger:BothSourceAndSink", "one kind"),
        ("source.gone", "stranger:FirstRows", "one kind"),
        ("gone", "json:dumps", "one kind"),
    ],
)
def test_a_broken_stranger_is_listed_and_only_its_use_is_an_error(name: str, value: str, fault: str) -> None:
    registry = Registry([entry(name, value), entry("first_rows", "stranger:FirstRows")])
    kind = "source" if name.startswith("source.") else "transform"

    (broken,) = (spec for spec in registry.all() if spec.fault)
    assert broken.name == "gone"
    assert fault in (broken.fault or "")
    assert registry.find("transform", "first_rows").load() is FirstRows
    assert "gone" not in registry.names(kind)
    with pytest.raises(UsageError, match=fault):
        registry.find(kind, "gone")
    with pytest.raises(UsageError, match=fault):
        registry.options_model(kind, "gone")


def test_nobody_takes_the_name_of_a_built_in() -> None:
    registry = Registry([entry("csv", "stranger:OtherSource")])

    assert registry.find("source", "csv").load() is CsvSource
    (refused,) = (spec for spec in registry.all() if spec.origin == "stranger")
    assert "belongs to a built-in source" in (refused.fault or "")
    with pytest.raises(UsageError, match="belongs to a built-in"):
        refused.load()


def test_of_two_strangers_with_one_name_neither_is_used() -> None:
    registry = Registry([entry("rows", "stranger:FirstRows"), entry("transform.rows", "stranger:FirstRows")])

    with pytest.raises(UsageError, match="registers the name 'rows' too"):
        registry.find("transform", "rows")


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(UsageError, match="no transform plugin named 'field_maper'") as refusal:
        Registry([]).find("transform", "field_maper")
    assert refusal.value.hint == "did you mean 'field_mapper'?"

    with pytest.raises(UsageError) as refusal:
        Registry([]).find("sink", "zzz")
    assert refusal.value.hint == "there are: csv, jsonl"


def test_the_listing_is_sorted_by_kind_and_name() -> None:
    order = [(KINDS.index(spec.kind), spec.name) for spec in Registry([]).all()]

    assert order == sorted(order)
