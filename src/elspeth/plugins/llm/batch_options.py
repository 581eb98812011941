"""The options that every batch transform with a language model has, and what is wrong with them.

All that can be known without a row is checked when options are read: the
templates are compiled, the schema is held against the provider's subset, and
options that would fight or have no effect are refused. Every problem is
reported, not the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from elspeth.contracts import BatchLimits, Diagnostic, FieldType, PipelineError, Price
from elspeth.core.config.options import Asset, Options, Secret
from elspeth.plugins.llm.lookup import read_lookup
from elspeth.plugins.llm.prices import PriceOption, list_price
from elspeth.plugins.llm.prompts import PromptError, PromptTemplate
from elspeth.plugins.llm.request_lines import RequestBuilder
from elspeth.plugins.llm.strict_schema import StrictProfile, field_types, invalid_schema, outside_subset
from elspeth.plugins.llm.token_estimate import TokenRule

__all__ = ["MAX_FILE_BYTES", "BatchLLMOptions"]

MAX_FILE_BYTES = 200_000_000
"""The providers' limit of 200 MB, read as the smaller of its two meanings (200 MiB would be 5 % more)."""

TWO_WEEKS_S = 1_209_600
THIRTY_DAYS_S = 2_592_000
_PARAMETERS = (
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
)
_REPLY_LIMITS = ("max_completion_tokens", "max_tokens")
_FIXED = {
    "model": "the deployment or model has its own option",
    "messages": "messages come from `template` and `system_prompt`",
    "stream": "a batch cannot stream",
}
_EITHER = (
    ("template", "template_file"),
    ("system_prompt", "system_prompt_file"),
    ("lookup", "lookup_file"),
    ("max_tokens", "max_completion_tokens"),
)
Text = Annotated[str, Field(min_length=1)]
UrlPath = Annotated[str, Field(pattern=r"^/\S+$")]

SIMULATOR_POLL_S = 0.5


class BatchLLMOptions(Options):
    """What is sent, what comes of the reply, and how batches are filled and watched. Times in the unit named."""

    price_provider: ClassVar[str] = "openai"
    strict_profile: ClassVar[StrictProfile]

    api_key: Secret | None = None

    template: Text | None = None
    template_file: Asset | None = None
    system_prompt: Text | None = None
    system_prompt_file: Asset | None = None
    lookup: dict[str, Any] | None = None
    lookup_file: Asset | None = None

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: Text | None = None
    body: dict[str, Any] = Field(default_factory=dict)

    response_field: Text = "llm_response"
    response_schema: dict[str, Any] | None = None
    strict: bool = True
    response_prefix: str = ""
    overwrite: bool = False
    metadata: bool = False

    url: UrlPath | None = None
    batch_endpoint: UrlPath | None = None
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0

    max_requests: Annotated[int, Field(ge=1)] = 50_000
    max_bytes: Annotated[int, Field(ge=1)] = MAX_FILE_BYTES
    max_enqueued_tokens: Annotated[int, Field(ge=1)] | None = None
    max_batches_in_flight: Annotated[int, Field(ge=1)] = 4
    canary: Annotated[int, Field(ge=0)] = 0
    dedupe: bool = False
    reuse: bool = True
    price: PriceOption | None = None
    row_attempts: Annotated[int, Field(ge=1)] = 3
    poll_interval_seconds: Annotated[float, Field(gt=0)] = 60.0
    reconcile_grace_seconds: Annotated[float, Field(ge=0)] = 60.0
    warn_after_hours: Annotated[float, Field(gt=0)] = 24.0
    expires_after_seconds: Annotated[int, Field(ge=3600, le=THIRTY_DAYS_S)] | None = TWO_WEEKS_S

    @property
    def uses_simulator(self) -> bool:
        """Whether the provider is the built-in simulator."""
        raise NotImplementedError

    @property
    def model_name(self) -> str:
        """The deployment or model that requests name."""
        raise NotImplementedError

    @property
    def answerer(self) -> dict[str, str]:
        """Which model at which address, apart from the paths."""
        raise NotImplementedError

    @property
    def line_url(self) -> str:
        """The ``url`` of each line."""
        return self.url or self.default_url

    @property
    def job_endpoint(self) -> str:
        """The ``endpoint`` of a job."""
        return self.batch_endpoint or self.default_url

    @property
    def default_url(self) -> str:
        """The path of chat completions, as lines and jobs name it."""
        return "/v1/chat/completions"

    @property
    def limits(self) -> BatchLimits:
        """What the engine's batch driver goes by. The simulator answers at once and is asked often."""
        poll_s = self.poll_interval_seconds
        return BatchLimits(
            max_requests=self.max_requests,
            max_bytes=self.max_bytes,
            max_batches_in_flight=self.max_batches_in_flight,
            row_attempts=self.row_attempts,
            poll_interval_s=min(poll_s, SIMULATOR_POLL_S) if self.uses_simulator else poll_s,
            reconcile_grace_s=self.reconcile_grace_seconds,
            warn_after_s=self.warn_after_hours * 3600,
            max_enqueued_tokens=self.max_enqueued_tokens,
            canary=self.canary,
            is_shared=self.dedupe,
            may_reuse=self.reuse,
        )

    @property
    def list_model(self) -> str | None:
        """The model whose price the list may know without being told."""
        return None

    def batch_price(self) -> Price | None:
        """What tokens cost; raises `PipelineError` for a `price` that names an unknown model."""
        if self.price is not None:
            return self.price.resolve(self.price_provider)
        return None if self.list_model is None else list_price(self.list_model, self.price_provider)

    def token_rule(self, *, fixed_bytes: int) -> TokenRule:
        """How tokens are estimated."""
        limits = (self.max_completion_tokens, self.max_tokens, *map(self.body.get, _REPLY_LIMITS))
        most = next((limit for limit in limits if type(limit) is int), None)
        effort = self.reasoning_effort or self.body.get("reasoning_effort")
        is_reasoning = effort not in (None, "none", "minimal")
        return TokenRule(fixed_bytes=fixed_bytes, max_output_tokens=most, is_reasoning=is_reasoning)

    @property
    def parameters(self) -> dict[str, Any]:
        """The request's fields beside model and messages; none is sent unless set."""
        named = {name: getattr(self, name) for name in _PARAMETERS if getattr(self, name) is not None}
        if self.response_schema is not None:
            schema = {"name": "response", "schema": self.response_schema, "strict": self.strict}
            named["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {**named, **self.body}

    @property
    def answer_types(self) -> dict[str, FieldType]:
        """The fields that a reply becomes."""
        if self.response_schema is None:
            return {self.response_field: FieldType.STR}
        return {self.response_prefix + name: kind for name, kind in field_types(self.response_schema).items()}

    def lookup_table(self) -> Mapping[str, Any] | None:
        """What templates see as ``lookup``; raises `PipelineError`."""
        return self.lookup if self.lookup_file is None else read_lookup(self.lookup_file)

    def prompt_template(self) -> PromptTemplate:
        """The compiled template of the row's message; raises `PipelineError`."""
        variables = {"row"} | ({"lookup"} if self.lookup is not None or self.lookup_file is not None else set())
        return _compiled("template", self.template, self.template_file, variables)

    def system_message(self) -> str | None:
        """The system prompt, the same for every row: a template over ``lookup`` alone; raises `PipelineError`."""
        if self.system_prompt is None and self.system_prompt_file is None:
            return None
        table = self.lookup_table()
        variables = set() if table is None else {"lookup"}
        template = _compiled("system_prompt", self.system_prompt, self.system_prompt_file, variables)
        try:
            return template.render({}, table)
        except PromptError as error:
            name = "system_prompt" if self.system_prompt_file is None else "system_prompt_file"
            problem = Diagnostic(path=(name,), code="TEMPLATE_SYNTAX", message=error.message)
            raise PipelineError([problem]) from None

    def request_builder(self) -> RequestBuilder:
        """Builds the request lines; raises `PipelineError`."""
        try:
            return RequestBuilder(
                url=self.line_url,
                model=self.model_name,
                system_prompt=self.system_message(),
                parameters=self.parameters,
            )
        except ValueError as error:
            problem = Diagnostic(path=(), code="BAD_VALUE", message=f"a request cannot be written as JSON: {error}")
            raise PipelineError([problem]) from None

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [*self._conflicts(), *self._body_problems(), *self._schema_problems()]
        checks: tuple[Callable[[], object], ...] = (self.lookup_table, self.prompt_template, self.request_builder)
        for check in checks:
            try:
                check()
            except PipelineError as error:
                problems += [found for found in error.diagnostics if found not in problems]
        if problems:
            raise PipelineError(problems)
        return self

    def _conflicts(self) -> Iterable[Diagnostic]:
        for one, other in _EITHER:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                message = f"`{one}` and `{other}` exclude each other"
                yield Diagnostic(path=(other,), code="OPTION_CONFLICT", message=message, on_key=True)
        if self.template is None and self.template_file is None:
            hint = "write the prompt, with {{ row.FIELD }} for a field's value"
            yield Diagnostic(
                path=(), code="MISSING_KEY", message="`template` (or `template_file`) is missing", hint=hint
            )
        if self.response_schema is None:
            idle = ["response_prefix", "strict"]
            needed = "without `response_schema` this has no effect"
        else:
            idle = ["response_field"]
            needed = "with `response_schema` this has no effect: each property becomes a field"
        for name in idle:  # a default in the record of a configuration is no conflict
            if getattr(self, name) != type(self).model_fields[name].default:
                yield Diagnostic(path=(name,), code="OPTION_CONFLICT", message=needed, on_key=True)

    def _body_problems(self) -> Iterable[Diagnostic]:
        sent = {name for name in _PARAMETERS if getattr(self, name) is not None}
        if self.response_schema is not None:
            sent.add("response_format")
        for name, value in self.body.items():
            reason = _FIXED.get(name)
            if name in sent:
                reason = "an option sets this field already"
            elif name == "n" and value != 1:
                reason = "a row has one answer"
            if reason is not None:
                message = f"`body` cannot set {name!r}: {reason}"
                yield Diagnostic(path=("body", name), code="OPTION_CONFLICT", message=message, on_key=True)

    def _schema_problems(self) -> Iterable[Diagnostic]:
        if self.response_schema is None:
            return []
        problems = invalid_schema(self.response_schema)
        if not problems and self.strict:
            problems = outside_subset(self.response_schema, self.strict_profile)
        return [replace(found, path=("response_schema", *found.path)) for found in problems]


def _compiled(name: str, text: str | None, file: Asset | None, variables: set[str]) -> PromptTemplate:
    """A template whose problems are placed at its option: within the text, or at the name of its file."""
    try:
        return PromptTemplate(file.text if file is not None else text or "", variables=variables)
    except PipelineError as error:
        path = (name,) if file is None else (f"{name}_file",)
        problems = [
            replace(found, path=path, offset=found.offset if file is None else 0) for found in error.diagnostics
        ]
        raise PipelineError(problems) from None
