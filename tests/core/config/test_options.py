"""The special types of options: paths, secrets, assets."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from elspeth.contracts import CredentialsError
from elspeth.core.config import (
    Asset,
    DiskAssets,
    InputPath,
    Options,
    OptionsContext,
    OutputPath,
    RecordedAssets,
    Secret,
    parse_options,
)

WithOptions = Callable[[str], str]


class Everything(Options):
    source: InputPath | None = None
    target: OutputPath | None = None
    key: Secret | None = None
    prompt: Asset | None = None


def parse(values: dict[str, object], **context: Any) -> Everything:
    return parse_options(Everything, values, OptionsContext(**context))


def codes(values: dict[str, object], **context: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        parse(values, **context)
    return [(error["type"], error["msg"]) for error in caught.value.errors()]


def test_relative_paths_start_at_the_folder(tmp_path: Path) -> None:
    found = parse({"source": "a/../in.csv", "target": "out/{run}/x.csv"}, folder=tmp_path)
    assert (f"{tmp_path}/in.csv", f"{tmp_path}/out/{{run}}/x.csv") == (found.source, found.target)


def test_absolute_paths_stay() -> None:
    assert parse({"source": "/data/in.csv"}).source == "/data/in.csv"


def test_a_placeholder_that_nothing_fills_is_refused() -> None:
    assert codes({"target": "out/{date}.csv"}) == [("bad_value", "{date} means nothing in a path")]


@pytest.mark.parametrize("path", ["", "  ", "a\0b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    assert codes({"source": path}) == [("bad_value", "this is no path")]


def test_a_number_is_no_path() -> None:
    assert codes({"source": 1}) == [("wrong_type", "this must be a path")]


def test_a_secret_is_revealed_only_on_demand() -> None:
    secret = parse({"key": "${KEY}"}, environ={"KEY": "sk-live-abc"}).key
    assert secret is not None
    assert (secret.reference, secret.is_set, secret.reveal()) == ("KEY", True, "sk-live-abc")


@pytest.mark.parametrize("show", [repr, str, lambda s: f"{s}", lambda s: repr(copy.deepcopy(s))])
def test_a_secret_is_shown_by_nothing(show: Callable[[object], str]) -> None:
    found = parse({"key": "${KEY}"}, environ={"KEY": "sk-live-abc"})
    assert "sk-live-abc" not in show(found) + show(found.key) + show(found.model_dump()) + found.model_dump_json()


def test_a_secret_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret("KEY", {"KEY": "sk-live-abc"}))


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}])
def test_a_missing_secret_fails_only_when_it_is_used(environ: dict[str, str]) -> None:
    secret = parse({"key": "${KEY}"}, environ=environ).key
    assert secret is not None
    assert not secret.is_set
    with pytest.raises(CredentialsError, match="the secret KEY is not set") as caught:
        secret.reveal()
    assert caught.value.hint == "set KEY in the environment or in .env beside the pipeline file"


def test_an_optional_secret_may_be_missing() -> None:
    secret = parse({"key": "${KEY:-}"}, environ={}).key
    assert secret is not None
    assert secret.reveal() == ""


@pytest.mark.parametrize("literal", ["sk-live-abc", "", "${KEY:-sk}", "Bearer ${KEY}", "$KEY", 12, {"$secret": "KEY"}])
def test_a_literal_secret_is_refused(literal: object) -> None:
    assert codes({"key": literal}) == [("secret_literal", "a secret must not stand in the pipeline file")]


def test_a_validation_error_does_not_show_the_literal() -> None:
    with pytest.raises(ValidationError) as caught:
        parse({"key": "sk-live-abc"})
    assert "sk-live-abc" not in str(caught.value)


def test_secrets_are_equal_by_name() -> None:
    assert Secret("A", {"A": "1"}) == Secret("A", {})
    assert Secret("A", {}) != Secret("A", {}, is_optional=True)
    assert len({Secret("A", {"A": "1"}), Secret("A", {})}) == 1


def test_a_literal_secret_is_masked_on_every_line_that_is_shown(folder: Any, with_options: WithOptions) -> None:
    found = folder.rendered(with_options("{api_key: sk-live-abc, max_requests: no, headers: {a: sk-live-def}}"))
    assert "sk-live" not in found
    assert found.startswith(
        """\
p.yaml:8:17: error[SECRET_LITERAL]: a secret must not stand in the pipeline file
          {api_key: ***
                    ^"""
    )


@pytest.mark.parametrize(
    "option",
    ["api_key: |\n  sk-live-abc", "api_key: [sk-live-abc]", "api_keey: sk-live-abc", "aws_secret: sk-live-abc"],
)
def test_secrets_in_odd_places_are_masked_too(folder: Any, with_options: WithOptions, option: str) -> None:
    assert "sk-live-abc" not in repr(folder.faults(with_options(option)))


@pytest.mark.parametrize("option", ["api_key: ${K}\napi_key: sk-live-abc", "headers: {1: sk-live-abc}"])
def test_a_secret_beside_a_wrong_key_is_masked(folder: Any, with_options: WithOptions, option: str) -> None:
    assert "sk-live-abc" not in repr(folder.faults(with_options(option)))


def test_a_secret_that_looks_like_a_number_is_kept_as_its_reference(folder: Any, with_options: WithOptions) -> None:
    pipeline = folder.load(with_options('api_key: ${K}\nheaders: {x: "${H}"}'), {"K": "123", "H": "true"})
    assert {s.reference: s.reveal() for s in pipeline.secrets()} == {"K": "123", "H": "true"}


def test_an_empty_secret_is_none(folder: Any, with_options: WithOptions) -> None:
    assert folder.load(with_options("api_key:\nmax_requests: 3")).secrets() == ()


def test_an_asset_has_its_path_bytes_and_text(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbfHi\r\n")
    asset = parse({"prompt": "p.txt"}, folder=tmp_path).prompt
    assert asset is not None
    assert (asset.path, asset.data, asset.text) == (f"{tmp_path}/p.txt", b"\xef\xbb\xbfHi\r\n", "Hi\r\n")


def test_an_asset_must_be_there_and_be_text(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"a\xff")
    assert codes({"prompt": "none.txt"}, folder=tmp_path) == [
        ("missing_file", f"cannot read {tmp_path}/none.txt: No such file or directory")
    ]
    assert codes({"prompt": "bad.txt"}, folder=tmp_path) == [
        ("invalid_utf8", f"{tmp_path}/bad.txt is not UTF-8 at byte 1")
    ]


def test_an_edited_asset_is_the_same_throughout_one_load(tmp_path: Path) -> None:
    assets = DiskAssets()
    (tmp_path / "p.txt").write_text("one")
    first = parse({"prompt": "p.txt"}, folder=tmp_path, assets=assets)
    (tmp_path / "p.txt").write_text("two")
    assert first == parse({"prompt": "p.txt"}, folder=tmp_path, assets=assets)


def test_recorded_assets_are_never_read_from_disk(tmp_path: Path) -> None:
    path = f"{tmp_path}/p.txt"
    Path(path).write_text("edited")
    recorded = Asset(path, b"recorded").recorded()
    found = parse({"prompt": recorded}, assets=RecordedAssets({path: b"recorded"}), is_recorded=True)
    assert found.prompt == Asset(path, b"recorded")


def test_a_recorded_asset_must_have_its_hash() -> None:
    recorded = Asset("/p.txt", b"recorded").recorded()
    assets = RecordedAssets({"/p.txt": b"other"})
    assert codes({"prompt": recorded}, assets=assets, is_recorded=True) == [
        ("changed_file", "/p.txt is not the file that was recorded")
    ]


def test_options_are_frozen_and_closed() -> None:
    found = parse({})
    with pytest.raises(ValidationError):
        found.source = InputPath("x")  # type: ignore[misc]
    assert codes({"nope": 1})[0][0] == "extra_forbidden"


def test_options_can_be_made_without_a_context() -> None:
    assert Everything.model_validate({"source": "/in.csv"}).source == "/in.csv"
