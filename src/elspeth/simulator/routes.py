"""Which provider and which operation a request's path means.

| prefix | provider |
|---|---|
| `/openai/v1` | Azure, v1 |
| `/openai` | Azure, dated: needs `api-version` |
| `/v1` | OpenAI and everything compatible |
"""

from dataclasses import dataclass
from enum import StrEnum


class Profile(StrEnum):
    OPENAI = "openai"
    AZURE_V1 = "azure_v1"
    AZURE_DATED = "azure_dated"

    @property
    def is_azure(self) -> bool:
        return self is not Profile.OPENAI


class Operation(StrEnum):
    FILES_CREATE = "files.create"
    FILES_LIST = "files.list"
    FILES_RETRIEVE = "files.retrieve"
    FILES_CONTENT = "files.content"
    FILES_DELETE = "files.delete"
    BATCHES_CREATE = "batches.create"
    BATCHES_LIST = "batches.list"
    BATCHES_RETRIEVE = "batches.retrieve"
    BATCHES_CANCEL = "batches.cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`operation` is None for a path or method the provider does not have."""

    profile: Profile
    operation: Operation | None = None
    object_id: str = ""


_PREFIXES = (
    ("/openai/v1/", Profile.AZURE_V1),
    ("/openai/", Profile.AZURE_DATED),
    ("/v1/", Profile.OPENAI),
)

# (method, collection, whether an object is named, what follows it)
_OPERATIONS = {
    ("POST", "files", False, ""): Operation.FILES_CREATE,
    ("GET", "files", False, ""): Operation.FILES_LIST,
    ("GET", "files", True, ""): Operation.FILES_RETRIEVE,
    ("GET", "files", True, "content"): Operation.FILES_CONTENT,
    ("DELETE", "files", True, ""): Operation.FILES_DELETE,
    ("POST", "batches", False, ""): Operation.BATCHES_CREATE,
    ("GET", "batches", False, ""): Operation.BATCHES_LIST,
    ("GET", "batches", True, ""): Operation.BATCHES_RETRIEVE,
    ("POST", "batches", True, "cancel"): Operation.BATCHES_CANCEL,
}


def match_route(method: str, path: str) -> Route:
    for prefix, profile in _PREFIXES:
        if path.startswith(prefix):
            collection, _, rest = path.removeprefix(prefix).rstrip("/").partition("/")
            object_id, _, tail = rest.partition("/")
            operation = _OPERATIONS.get((method, collection, bool(object_id), tail))
            return Route(profile=profile, operation=operation, object_id=object_id)
    return Route(profile=Profile.OPENAI)
