"""A chat completion as a pure function of the seed and the request's body.

No time, no order and no id of this process enters it, so the same question
gets the same bytes wherever and whenever it is asked. It echoes; it does
not pretend to think.
"""

import json

from elspeth.simulator import chance
from elspeth.simulator.json_values import Json, JsonObject
from elspeth.simulator.prompts import Chooser, message_text, user_texts
from elspeth.simulator.schema_instance import instance

FINGERPRINT = "simulated"
CREATED = 1_700_000_000
_TOKENS_A_MESSAGE = 3


def completion(body: JsonObject, *, seed: str, model_name: str | None = None) -> JsonObject:
    texts = user_texts(body)
    choices = max(1, body["n"]) if type(body.get("n")) is int else 1
    contents = [_content(body, texts, seed if place == 0 else f"{seed}#{place}") for place in range(choices)]
    prompt_tokens = sum(_TOKENS_A_MESSAGE + _tokens(message_text(m)) for m in body.get("messages") or [])
    completion_tokens = sum(map(_tokens, contents))
    request = json.dumps(body, sort_keys=True)
    return {
        "id": f"chatcmpl-{chance.digest(seed, request).hex()[:29]}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model_name or body.get("model"),
        "choices": [_choice(place, content) for place, content in enumerate(contents)],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
        "system_fingerprint": FINGERPRINT,
    }


def _choice(place: int, content: str) -> JsonObject:
    message = {"role": "assistant", "content": content, "refusal": None}
    return {"index": place, "finish_reason": "stop", "message": message}


def _content(body: JsonObject, texts: list[str], seed: str) -> str:
    last = texts[-1] if texts else ""
    wanted = body.get("response_format")
    if not isinstance(wanted, dict):
        return f"echo: {last}"
    if wanted.get("type") == "json_schema":
        chooser = Chooser("\n".join(texts), seed=seed)
        return json.dumps(instance(_schema(wanted), chooser), ensure_ascii=False)
    if wanted.get("type") == "json_object":
        return json.dumps({"echo": last}, ensure_ascii=False)
    return f"echo: {last}"


def _schema(wanted: JsonObject) -> Json:
    named = wanted.get("json_schema")
    return named.get("schema", {}) if isinstance(named, dict) else {}


def _tokens(text: str) -> int:
    """The usual rule of thumb: four characters a token."""
    return 1 + len(text) // 4
