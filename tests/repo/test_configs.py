"""Every policy that is shipped or shown loads, by the very function that loads it in production."""

import re
from pathlib import Path

import pytest

from proxy.policy.compile import load_policy
from proxy.policy.policy import Policy
from tests.policy.documents import EXTENDED, SMALL, WHOLE
from tests.repo.tree import ROOT

_CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_YAML_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def _shown_policies() -> list[tuple[str, str]]:
    """YAML blocks of the documentation that begin as a policy does."""
    found = []
    for page in _PAGES:
        for index, block in enumerate(_YAML_BLOCK.findall(page.read_text(encoding="utf-8"))):
            if re.match(r"(#.*\n)*(runtime|tools|budgets|observability):", block):
                found.append((f"{page.name} block {index}", block))
    return found


@pytest.mark.parametrize("path", [pytest.param(p, id=p.name) for p in _CONFIGS])
def test_a_shipped_policy_loads(path: Path) -> None:
    policy = load_policy(path.read_bytes())
    # The demo knows a tool it does not allow, to show what that looks like.
    assert policy.warnings == () or path.name == "demo.yaml"


def test_a_fresh_installation_allows_nothing() -> None:
    policy = load_policy((ROOT / "config" / "policy.yaml").read_bytes())
    assert not policy.tools
    assert not policy.allowlist


def test_the_examples_in_the_fresh_policy_load_once_they_are_uncommented() -> None:
    text = (ROOT / "config" / "policy.yaml").read_text(encoding="utf-8")
    text = re.sub(r"^( +)# ", r"\1", text, flags=re.MULTILINE).replace("catalog: {}", "catalog:")
    text = text.replace("allowlist: []", "allowlist: [search.read, llm, http.get]")
    policy = load_policy(text)
    assert list(policy.tools) == ["search.read", "llm", "http.get"]
    assert all(rule.allowed for rule in policy.tools.values())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SMALL, id="the shape operators write down for a deployment"),
        pytest.param(EXTENDED, id="everything that extends it"),
        pytest.param(WHOLE, id="both in one"),
    ],
)
def test_the_documents_of_the_contract_load(text: str) -> None:
    assert isinstance(load_policy(text), Policy)


@pytest.mark.parametrize("shown", [pytest.param(s, id=n) for n, s in _shown_policies()])
def test_a_policy_in_the_documentation_loads_without_warning(shown: str) -> None:
    assert load_policy(shown).warnings == ()


def test_the_readme_shows_a_policy() -> None:
    assert [name for name, _ in _shown_policies() if name.startswith("README")]
