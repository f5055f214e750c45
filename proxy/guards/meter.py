"""What one call of a model costs: guessed before it is made, read from its answer after it.

The guess is held while the call is under way (see `amount.py`). Where the answer does not say what
it used, the guess and what went by are charged, so that leaving early, breaking off or an answer
nobody can read is hardly cheaper than an honest one. Hardly: an event of a stream may carry more
than the one token it counts for.
"""

import re

from proxy.guards.amount import NO_ESTIMATE, Estimate
from proxy.guards.document import DocumentError, read_document
from proxy.guards.usage import Usage, token_count
from proxy.guards.usage_reader import BYTES_PER_TOKEN, UsageReader
from proxy.policy.policy import Pricing
from proxy.wire.head import RequestHead, ResponseHead, field_values

# Of a request that does not say how much it wants, or not so that it can be read. Nothing would let
# any number of calls at once count on the same rest.
ASSUMED_OUTPUT_TOKENS = 4096
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


def guess_usage(content: bytes, size_bytes: int) -> Usage:
    """What a call may use: its content's bytes as text, and as much output as it says it wants.

    `content` is the whole content, or empty where it was not kept; then its output is assumed.
    """
    return Usage(-(-size_bytes // BYTES_PER_TOKEN), _stated_limit(content) or ASSUMED_OUTPUT_TOKENS)


def _stated_limit(content: bytes) -> int:
    """Tokens; 0: none is said."""
    try:
        document = read_document(content)
    except DocumentError:
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
    """The meter of one call. `guess`: what it may use; None where nothing depends on it.

    `estimate`: what is held for it. After the call `used` is what it is charged beyond its fixed
    price.
    """

    __slots__ = ("_guess", "_pricing", "_reader", "_status", "estimate")

    def __init__(self, pricing: Pricing | None, guess: Usage | None = None) -> None:
        self._guess = guess
        self._pricing = pricing
        self._reader: UsageReader | None = None
        self._status = 0  # no answer yet
        self.estimate = NO_ESTIMATE if guess is None else self._guessed(guess)

    def filter_for(self, head: ResponseHead) -> UsageReader | None:
        """What reads the answer with this head; None for one that failed, which uses nothing."""
        self._status = head.status
        if 200 <= head.status < 300 and head.status != 204:
            self._reader = UsageReader(head)
        return self._reader

    @property
    def is_unread(self) -> bool:
        """A whole answer has passed, and what it used could not be told from all of it."""
        reader = self._reader
        if reader is None or not reader.is_over:
            return False
        return reader.usage is None or not reader.is_complete

    @property
    def usage(self) -> Usage | None:
        """What the answer has said so far that it used; None: nothing."""
        return self._reader.usage if self._reader is not None else None

    @property
    def used(self) -> Estimate:
        """Micros and tokens of a call whose request went out.

        An answer read whole costs what it says; a stream that says nothing, its events. All else
        costs what it said so far, what went by or the guess, whichever is more: the model has
        worked all the same, be it that the answer broke off, was left, never began, or could not
        be read.
        """
        reader, guess = self._reader, self._guess
        if reader is None:
            return NO_ESTIMATE if self._status else self.estimate
        seen = reader.usage
        if seen is not None and (guess is None or reader.is_complete):
            return self._exactly(seen)
        if guess is None:
            return NO_ESTIMATE
        if reader.is_stream and reader.is_complete:
            return self._guessed(Usage(guess.input_tokens, max(1, reader.passed_tokens)))
        least = guess.joined(Usage(0, reader.passed_tokens))
        return self._guessed(least if seen is None else least.joined(seen))

    def _exactly(self, usage: Usage) -> Estimate:
        return Estimate(price_micros(self._pricing, usage), usage.tokens)

    def _guessed(self, usage: Usage) -> Estimate:
        """At least a micro where there is a price, so that a call always waits for some rest."""
        least = 0 if self._pricing is None else 1
        return Estimate(max(least, price_micros(self._pricing, usage)), usage.tokens)
