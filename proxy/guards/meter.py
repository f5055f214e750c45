"""What one call of a model costs: guessed before it is made, read from its answer after it.

The guess is held while the call is under way (see `amount.py`) and charged where the answer does
not say what it used, so that leaving early, breaking off or an answer nobody can read is never
cheaper than an honest one.
"""

import re

import orjson

from proxy.guards.amount import NO_ESTIMATE, Estimate
from proxy.guards.usage import Usage, token_count
from proxy.guards.usage_reader import UsageReader
from proxy.policy.policy import Pricing
from proxy.wire.head import RequestHead, ResponseHead, field_values

_BYTES_PER_TOKEN = 4  # of text in a request, roughly
_MTOK = 1_000_000
# Where a request says how much it wants at most. Gemini has it in `generationConfig`, Ollama in
# `options`.
_OUTPUT_LIMITS = (
    "max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict",
)  # fmt: skip
_NO_WEIGHT = re.compile(rb"[ \t]*q[ \t]*=[ \t]*0(?:\.0*)?[ \t]*")  # RFC 9110 section 12.4.2


def price_micros(pricing: Pricing | None, usage: Usage) -> int:
    """The price of these tokens in micros of a dollar, a begun micro counted whole."""
    if pricing is None:
        return 0
    total = (
        usage.input_tokens * pricing.input_micros_per_mtok
        + usage.output_tokens * pricing.output_micros_per_mtok
    )
    return -(-total // _MTOK)


def estimate_call(pricing: Pricing | None, content: bytes, size_bytes: int) -> Estimate:
    """What a call may use: its content's bytes as text, and as much output as it says it wants.

    `content` is the whole content, or empty where it was not kept; then its output is not known.
    """
    usage = Usage(-(-size_bytes // _BYTES_PER_TOKEN), _stated_limit(content))
    micros = price_micros(pricing, usage)
    return Estimate(max(1, micros) if pricing is not None else 0, usage.tokens)


def _stated_limit(content: bytes) -> int:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return 0
    if not isinstance(document, dict):
        return 0
    counts = []
    for place in (document, document.get("generationConfig"), document.get("options")):
        if isinstance(place, dict):
            counts += [token_count(place.get(name)) or 0 for name in _OUTPUT_LIMITS]
    return max(counts, default=0)


def readable_coding(head: RequestHead) -> bytes:
    """The Accept-Encoding line to send in place of the client's: of what it takes, only what can
    be read in passing."""
    takes: dict[bytes, bool] = {}
    for value in field_values(head, b"accept-encoding"):
        for member in value.lower().split(b","):
            coding, _, weight = member.partition(b";")
            takes[coding.strip()] = _NO_WEIGHT.fullmatch(weight) is None
    is_taken = takes.get(b"gzip", takes.get(b"*", False))
    return b"Accept-Encoding: gzip" if is_taken else b"Accept-Encoding: identity"


class Meter:
    """The meter of one call. `estimate`: what is held for it. After the call `used` is what it is
    charged beyond its fixed price."""

    __slots__ = ("_pricing", "_reader", "_status", "estimate")

    def __init__(self, pricing: Pricing | None, estimate: Estimate = NO_ESTIMATE) -> None:
        self._pricing = pricing
        self._reader: UsageReader | None = None
        self._status = 0  # no answer yet
        self.estimate = estimate

    def filter_for(self, head: ResponseHead) -> UsageReader | None:
        """What reads the answer with this head; None for one that failed, which uses nothing."""
        self._status = head.status
        if 200 <= head.status < 300 and head.status != 204:
            self._reader = UsageReader(head)
        return self._reader

    @property
    def is_unread(self) -> bool:
        """A whole answer has passed, and what it used could not be told from it."""
        reader = self._reader
        return reader is not None and reader.is_over and reader.usage is None

    @property
    def usage(self) -> Usage | None:
        """What the answer has said so far that it used; None: nothing."""
        return self._reader.usage if self._reader is not None else None

    @property
    def used(self) -> Estimate:
        """Micros and tokens of a call whose request went out.

        A whole answer costs what it says. One that broke off, was left or never began costs what
        it said so far or the estimate, whichever is more: the model has worked all the same.
        """
        if self._status and self._reader is None:
            return NO_ESTIMATE
        seen = self._reader.usage if self._reader is not None else None
        if seen is None:
            return self.estimate
        micros = price_micros(self._pricing, seen)
        if self._reader is not None and self._reader.is_over:
            return Estimate(micros, seen.tokens)
        return Estimate(max(micros, self.estimate.micros), max(seen.tokens, self.estimate.tokens))
