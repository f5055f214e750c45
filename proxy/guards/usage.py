"""What a model's answer says it used, in the words of each maker.

The answer comes from outside: a number that is none (negative, a text, true) counts as not said,
one that is absurd as the most there can be, and nothing in it can make a total smaller. Pure, and
never raises.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

MAX_TOKENS = 1_000_000_000  # of one answer, in or out

# Names of input tokens, which add up, and of output tokens. First OpenAI's chat, then its
# responses and Anthropic's messages (whose input leaves out what came from or went into a cache),
# then Gemini's. A name of another maker is never in the same object.
_INPUTS = (
    ("prompt_tokens",),
    ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    ("promptTokenCount", "toolUsePromptTokenCount"),
    ("prompt_eval_count",),
)
_OUTPUTS = (
    ("completion_tokens",),
    ("output_tokens",),
    ("candidatesTokenCount", "thoughtsTokenCount"),
    ("eval_count",),
)
_TOTALS = ("total_tokens", "totalTokenCount")  # all that some say, of embeddings
_NAMES = frozenset(name for names in (*_INPUTS, *_OUTPUTS, _TOTALS) for name in names)
_MAX_PARTS = 10_000  # of an array looked at, the last ones: a later one says the sum so far


class Usage(NamedTuple):
    """Tokens of one call."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Both."""
        return self.input_tokens + self.output_tokens

    def joined(self, other: "Usage") -> "Usage":
        """Both of one answer: what a stream says later is the sum so far, and never less."""
        return Usage(
            max(self.input_tokens, other.input_tokens),
            max(self.output_tokens, other.output_tokens),
        )


def usage_of(document: object) -> Usage | None:
    """The usage in a parsed answer or in one event of a stream; None: it says nothing of it.

    Looked for where the makers put it: `usage` or `usageMetadata` at the top, in the `response`
    (OpenAI's last event) or in the `message` (Anthropic's first one), and for Ollama the top
    itself. A list is a stream that came as one array.
    """
    found: Usage | None = None
    for place in _places(document):
        usage = _read(place)
        if usage is not None:
            found = usage if found is None else found.joined(usage)
    return found


def _places(document: object) -> Iterator[dict[str, object]]:
    for part in document[-_MAX_PARTS:] if isinstance(document, list) else [document]:
        if not isinstance(part, dict):
            continue
        for holder in (part, part.get("response"), part.get("message")):
            if isinstance(holder, dict):
                yield from _own_places(holder)
        yield part


def _own_places(holder: dict[str, object]) -> Iterator[dict[str, object]]:
    for name in ("usage", "usageMetadata"):
        place = holder.get(name)
        if isinstance(place, dict):
            yield place


def _read(place: dict[str, object]) -> Usage | None:
    if _NAMES.isdisjoint(place):
        return None
    inputs, outputs = _sum(place, _INPUTS), _sum(place, _OUTPUTS)
    if inputs is None and outputs is None:
        inputs = _sum(place, (_TOTALS,))
    if inputs is None and outputs is None:
        return None
    return Usage(inputs or 0, outputs or 0)


def _sum(place: dict[str, object], families: tuple[tuple[str, ...], ...]) -> int | None:
    """The largest of the sums of each family's numbers; None where there is no number."""
    sums = []
    for names in families:
        counts = [count for name in names if (count := token_count(place.get(name))) is not None]
        if counts:
            sums.append(min(sum(counts), MAX_TOKENS))
    return max(sums, default=None)


def token_count(value: object) -> int | None:
    """A number of tokens, at most MAX_TOKENS; None for what is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not value >= 0:  # also NaN
        return None
    return math.ceil(min(value, MAX_TOKENS))
