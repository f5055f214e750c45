import pytest

from proxy.model.call import Effect
from proxy.policy.effect import effect_of
from tests.policy.documents import policy_of

TOOLS = policy_of("""
    plain: {upstream: http://x}
    reader: {upstream: http://x, effect: read}
    writer: {upstream: http://x, effect: write}
    server: {upstream: http://x, effect: write, kind: mcp}
""").tools


@pytest.mark.parametrize(
    ("tool", "method", "effect"),
    [
        ("plain", "GET", Effect.READ),
        ("plain", "HEAD", Effect.READ),
        ("plain", "OPTIONS", Effect.READ),
        ("plain", "POST", Effect.WRITE),
        ("plain", "TRACE", Effect.WRITE),
        ("plain", "get", Effect.WRITE),
        ("plain", "CONNECT", Effect.WRITE),
        ("reader", "POST", Effect.READ),
        ("reader", "CONNECT", Effect.READ),
        ("writer", "GET", Effect.WRITE),
        ("server", "POST", Effect.READ),
    ],
)
def test_effect(tool: str, method: str, effect: Effect) -> None:
    assert effect_of(TOOLS[tool], method) is effect
