"""`openai_batch_llm`: a model of OpenAI, or of a server with the same Batch API."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import field_validator, model_validator

from elspeth.contracts import Context
from elspeth.plugins.llm.batch_llm import BatchLLMTransform
from elspeth.plugins.llm.batch_options import BatchLLMOptions, Text
from elspeth.plugins.llm.credentials import ApiKey
from elspeth.plugins.llm.endpoints import SIMULATOR, openai_base_url
from elspeth.plugins.llm.provider import Connection
from elspeth.plugins.llm.strict_schema import OPENAI, StrictProfile

__all__ = ["OpenAIBatchLLMTransform", "OpenAIBatchOptions"]


OPENAI_URL = "https://api.openai.com/v1"


class OpenAIBatchOptions(BatchLLMOptions):
    """Which server and model."""

    strict_profile: ClassVar[StrictProfile] = OPENAI

    base_url: Text = OPENAI_URL
    model: Text

    @property
    def uses_simulator(self) -> bool:
        """Whether ``base_url`` is the special word."""
        return self.base_url == SIMULATOR

    @property
    def model_name(self) -> str:
        """The model."""
        return self.model

    @property
    def answerer(self) -> dict[str, str]:
        """The model and the server's address."""
        server = SIMULATOR if self.uses_simulator else openai_base_url(self.base_url)
        return {"server": server, "model": self.model}

    @property
    def list_model(self) -> str | None:
        """The model, where it is OpenAI that bills it; another server has prices of its own."""
        return self.model if self.uses_simulator or self.base_url == OPENAI_URL else None

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, base_url: str) -> str:
        if base_url != SIMULATOR:
            openai_base_url(base_url)
        return base_url

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.api_key is None and not self.uses_simulator:
            raise ValueError("`api_key` is missing: give it as `api_key: ${NAME}`")
        return self


class OpenAIBatchLLMTransform(BatchLLMTransform):
    """Asks a model about each row, through a Batch API like OpenAI's."""

    options_model: ClassVar[type[BatchLLMOptions]] = OpenAIBatchOptions
    service: ClassVar[str] = "openai"

    options: OpenAIBatchOptions

    def __init__(self, options: OpenAIBatchOptions, *, step: str, simulator_url: str | None = None) -> None:
        super().__init__(options, step=step, simulator_url=simulator_url)

    def _connection(self, ctx: Context) -> Connection:  # noqa: ARG002 - a key needs nobody to ask
        options = self.options
        key = options.api_key
        return Connection(
            base_url=f"{self._simulator_origin()}/v1" if self.uses_simulator else openai_base_url(options.base_url),
            credential=ApiKey.simulated() if self.uses_simulator or key is None else ApiKey.of(key),
            line_url=options.line_url,
            batch_endpoint=options.job_endpoint,
            model=options.model_name,
            is_azure=False,
            expires_after_s=options.expires_after_seconds,
            timeout_s=options.timeout_seconds,
        )
