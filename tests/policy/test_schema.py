"""The schema through its only door, `load_policy`: what is refused, with which path and line."""

import pytest

from proxy.policy.compile import load_policy
from proxy.policy.problem import PolicyError
from tests.policy.documents import problems_of

_ENTRY = "tools: {catalog: {a.b: {%s}}}"


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        pytest.param("toolz: {}", "toolz", "did you mean 'tools'", id="an unknown section"),
        pytest.param("tools: {allow_list: []}", "tools.allow_list", "'allowlist'", id="a typo"),
        pytest.param("tools: []", "tools", "mapping", id="a list for a mapping"),
        pytest.param("tools: {allowlist: a}", "tools.allowlist", "list", id="text for a list"),
        pytest.param("tools: {allowlist: [true]}", "tools.allowlist[0]", "quote", id="bool name"),
        pytest.param("tools: {allowlist: ['a*']}", "tools.allowlist[0]", "PREFIX", id="bad glob"),
        pytest.param(
            "tools: {writes_disabled: 1}", "tools.writes_disabled", "true", id="1 is no bool"
        ),
        pytest.param(
            "tools: {writes_disabled: 'yes'}", "tools.writes_disabled", "true", id="quoted yes"
        ),
        pytest.param(
            "tools: {timeouts_ms: {default: 0}}", "tools.timeouts_ms.default", "1", id="zero"
        ),
        pytest.param(
            "tools: {timeouts_ms: {default: true}}",
            "tools.timeouts_ms.default",
            "whole",
            id="bool number",
        ),
        pytest.param(
            "tools: {timeouts_ms: {default: 1.5}}",
            "tools.timeouts_ms.default",
            "whole",
            id="half a ms",
        ),
        pytest.param(
            "tools: {timeouts_ms: {default: '5'}}",
            "tools.timeouts_ms.default",
            "whole",
            id="quoted number",
        ),
        pytest.param(
            "tools: {timeouts_ms: {default: 86400001}}",
            "tools.timeouts_ms.default",
            "less",
            id="over a day",
        ),
        pytest.param(
            "tools: {retries: {max: 11}}", "tools.retries.max", "less", id="too many retries"
        ),
        pytest.param(
            "tools: {retries: {backoff_ms: []}}",
            "tools.retries.backoff_ms",
            "empty",
            id="no backoff",
        ),
        pytest.param(
            "tools: {retries: {budget_percent: .nan}}",
            "tools.retries.budget_percent",
            "finite",
            id="NaN",
        ),
        pytest.param(
            "tools: {retries: {budget_percent: 101}}",
            "tools.retries.budget_percent",
            "100",
            id="over 100",
        ),
        pytest.param(
            "tools: {concurrency: {default: 0}}", "tools.concurrency.default", "1", id="no slot"
        ),
        pytest.param(
            "tools: {circuit_breaker: {error_rate: 0}}",
            "tools.circuit_breaker.error_rate",
            "than 0",
            id="rate zero",
        ),
        pytest.param(
            "tools: {circuit_breaker: {error_rate: .inf}}",
            "tools.circuit_breaker.error_rate",
            "finite",
            id="infinite",
        ),
        pytest.param(
            "tools: {rate_limits: {default: {per_seconds: 1}}}",
            "tools.rate_limits",
            "requests",
            id="a rate of nothing",
        ),
        pytest.param(
            "tools: {rate_limits: {default: {requests: 1, scope: all}}}",
            "tools.rate_limits.default.scope",
            "'agent'",
            id="bad scope",
        ),
        pytest.param(
            "tools: {disabled: ['*']}", "tools.disabled", "wildcard", id="no wildcard switch"
        ),
        pytest.param(
            "budgets: {max_spend_usd: -1}", "budgets.max_spend_usd", "0", id="negative spend"
        ),
        pytest.param(
            "budgets: {max_spend_usd: .inf}", "budgets.max_spend_usd", "finite", id="infinite spend"
        ),
        pytest.param("budgets: {max_tokens: 1.0}", "budgets.max_tokens", "whole", id="float count"),
        pytest.param("budgets: {loop_limit: 0}", "budgets.loop_limit", "1", id="a loop of none"),
        pytest.param(
            "budgets: {warn_at: [1.1]}", "budgets.warn_at[0]", "1", id="warn past the end"
        ),
        pytest.param(
            "budgets: {on_missing_run: allow}",
            "budgets.on_missing_run",
            "'reject'",
            id="bad choice",
        ),
        pytest.param(
            "budgets: {run_header: Host}",
            "budgets.run_header",
            "HTTP itself",
            id="a header HTTP needs",
        ),
        pytest.param(
            "budgets: {run_header: 'a b'}", "budgets.run_header", "header name", id="not a header"
        ),
        pytest.param(
            "budgets: {run_header: X-A, agent_header: x-a}",
            "budgets",
            "differ",
            id="one header for two",
        ),
        pytest.param("budgets: {max_runs: 0}", "budgets.max_runs", "1", id="no run remembered"),
        pytest.param(
            "observability: {result_sample_rate: 1.01}",
            "observability.result_sample_rate",
            "1",
            id="over all",
        ),
        pytest.param(
            "observability: {redact: {patterns: ['(?=a)']}}",
            "observability.redact.patterns[0]",
            "RE2",
            id="look-ahead",
        ),
        pytest.param(
            "observability: {redact: {patterns: ['a*']}}",
            "observability.redact.patterns[0]",
            "empty",
            id="matches nothing",
        ),
        pytest.param(
            "rollout: {canary_percent: 101}", "rollout.canary_percent", "100", id="canary over 100"
        ),
        pytest.param(
            "rollout: {rollback_on_error_rate: 5}",
            "rollout.rollback_on_error_rate",
            "1",
            id="percent for ratio",
        ),
        pytest.param(
            "runtime: {env: {AGENT_MAX_STEPS: -1}}",
            "runtime.env.AGENT_MAX_STEPS",
            "0",
            id="negative steps",
        ),
        pytest.param(
            "runtime: {env: {AGENT_MAX_STEPS: many}}",
            "runtime.env.AGENT_MAX_STEPS",
            "whole",
            id="words",
        ),
        pytest.param(
            "runtime: {env: {AGENT_MAX_SECONDS: 0}}",
            "runtime.env.AGENT_MAX_SECONDS",
            "0",
            id="no time",
        ),
        pytest.param(
            "runtime: {env: {PATH: x}}", "runtime.env.PATH", "unknown key", id="other variable"
        ),
    ],
)
def test_what_is_refused(text: str, path: str, words: str) -> None:
    found = problems_of(text)
    assert [p.path for p in found] == [path], found
    assert words in found[0].message
    assert found[0].line == 1


@pytest.mark.parametrize(
    "text",
    [
        _ENTRY % "upstream: 'http://u:hunter2@x'",
        _ENTRY % "upstream: 'http://x:hunter2/'",
        _ENTRY % "upstream: http://x, credentials: {secret_env: hunter2-x}",
        _ENTRY % "upstream: http://x, credentials: {password: hunter2}",
        _ENTRY % "upstream: http://x, credentials: {secret_env: A, format: hunter2}",
        "budgets: {max_tokens: hunter2}",
    ],
)
def test_no_message_repeats_a_value(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(text)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(problems_of("a: b", {"AGENT_MAX_STEPS": "hunter2"}))


def test_every_problem_is_reported_at_once_in_file_order_with_its_line() -> None:
    text = """\
budgets:
  max_tokens: no
  nonsense: 1
tools:
  timeouts_ms: {default: -1}
  catalog:
    a:
      match:
      - {host: x, ports: [0]}
      - {port: 1}
    a: {}
  allowlist: [a]
  retries: {b: {max: 1}}
"""
    assert [(p.path, p.line) for p in problems_of(text)] == [
        ("budgets.max_tokens", 2),
        ("budgets.nonsense", 3),
        ("tools.timeouts_ms.default", 5),
        ("tools.catalog.a", 11),
        ("tools.retries.b", 13),
    ]  # what stands under a key given twice is read once the key is unique
    text = text.replace("    a: {}\n", "")
    assert ("tools.catalog.a.match[1].host", 10) in [(p.path, p.line) for p in problems_of(text)]


def test_a_problem_reads_as_path_line_and_sentence() -> None:
    text = str(problems_of("tools:\n  timeouts_ms:\n    default: 0")[0])
    assert text == "tools.timeouts_ms.default (line 3): must be greater than or equal to 1"


@pytest.mark.parametrize(
    "section",
    ["timeouts_ms: {serch.read: 5}", "retries: {serch.read: {max: 0}}", "disabled: [serch.read]",
     "rate_limits: {serch.read: {requests: 1}}", "concurrency: {serch.read: 1}"],
)  # fmt: skip
def test_an_unknown_tool_is_an_error_with_a_suggestion(section: str) -> None:
    found = problems_of(f"tools:\n  allowlist: [search.read]\n  {section}")
    assert len(found) == 1
    assert found[0].line == 3
    assert "unknown tool, did you mean 'search.read'?" in found[0].message


@pytest.mark.parametrize(
    "tools",
    [
        pytest.param("allowlist: [http.get], timeouts_ms: {http.get: 5}", id="on the allowlist"),
        pytest.param("allowlist: ['gh.*'], disabled: [gh.issue]", id="under a wildcard"),
        pytest.param(
            "allowlist: ['*'], disabled: [gh.issue], catalog: {gh: {kind: mcp, upstream: http://x}}",
            id="a tool of an MCP server",
        ),
        pytest.param("timeouts_ms: {http.get: 5}", id="nothing is allowed anyway"),
    ],
)
def test_known_tools(tools: str) -> None:
    assert load_policy(f"tools: {{{tools}}}").version


def test_malformed_environment_is_named() -> None:
    found = problems_of("", {"AGENT_MAX_STEPS": "ten", "AGENT_MAX_SECONDS": "-1"})
    assert {p.path for p in found} == {
        "environment variable AGENT_MAX_STEPS",
        "environment variable AGENT_MAX_SECONDS",
    }
