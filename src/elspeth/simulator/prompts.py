"""What a request says, and the choices that depend on it and on nothing else."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache

from elspeth.simulator import chance
from elspeth.simulator.json_values import Json, JsonObject

_WORD = re.compile(r"[^\W_]+")


def message_text(message: Json) -> str:
    """The text of a message whose content is a string or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and _has_text(part))


def user_texts(body: JsonObject) -> list[str]:
    """The users' messages; all of them if no user speaks."""
    messages = [message for message in body.get("messages") or [] if isinstance(message, dict)]
    users = [message for message in messages if message.get("role") == "user"]
    return [message_text(message) for message in users or messages]


class Chooser:
    """Choices for one prompt. `place` says where in the answer a choice is made."""

    def __init__(self, prompt: str, *, seed: str) -> None:
        self._prompt = prompt
        self._seed = seed

    def hash(self, place: str) -> str:
        return chance.digest(self._seed, self._key, place).hex()

    def index(self, length: int, *place: str) -> int:
        return chance.index(length, self._seed, self._key, *place)

    def fraction(self, place: str) -> float:
        return chance.fraction(self._seed, self._key, place)

    def option(self, options: Sequence[Json], place: str) -> Json:
        """The option whose words the prompt uses most; a tie, or none at all, goes by hash."""
        counts = [sum(self._words[word] for word in _words_of(str(option))) for option in options]
        best = [option for option, count in zip(options, counts, strict=True) if count == max(counts)]
        return best[self.index(len(best), place)] if len(best) > 1 else best[0]

    @cached_property
    def _words(self) -> Counter[str]:
        return Counter(_WORD.findall(self._prompt.lower()))

    @cached_property
    def _key(self) -> str:
        return chance.digest(self._prompt).hex()


@lru_cache(maxsize=4096)
def _words_of(option: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(option.lower()))


def _has_text(part: JsonObject) -> bool:
    return isinstance(part.get("text"), str)
