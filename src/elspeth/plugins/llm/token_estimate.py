"""How many tokens requests come to, by rule of thumb: no tokenizer's tables can be had without a network.

A token is about four bytes of English as UTF-8; words of other languages, numbers and
code run from two to six. What is fixed in every line (id, URL, names of fields) is not
counted, a schema that is sent along is.
"""

from __future__ import annotations

from msgspec import Struct

from elspeth.contracts import Bounds, TokenEstimate

__all__ = ["TokenRule"]

_BYTES_A_TOKEN = Bounds(low=6, likely=4, ceiling=2)
_FRAME_TOKENS = Bounds(low=4, likely=10, ceiling=20)  # roles and separators of a chat
_REPLY_TOKENS = Bounds(low=5, likely=100, ceiling=1_000)
_REASONED_REPLY_TOKENS = Bounds(low=50, likely=1_000, ceiling=8_000)


class TokenRule(Struct, frozen=True, kw_only=True):
    """Estimates for one step. ``fixed_bytes`` of each line are no prompt.

    ``max_output_tokens`` is what the request allows; without it the ceiling of a reply is an assumption.
    """

    fixed_bytes: int
    max_output_tokens: int | None
    is_reasoning: bool

    @property
    def reply(self) -> Bounds:
        """The tokens of one reply."""
        assumed = _REASONED_REPLY_TOKENS if self.is_reasoning else _REPLY_TOKENS
        most = self.max_output_tokens
        if most is None:
            return assumed
        return Bounds(low=min(assumed.low, most), likely=min(assumed.likely, most), ceiling=most)

    def estimate(self, *, requests: int, size_bytes: int) -> TokenEstimate:
        """For so many requests of so many bytes together."""
        prompts = max(size_bytes - requests * self.fixed_bytes, 0)
        taken = [
            prompts // per_token + requests * frame
            for per_token, frame in zip(_BYTES_A_TOKEN, _FRAME_TOKENS, strict=True)
        ]
        given = [requests * tokens for tokens in self.reply]
        return TokenEstimate(input=Bounds(*taken), output=Bounds(*given), is_assumed=self.max_output_tokens is None)
