from pathlib import Path

from proxy.policy.compile import load_policy
from proxy.policy.reference import policy_schema, reference_text


def test_the_page_on_disk_is_the_page_of_the_schema() -> None:
    assert Path("docs/policy.md").read_text(encoding="utf-8") == reference_text()


def test_every_key_is_on_the_page_with_a_meaning() -> None:
    page = reference_text()
    definitions = [policy_schema(), *policy_schema()["$defs"].values()]
    keys = {key for part in definitions for key in part.get("properties", {})}
    assert len(keys) > 60
    assert [key for key in sorted(keys) if f"| `{key}` |" not in page] == []
    assert "| None |" not in page


def test_the_example_on_the_page_loads_without_warning() -> None:
    example = reference_text().partition("```yaml\n")[2].partition("```")[0]
    assert load_policy(example).warnings == ()


def test_the_schema_refuses_unknown_keys() -> None:
    assert policy_schema()["additionalProperties"] is False
