import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.usage import MAX_TOKENS, Usage, usage_of

ANSWERS = [
    pytest.param(
        {"usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}},
        Usage(9, 12), id="OpenAI chat completions",
    ),
    pytest.param(
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 12}},
        Usage(9, 12), id="the last chunk of its stream",
    ),
    pytest.param({"choices": [{}], "usage": None}, None, id="a chunk before it"),
    pytest.param(
        {"object": "response", "usage": {"input_tokens": 36, "output_tokens": 87,
         "input_tokens_details": {"cached_tokens": 30}}},
        Usage(36, 87), id="OpenAI responses, cached tokens among the input",
    ),
    pytest.param(
        {"type": "response.completed", "response": {"usage": {"input_tokens": 3,
         "output_tokens": 4}}},
        Usage(3, 4), id="the last event of its stream",
    ),
    pytest.param(
        {"type": "message", "usage": {"input_tokens": 10, "cache_creation_input_tokens": 5,
         "cache_read_input_tokens": 7, "output_tokens": 2}},
        Usage(22, 2), id="Anthropic messages, the cache added",
    ),
    pytest.param(
        {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1,
         "cache_read_input_tokens": None}}},
        Usage(10, 1), id="Anthropic's first event",
    ),
    pytest.param(
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 15}},
        Usage(0, 15), id="Anthropic's last but one",
    ),
    pytest.param(
        {"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 6,
         "thoughtsTokenCount": 9, "totalTokenCount": 19}},
        Usage(4, 15), id="Gemini, its thoughts added",
    ),
    pytest.param(
        [{"usageMetadata": {"promptTokenCount": 4}},
         {"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 6}}],
        Usage(4, 6), id="Gemini's stream as one array",
    ),
    pytest.param(
        {"done": True, "prompt_eval_count": 26, "eval_count": 298, "message": {"content": ""}},
        Usage(26, 298), id="Ollama",
    ),
    pytest.param(
        {"data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8, 0),
        id="embeddings",
    ),
    pytest.param({"usage": {"total_tokens": 8}}, Usage(8, 0), id="only a total"),
    pytest.param({"usage": {}}, None, id="an empty usage"),
    pytest.param({"usage": [1]}, None, id="a usage that is a list"),
    pytest.param({"usage": {"prompt_tokens": -5}}, None, id="negative"),
    pytest.param({"usage": {"prompt_tokens": True}}, None, id="true"),
    pytest.param({"usage": {"prompt_tokens": "7"}}, None, id="a text"),
    pytest.param({"usage": {"prompt_tokens": float("nan")}}, None, id="no number at all"),
    pytest.param({"usage": {"prompt_tokens": 7.2}}, Usage(8, 0), id="a broken one is rounded up"),
    pytest.param({"usage": {"prompt_tokens": 1e300}}, Usage(MAX_TOKENS, 0), id="absurd"),
    pytest.param({"usage": {"prompt_tokens": 10**40}}, Usage(MAX_TOKENS, 0), id="absurdly whole"),
    pytest.param(
        {"usage": {"prompt_tokens": -5, "completion_tokens": 3}}, Usage(0, 3),
        id="a negative one takes nothing away",
    ),
    pytest.param(
        {"usage": {"prompt_tokens": 1}, "response": {"usage": {"prompt_tokens": 5}}}, Usage(5, 0),
        id="said twice, the larger holds",
    ),
    pytest.param({"choices": [{"message": {"usage": {"prompt_tokens": 9}}}]}, None,
                 id="what the model itself writes is not read"),
    pytest.param("usage", None, id="a text"),
    pytest.param(None, None, id="nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), ANSWERS)
def test_usage_of(document: object, expected: Usage | None) -> None:
    assert usage_of(document) == expected


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
NAMES = st.sampled_from(
    ["usage", "usageMetadata", "response", "message", "prompt_tokens", "input_tokens",
     "output_tokens", "cache_read_input_tokens", "eval_count", "promptTokenCount", "total_tokens"]
)  # fmt: skip
DOCUMENTS = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_no_answer_hurts(document: object) -> None:
    """Whatever stands there: no error, nothing negative, nothing beyond the bound."""
    usage = usage_of(document)
    assert usage is None or (
        0 <= usage.input_tokens <= MAX_TOKENS and 0 <= usage.output_tokens <= MAX_TOKENS
    )


@given(DOCUMENTS, DOCUMENTS)
def test_a_later_event_never_makes_it_less(first: object, second: object) -> None:
    one, two = usage_of(first) or Usage(), usage_of(second) or Usage()
    joined = one.joined(two)
    assert joined.input_tokens >= one.input_tokens
    assert joined.output_tokens >= one.output_tokens
    assert joined.tokens >= max(one.tokens, two.tokens)


def test_of_a_long_array_the_last_parts_are_looked_at() -> None:
    """Each says the sum so far, so the last one says all."""
    parts: list[object] = [{"eval_count": 9}, *[{"eval_count": 7}] * 10_000]
    assert usage_of(parts) == Usage(0, 7)
    assert usage_of([*parts, {"eval_count": 8}]) == Usage(0, 8)
