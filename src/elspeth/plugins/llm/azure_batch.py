"""`azure_batch_llm`: a deployment of Azure OpenAI, through its Batch API."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from elspeth.contracts import Context
from elspeth.plugins.llm.batch_llm import BatchLLMTransform
from elspeth.plugins.llm.batch_options import THIRTY_DAYS_S, TWO_WEEKS_S, BatchLLMOptions, Text
from elspeth.plugins.llm.credentials import ApiKey, Credential, EntraToken, require_entra
from elspeth.plugins.llm.endpoints import SIMULATOR, azure_resource
from elspeth.plugins.llm.provider import Connection
from elspeth.plugins.llm.strict_schema import AZURE, StrictProfile

__all__ = ["AzureBatchLLMTransform", "AzureBatchOptions"]

V1 = "v1"


class AzureBatchOptions(BatchLLMOptions):
    """Which resource and deployment; a dated ``api_version`` serves resources that have no v1 path yet."""

    strict_profile: ClassVar[StrictProfile] = AZURE
    price_provider: ClassVar[str] = "azure"

    endpoint: Text
    credential: Literal["entra"] | None = None
    deployment_name: Text
    api_version: Annotated[str, Field(pattern=r"^(v1|\d{4}-\d{2}-\d{2}(-preview)?)$")] = V1
    max_requests: Annotated[int, Field(ge=1)] = 100_000
    # Two weeks is the shortest life that Azure takes, and files with one count against a limit of 10,000, not 500.
    expires_after_seconds: Annotated[int, Field(ge=TWO_WEEKS_S, le=THIRTY_DAYS_S)] | None = TWO_WEEKS_S

    @property
    def uses_simulator(self) -> bool:
        """Whether ``endpoint`` is the special word."""
        return self.endpoint == SIMULATOR

    @property
    def model_name(self) -> str:
        """The deployment."""
        return self.deployment_name

    @property
    def answerer(self) -> dict[str, str]:
        """The deployment, its resource, and the version of the API."""
        resource = SIMULATOR if self.uses_simulator else azure_resource(self.endpoint)
        return {"resource": resource, "deployment": self.deployment_name, "api_version": self.api_version}

    @property
    def default_url(self) -> str:
        """Dated versions name the path without its version."""
        return "/v1/chat/completions" if self.api_version == V1 else "/chat/completions"

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        if endpoint != SIMULATOR:
            azure_resource(endpoint)
        return endpoint

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        given = [name for name in ("api_key", "credential") if getattr(self, name) is not None]
        if len(given) != 1 and not (self.uses_simulator and not given):
            raise ValueError("give one of `api_key: ${NAME}` and `credential: entra`, and not both")
        return self


class AzureBatchLLMTransform(BatchLLMTransform):
    """Asks a deployment of Azure OpenAI about each row, through the Batch API."""

    options_model: ClassVar[type[BatchLLMOptions]] = AzureBatchOptions
    service: ClassVar[str] = "azure_openai"

    options: AzureBatchOptions

    def __init__(self, options: AzureBatchOptions, *, step: str, simulator_url: str | None = None) -> None:
        super().__init__(options, step=step, simulator_url=simulator_url)

    def _connection(self, ctx: Context) -> Connection:
        options = self.options
        origin = self._simulator_origin() if self.uses_simulator else azure_resource(options.endpoint)
        is_v1 = options.api_version == V1
        return Connection(
            base_url=f"{origin}/openai/v1" if is_v1 else origin,
            credential=self._credential(ctx),
            line_url=options.line_url,
            batch_endpoint=options.job_endpoint,
            model=options.model_name,
            is_azure=True,
            api_version=None if is_v1 else options.api_version,
            expires_after_s=options.expires_after_seconds,
            timeout_s=options.timeout_seconds,
        )

    def _credential(self, ctx: Context) -> Credential:
        key = self.options.api_key
        if self.uses_simulator:
            return ApiKey.simulated()
        if key is not None:
            return ApiKey.of(key)
        require_entra()
        return EntraToken(fetch=ctx.fetch_secret)
