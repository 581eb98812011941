"""The batch transform of Azure OpenAI, from its options to its requests and answers.

Also for batch_llm.py, batch_options.py, lookup.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError
from tests.plugins.llm.conftest import LABEL_SCHEMA, load, options_context

from elspeth.contracts import (
    BatchTransform,
    CredentialsError,
    Fields,
    FieldType,
    FileRole,
    LineVerdict,
    PipelineError,
    RowError,
    UsageError,
)
from elspeth.core.config.options import parse_options
from elspeth.plugins.llm.azure_batch import AzureBatchLLMTransform, AzureBatchOptions

ROLES = {"output": FileRole.OUTPUT, "error": FileRole.ERROR}
CASES = load("result_lines.json")


def outcome(transform: AzureBatchLLMTransform, line: bytes, role: FileRole) -> str:
    answer = transform.read_line(line, role)
    verdict = answer.verdict
    if answer.custom_id is None:
        assert verdict.failure is not None
        return "quarantine"
    if verdict.failure is None:
        assert verdict.answer is not None
        return "answer"
    assert verdict.answer is None
    return "retry" if verdict.is_retryable else f"row_error:{verdict.failure.code}"


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_line_of_the_wire_comes_to_what_it_must(azure: Any, case: dict[str, str]) -> None:
    transform = azure(response_schema=LABEL_SCHEMA)
    expected = "answer" if case["expect"] == "alarm" else case["expect"]  # who sent it is the engine's to know
    assert outcome(transform, case["line"].encode(), ROLES[case["file"]]) == expected


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_line_means_the_same_in_either_file(azure: Any, case: dict[str, str]) -> None:
    transform = azure(response_schema=LABEL_SCHEMA)
    line = case["line"].encode()
    assert outcome(transform, line, FileRole.OUTPUT) == outcome(transform, line, FileRole.ERROR)


def test_an_answer_is_merged_behind_the_rows_own_fields(azure: Any) -> None:
    transform = azure(response_schema=LABEL_SCHEMA, response_prefix="llm_", metadata=True)
    line = next(case["line"] for case in CASES if case["case"] == "good_error_null").encode()
    verdict = transform.read_line(line, FileRole.OUTPUT).verdict
    result = transform.merge({"text": "hi"}, verdict)
    assert result.failure is None
    assert list(result.rows) == [
        {
            "text": "hi",
            "llm_label": "a",
            "classify_usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
            "classify_model": "gpt-4o-2024-08-06",
            "classify_finish_reason": "stop",
        }
    ]
    assert verdict.usage == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    assert verdict.model == "gpt-4o-2024-08-06"


def test_a_failed_row_keeps_all_that_the_provider_said(azure: Any) -> None:
    line = next(case["line"] for case in CASES if case["case"] == "prompt_filtered").encode()
    verdict = azure().read_line(line, FileRole.ERROR).verdict
    result = azure().merge({"text": "hi"}, verdict)
    assert result.failure is not None
    assert result.failure.detail == {
        "file": "error",
        "status_code": 400,
        "request_id": "r",
        "body": json.loads(line)["response"]["body"],
    }


def test_a_request_line_is_these_bytes(azure: Any) -> None:
    transform = azure(
        template="Say {{ row.text }}\n",
        system_prompt="Be brief – {{ lookup.tone }}.",
        lookup={"tone": "kind"},
        temperature=0,
        max_tokens=20,
        response_schema=LABEL_SCHEMA,
        body={"user": "us"},
    )
    assert (
        transform.request_line({"text": 'a "b"\n\u2028é😀'}, "r-7-1")
        == (
            '{"custom_id":"r-7-1","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o-batch",'
            '"messages":[{"role":"system","content":"Be brief – kind."},'
            '{"role":"user","content":"Say a \\"b\\"\\n\u2028é😀"}],"temperature":0.0,"max_tokens":20,'
            '"response_format":{"type":"json_schema","json_schema":{"name":"response","schema":{"type":"object",'
            '"additionalProperties":false,"properties":{"label":{"type":"string"}},"required":["label"]},'
            '"strict":true}},"user":"us"}}\n'
        ).encode()
    )


def test_nothing_is_sent_that_was_not_set(azure: Any) -> None:
    body = json.loads(azure().request_line({"text": "x"}, "a"))["body"]
    assert body == {"model": "gpt-4o-batch", "messages": [{"role": "user", "content": "Say x"}]}


def test_a_dated_version_names_the_path_without_its_version(azure: Any) -> None:
    transform = azure(api_version="2024-10-21")
    assert json.loads(transform.request_line({"text": "x"}, "a"))["url"] == "/chat/completions"
    assert transform.options.job_endpoint == "/chat/completions"
    assert azure(api_version="2024-10-21", url="/v1/chat/completions").options.line_url == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("changes", "row", "code"),
    [
        ({}, {}, "template"),
        ({}, {"text": "\ud800"}, "encoding"),
        ({"max_bytes": 150}, {"text": "x" * 100}, "too_large"),
        ({}, {"text": "x", "llm_response": "taken"}, "field_exists"),
    ],
)
def test_a_row_that_cannot_be_sent_is_that_rows_error(azure: Any, changes: Any, row: Any, code: str) -> None:
    failure = azure(**changes).request_line(row, "a")
    assert isinstance(failure, RowError)
    assert failure.code == code


@pytest.mark.parametrize("custom_id", ["", "x" * 65, 'a"b', "a\\b", "é", "a b", "a\n"])
def test_an_id_that_a_provider_may_refuse_is_our_bug(azure: Any, custom_id: str) -> None:
    with pytest.raises(ValueError, match="custom_id"):
        azure().request_line({"text": "x"}, custom_id)


def test_output_fields_follow_the_schema(azure: Any) -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "s": {"type": "string"},
            "i": {"type": ["integer", "null"]},
            "n": {"type": "number"},
            "b": {"type": "boolean"},
            "l": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["s", "i", "n", "b", "l"],
    }
    fields = azure(response_schema=schema, metadata=True).output_fields(Fields({"text": FieldType.STR}))
    assert fields == Fields(
        {
            "text": FieldType.STR,
            "s": FieldType.STR,
            "i": FieldType.INT,
            "n": FieldType.JSON,
            "b": FieldType.BOOL,
            "l": FieldType.JSON,
            "classify_usage": FieldType.JSON,
            "classify_model": FieldType.STR,
            "classify_finish_reason": FieldType.STR,
        }
    )


def test_an_open_schema_leaves_the_fields_open(azure: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    transform = azure(response_schema=schema, strict=False)
    assert transform.output_fields(Fields({"text": None})).is_open
    verdict = LineVerdict({"a": "x", "text": "from the model"}, None)
    failure = transform.merge({"text": "from the source"}, verdict).failure
    assert failure is not None
    assert failure.code == "field_exists"


def test_a_property_that_the_reply_leaves_out_becomes_none(azure: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "label": {"type": "string"}}}
    line = next(case["line"] for case in CASES if case["case"] == "good_error_null").encode()
    verdict = azure(response_schema=schema, strict=False).read_line(line, FileRole.OUTPUT).verdict
    assert verdict.answer == {"a": None, "label": "a"}


@pytest.mark.parametrize(
    ("changes", "fields", "expected"),
    [
        (
            {"template": "a {{ row.txt }}"},
            Fields({"text": None}),
            ("FIELD_UNKNOWN", ("template",), 9, "did you mean 'text'?"),
        ),
        ({}, Fields({"llm_response": None, "text": None}), ("FIELD_EXISTS", (), 0, None)),
        ({"response_field": "text"}, Fields({"text": None}), ("FIELD_EXISTS", ("response_field",), 0, None)),
        (
            {"response_schema": LABEL_SCHEMA},
            Fields({"label": None, "text": None}),
            ("FIELD_EXISTS", ("response_schema", "properties", "label"), 0, None),
        ),
        ({"metadata": True}, Fields({"classify_usage": None, "text": None}), ("FIELD_EXISTS", ("metadata",), 0, None)),
    ],
)  # fmt: skip
def test_fields_that_cannot_be_are_told_with_their_place(
    azure: Any, changes: Any, fields: Fields, expected: Any
) -> None:
    with pytest.raises(PipelineError) as caught:
        azure(**changes).output_fields(fields)
    (problem,) = caught.value.diagnostics
    code, path, offset, hint = expected
    assert (problem.code, problem.path, problem.offset) == (code, path, offset)
    assert hint in (None, problem.hint)


def test_open_fields_and_overwriting_are_no_errors(azure: Any) -> None:
    transform = azure(template="{{ row.anything }}", overwrite=True)
    fields = Fields({"llm_response": FieldType.INT, "z": None}, is_open=True)
    assert transform.output_fields(fields) == Fields({"llm_response": FieldType.STR, "z": None}, True)
    merged = transform.merge({"llm_response": 1, "z": 2}, LineVerdict({"llm_response": "new"}, None))
    assert list(merged.rows[0].items()) == [("llm_response", "new"), ("z", 2)]


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({"template_file": "t.txt"}, [("template_file",)]),
        ({"template": None}, [()]),
        ({"max_tokens": 1, "max_completion_tokens": 1}, [("max_completion_tokens",)]),
        ({"body": {"model": "x", "stream": True}}, [("body", "model"), ("body", "stream")]),
        ({"body": {"n": 2, "messages": []}}, [("body", "n"), ("body", "messages")]),
        ({"body": {"temperature": 1}, "temperature": 1}, [("body", "temperature")]),
        ({"body": {"response_format": {}}, "response_schema": LABEL_SCHEMA}, [("body", "response_format")]),
        ({"response_prefix": "x_", "strict": False}, [("response_prefix",), ("strict",)]),
        ({"response_field": "x", "response_schema": LABEL_SCHEMA}, [("response_field",)]),
        ({"response_schema": {"type": "objekt"}}, [("response_schema", "type")]),
        ({"response_schema": {"type": "array"}}, [("response_schema",)]),
        ({"response_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}, [("response_schema",)] * 2),
        ({"template": "{{ row.x", "system_prompt": "{{ row.y }}"}, [("template",), ("system_prompt",)]),
        ({"system_prompt": "{{ lookup.missing }}", "lookup": {}}, [("system_prompt",)]),
        ({"template": "{{ lookup.x }}"}, [("template",)]),
    ],
)  # fmt: skip
def test_options_that_fight_are_all_told_at_once(azure: Any, tmp_path: Any, changes: Any, places: Any) -> None:
    (tmp_path / "t.txt").write_text("x")
    with pytest.raises(PipelineError) as caught:
        azure(**changes)
    assert [problem.path for problem in caught.value.diagnostics] == places


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "http://example.openai.azure.com"},
        {"endpoint": "example.openai.azure.com"},
        {"endpoint": "https://user:pw@example.openai.azure.com"},
        {"credential": "entra"},
        {"api_key": None},
        {"api_key": "literal"},
        {"api_version": "latest"},
        {"temperature": 3},
        {"temperature": "0"},
        {"expires_after_seconds": 3600},
        {"max_requests": 0},
        {"max_enqueued_tokens": 0},
        {"canary": -1},
        {"price": {}},
        {"price": {"model": "gpt-4o", "input_per_mtok": 1, "output_per_mtok": 1}},
        {"price": {"input_per_mtok": 1}},
        {"price": {"input_per_mtok": -1, "output_per_mtok": 1}},
        {"url": "chat/completions"},
    ],
)
def test_values_that_cannot_be_meant_are_refused(azure: Any, changes: Any) -> None:
    with pytest.raises(ValidationError):
        azure(**changes)


def test_answers_are_taken_and_requests_are_not_shared_unless_it_says_so(azure: Any) -> None:
    limits = [azure(**options).limits for options in ({}, {"reuse": False, "dedupe": True})]

    assert [(True, False), (False, True)] == [(one.may_reuse, one.is_shared) for one in limits]


def test_limits_are_the_options(azure: Any) -> None:
    limits = azure(max_batches_in_flight=2, warn_after_hours=1).limits
    assert (limits.max_requests, limits.max_bytes) == (100_000, 200_000_000)
    assert (limits.max_batches_in_flight, limits.row_attempts) == (2, 3)
    assert (limits.poll_interval_s, limits.reconcile_grace_s, limits.warn_after_s) == (60.0, 60.0, 3600.0)


def test_files_serve_as_well_as_text(azure: Any, tmp_path: Any) -> None:
    (tmp_path / "t.jinja").write_text("{{ lookup[row.text] }} {{ lookup.no }}\n")
    (tmp_path / "s.txt").write_text("System.\n")
    (tmp_path / "l.yaml").write_text("a: [1, two]\nno: no\n")
    (tmp_path / "l.json").write_text('{"a": [1, "two"], "no": "no"}')
    files = {"template": None, "template_file": "t.jinja", "system_prompt_file": "s.txt"}
    for lookup_file in ("l.yaml", "l.json"):
        body = json.loads(azure(**files, lookup_file=lookup_file).request_line({"text": "a"}, "x"))["body"]
        assert [message["content"] for message in body["messages"]] == ["System.", "[1, 'two'] no"]


@pytest.mark.parametrize("text", ["[1]", "a: 1\na: 2\n", "{"])
@pytest.mark.parametrize("name", ["l.yaml", "l.json"])
def test_a_lookup_file_that_is_no_mapping_is_told(azure: Any, tmp_path: Any, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PipelineError):
        azure(lookup_file=name)


def test_problems_in_a_template_file_name_its_line(azure: Any, tmp_path: Any) -> None:
    (tmp_path / "t.txt").write_text("a\nb {{ rwo.x }}")
    with pytest.raises(PipelineError) as caught:
        azure(template=None, template_file="t.txt")
    (problem,) = caught.value.diagnostics
    assert (problem.path, problem.offset, problem.code) == (("template_file",), 0, "TEMPLATE_VARIABLE")
    assert "line 2" in problem.message


def test_it_is_a_batch_transform(azure: Any) -> None:
    assert isinstance(azure(), BatchTransform)
    assert not azure().uses_simulator
    assert azure(endpoint="simulator", api_key=None).uses_simulator


@pytest.mark.parametrize("key", ["", "with space", "line\n", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_told_by_its_name_alone(tmp_path: Any, make_context: Any, key: str) -> None:
    values = {"endpoint": "https://x.openai.azure.com", "api_key": "${KEY}", "deployment_name": "d", "template": "x"}
    context = options_context(tmp_path)
    options = parse_options(AzureBatchOptions, values, type(context)(folder=tmp_path, environ={"KEY": key}))
    with pytest.raises(CredentialsError) as caught:
        AzureBatchLLMTransform(options, step="s").provider(make_context())
    assert "KEY" in caught.value.message
    assert not key or key not in str(caught.value)


def test_entra_without_its_package_says_what_to_install(azure: Any, make_context: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "azure", None)
    with pytest.raises(UsageError) as caught:
        azure(api_key=None, credential="entra").provider(make_context())
    assert caught.value.hint == "pip install 'elspeth[azure]'"


def test_importing_it_loads_nothing_that_takes_long() -> None:
    code = (
        "import sys, elspeth.plugins.llm.azure_batch, elspeth.plugins.llm.openai_batch;"
        "print(sorted({'openai', 'jinja2', 'jsonschema_rs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("changes", [{}, {"response_schema": LABEL_SCHEMA, "response_prefix": "x_"}])
@pytest.mark.parametrize("with_defaults", [True, False])
def test_recorded_options_are_read_back_the_same(azure: Any, tmp_path: Any, changes: Any, with_defaults: bool) -> None:
    (tmp_path / "s.txt").write_text("System.")
    options = azure(system_prompt_file="s.txt", **changes).options
    recorded = options.model_dump(mode="json", exclude_unset=not with_defaults)
    context = options_context(tmp_path)
    again = parse_options(AzureBatchOptions, recorded, msgspec.structs.replace(context, is_recorded=True))
    assert again == options
