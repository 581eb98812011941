"""A pipeline's record: what is in it, what is not, and that it gives the same pipeline again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts import Diagnostic, PipelineError, TrailError
from elspeth.core.config import Pipeline, RecordedAssets

TEXT = """\
name: triage   # a comment
source:
  plugin: csv
  options: {path: in.csv}
  schema: {id: int, note: str?}
  key: id
  on_invalid: zz
steps:
  - name: ask
    plugin: model
    options:
      api_key: ${KEY}
      headers: {x: "${OTHER:-}"}
      template_file: prompt.txt
      max_requests: ${N}
      price: {model: gpt-4o}
      wait: auto
      stops: [a, b]
      body: {zebra: 1, ant: {y: [1.5, null]}}
    on_error: zz
  - name: risk
    gate: row['id'] >= 4
    routes: {true: aa, false: next}
sinks:
  zz: {plugin: jsonl, options: {path: "{run}.jsonl"}}
  aa: {plugin: csv, options: {path: aa.csv}}
output: aa
landscape: {url: "sqlite:///trail/audit.db"}
"""
ENVIRON = {"KEY": "sk-live-abcdef", "OTHER": "sk-live-other", "N": "7"}


@pytest.fixture
def pipeline(folder: Any) -> Pipeline:
    folder.write("prompt.txt", "Hi\r\n")
    loaded: Pipeline = folder.load(TEXT, ENVIRON)
    return loaded


def restore(pipeline: Pipeline, folder: Any, *, sort_keys: bool = False) -> Pipeline:
    stored = json.loads(json.dumps(pipeline.recorded(), sort_keys=sort_keys))
    assets = RecordedAssets(pipeline.assets())
    return Pipeline.from_recorded(stored, folder.catalog, environ={"KEY": "new"}, assets=assets)


def test_the_record_gives_an_equal_pipeline_though_every_file_is_gone(folder: Any, pipeline: Pipeline) -> None:
    for file in Path(folder.path).iterdir():
        file.unlink()
    restored = restore(pipeline, folder)
    assert pipeline == restored
    assert pipeline.recorded() == restored.recorded()
    assert pipeline.config_hash == restored.config_hash
    assert pipeline.graph == restored.graph


def test_a_store_that_sorts_keys_does_not_change_the_graph(folder: Any, pipeline: Pipeline) -> None:
    restored = restore(pipeline, folder, sort_keys=True)
    assert list(restored.sinks) == ["zz", "aa"]
    assert list(restored.source.schema or ()) == ["id", "note"]
    assert pipeline.graph == restored.graph


def test_secrets_are_recorded_by_name_and_read_afresh(folder: Any, pipeline: Pipeline) -> None:
    options = pipeline.recorded()["steps"][0]["options"]
    assert options["api_key"] == {"$secret": "KEY"}
    assert options["headers"] == {"x": {"$secret": "OTHER", "optional": True}}
    key, other = restore(pipeline, folder).secrets()
    assert (key.reveal(), other.reveal()) == ("new", "")


def test_no_secret_is_in_the_record_or_in_what_is_shown(pipeline: Pipeline) -> None:
    shown = [json.dumps(pipeline.recorded()), repr(pipeline), str(pipeline), *map(repr, pipeline.secrets())]
    assert "sk-live" not in "".join(shown)


def test_values_are_recorded_as_they_were_resolved(folder: Any, pipeline: Pipeline) -> None:
    options = pipeline.recorded()["steps"][0]["options"]
    here = str(folder.path)
    assert options["max_requests"] == 7
    assert options["template_file"] == {
        "$asset": f"{here}/prompt.txt",
        "sha256": hashlib.sha256(b"Hi\r\n").hexdigest(),
    }
    assert pipeline.recorded()["landscape"] == {"url": f"sqlite:///{here}/trail/audit.db"}
    assert pipeline.recorded()["sinks"][0]["options"] == {"path": f"{here}/{{run}}.jsonl"}


def test_assets_are_the_file_and_what_it_pulled_in(folder: Any, pipeline: Pipeline) -> None:
    here = str(folder.path)
    assert pipeline.assets() == {f"{here}/p.yaml": TEXT.encode(), f"{here}/prompt.txt": b"Hi\r\n"}


def test_comments_do_not_change_the_hash_and_values_do(folder: Any, pipeline: Pipeline) -> None:
    assert pipeline.config_hash == folder.load(TEXT.replace("# a comment", ""), ENVIRON).config_hash
    assert pipeline.config_hash == folder.load(TEXT, {**ENVIRON, "KEY": "another"}).config_hash
    assert pipeline.config_hash != folder.load(TEXT, {**ENVIRON, "N": "8"}).config_hash


def test_an_edited_asset_changes_the_hash(folder: Any, pipeline: Pipeline) -> None:
    folder.write("prompt.txt", "Hello")
    assert pipeline.config_hash != folder.load(TEXT, ENVIRON).config_hash


def test_the_order_of_free_values_is_part_of_the_hash(folder: Any, pipeline: Pipeline) -> None:
    swapped = TEXT.replace("{zebra: 1, ant: {y: [1.5, null]}}", "{ant: {y: [1.5, null]}, zebra: 1}")
    assert pipeline.config_hash != folder.load(swapped, ENVIRON).config_hash


def test_a_record_of_another_format_is_refused(folder: Any, pipeline: Pipeline) -> None:
    with pytest.raises(TrailError, match="unknown format 99"):
        Pipeline.from_recorded(
            {**pipeline.recorded(), "format": 99}, folder.catalog, environ={}, assets=RecordedAssets({})
        )


def test_a_record_without_its_file_is_refused(folder: Any, pipeline: Pipeline) -> None:
    with pytest.raises(TrailError, match=r"p\.yaml is missing"):
        Pipeline.from_recorded(pipeline.recorded(), folder.catalog, environ={}, assets=RecordedAssets({}))


def test_a_record_with_another_asset_is_refused(folder: Any, pipeline: Pipeline) -> None:
    assets = RecordedAssets({**pipeline.assets(), f"{folder.path}/prompt.txt": b"edited"})
    with pytest.raises(PipelineError) as caught:
        Pipeline.from_recorded(pipeline.recorded(), folder.catalog, environ={}, assets=assets)
    assert [d.code for d in caught.value.diagnostics] == ["CHANGED_FILE"]


def test_errors_found_later_are_located_in_the_file(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipeline.folder)
    error = pipeline.located(
        [
            Diagnostic(path=("steps", 1, "gate"), code="FIELD_UNKNOWN", message="m", offset=4),
            Diagnostic(path=("source", "key"), code="FIELD_UNKNOWN", message="m"),
        ]
    )
    assert [(d.file, d.line, d.column) for d in error.diagnostics] == [("p.yaml", 6, 8), ("p.yaml", 22, 15)]
