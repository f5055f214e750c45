"""The image and the compose file, read as data: what would weaken them shows up here.

No container engine is needed. That they build and start is for a machine that has one.
"""

import json
import re
import shlex
import subprocess
from typing import Any

import pytest
import yaml

from proxy.settings import ListenAddress, read_settings
from tests.repo.tree import ROOT

_SECRET_WORDS = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|API_?KEY", re.IGNORECASE)


def _instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            found.append((name.upper(), rest.strip()))
    return found


def _final_stage() -> list[tuple[str, str]]:
    instructions = _instructions()
    start = max(i for i, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[start:]


def _arguments(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for found, rest in stage if found == name]


def _pip_commands(verb: str) -> list[str]:
    parts = [part for rest in _arguments(_instructions(), "RUN") for part in rest.split("&&")]
    return [" ".join(part.split()) for part in parts if " pip " in part and f" {verb} " in part]


def _environment() -> dict[str, str]:
    pairs = [
        word.partition("=")
        for rest in _arguments(_final_stage(), "ENV")
        for word in shlex.split(rest)
    ]
    return {name: value for name, _, value in pairs}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


# --- the image ------------------------------------------------------------------------------


def test_the_image_runs_as_a_numeric_user_that_is_not_root() -> None:
    users = _arguments(_final_stage(), "USER")
    assert len(users) == 1
    user, _, group = users[0].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_nothing_after_the_user_needs_root() -> None:
    stage = _final_stage()
    after = stage[[name for name, _ in stage].index("USER") :]
    assert not {"RUN", "COPY", "ADD"} & {name for name, _ in after}


def test_dependencies_are_locked_by_hash_and_never_built() -> None:
    installs = [rest for rest in _pip_commands("install") if "--requirement" in rest]
    assert len(installs) == 2
    for command in installs:
        assert "--require-hashes" in command
        assert "--only-binary :all:" in command


def test_our_own_wheel_is_compiled_and_brings_nothing_along() -> None:
    """Built where the locked tools are, from what is there; not compiled is an error."""
    (build,) = _pip_commands("wheel")
    assert build.startswith("TOOLBOOTH_COMPILE=1 python -m pip --python /build/tools/bin/python ")
    assert "--no-build-isolation" in build
    (install,) = [rest for rest in _pip_commands("install") if "--requirement" not in rest]
    for command in (build, install):
        assert "--no-index" in command
        assert "--no-deps" in command


def test_the_system_packages_of_the_build_are_a_compiler_and_its_headers() -> None:
    commands = [part for rest in _arguments(_instructions(), "RUN") for part in rest.split("&&")]
    (install,) = [command for command in commands if "apt-get install" in command]
    words = install.split()
    assert [word for word in words[2:] if not word.startswith("-")] == ["gcc", "libc6-dev"]
    assert "--no-install-recommends" in words


def test_the_image_fetches_nothing_by_url() -> None:
    assert _arguments(_instructions(), "ADD") == []
    assert not any("http://" in rest or "https://" in rest for _, rest in _instructions())


def test_the_final_stage_runs_no_command_of_its_own() -> None:
    """Compilers, pip caches and shells of the build stay in the build."""
    assert _arguments(_final_stage(), "RUN") == []
    copies = _arguments(_final_stage(), "COPY")
    assert [copy.split()[-1] for copy in copies] == ["/opt/toolbooth", "/etc/toolbooth/policy.yaml"]


def test_no_secret_is_baked_in() -> None:
    for name, rest in _instructions():
        if name in ("ENV", "ARG"):
            assert not _SECRET_WORDS.search(rest)


def test_the_image_starts_the_sidecar_and_asks_it_for_its_health() -> None:
    stage = _final_stage()
    assert json.loads(_arguments(stage, "ENTRYPOINT")[0]) == ["toolbooth"]
    assert json.loads(_arguments(stage, "CMD")[0]) == ["run"]
    health = _arguments(stage, "HEALTHCHECK")[0]
    assert json.loads(health.partition("CMD ")[2]) == ["toolbooth", "health"]
    assert _arguments(stage, "STOPSIGNAL") == ["SIGTERM"]


def test_the_settings_of_the_image_are_settings_and_start_without_a_token() -> None:
    """The control API must stay on loopback: off it, the sidecar would refuse to start."""
    settings = read_settings(environ=_environment())
    assert settings.proxy_listen == ListenAddress("tcp", "0.0.0.0", 8080)
    assert settings.health_listen == ListenAddress("tcp", "0.0.0.0", 8082)
    assert settings.control_listen.is_loopback
    assert str(settings.policy_path) == "/etc/toolbooth/policy.yaml"
    assert _arguments(_final_stage(), "EXPOSE") == ["8080 8082"]


def test_the_build_context_is_a_list_of_what_may_enter() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    sources = {word for rest in _arguments(_instructions(), "COPY") if "--from" not in rest
               for word in rest.split()[:-1]}  # fmt: skip
    # A build of the tree leaves nothing that could get into that of the image.
    assert "**/*.so" in rules
    assert {source.rstrip("/") for source in sources} == allowed
    assert all((ROOT / source).exists() for source in allowed)


# --- compose --------------------------------------------------------------------------------


def test_the_agent_reaches_nothing_but_the_booth(compose: dict[str, Any]) -> None:
    agent = compose["services"]["agent"]
    assert agent["networks"] == ["inside"]
    assert compose["networks"]["inside"] == {"internal": True}
    assert set(compose["services"]["toolbooth"]["networks"]) == {"inside", "egress"}
    assert (
        not {"ports", "network_mode", "extra_hosts", "links", "volumes", "secrets"} & agent.keys()
    )


def test_every_proxy_variable_points_at_the_booth_and_names_the_run(
    compose: dict[str, Any],
) -> None:
    environment = compose["services"]["agent"]["environment"]
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        assert environment[name] == environment[name.lower()] == compose["x-booth"]
    assert re.fullmatch(r"http://\$\{RUN_ID:-[\w-]+\}:x@toolbooth:8080", compose["x-booth"])
    assert environment["NODE_USE_ENV_PROXY"] == "1"
    assert environment["NO_PROXY"] == environment["no_proxy"] == "localhost,127.0.0.1"


def test_the_agent_waits_for_a_healthy_booth(compose: dict[str, Any]) -> None:
    waits = compose["services"]["agent"]["depends_on"]
    assert waits == {"toolbooth": {"condition": "service_healthy"}}


@pytest.mark.parametrize("service", ["toolbooth", "agent"])
def test_a_service_can_do_and_write_as_little_as_possible(
    compose: dict[str, Any], service: str
) -> None:
    definition = compose["services"][service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "user"} & definition.keys()


def test_no_port_is_published(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "ports" in service] == []


def test_the_control_token_comes_from_a_file_the_agent_does_not_have(
    compose: dict[str, Any],
) -> None:
    booth = compose["services"]["toolbooth"]
    assert booth["environment"] == {"TOOLBOOTH_CONTROL_TOKEN_FILE": "/run/secrets/control_token"}
    assert booth["secrets"] == ["control_token"]
    assert set(compose["secrets"]["control_token"]) == {"file"}
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            assert name.endswith("_FILE") or not _SECRET_WORDS.search(f"{name}={value}")


def test_what_is_mounted_exists_and_is_read_only(compose: dict[str, Any]) -> None:
    for mount in compose["services"]["toolbooth"]["volumes"]:
        source, _, mode = mount.split(":")
        assert (ROOT / source).is_file()
        assert mode == "ro"


def test_the_drain_fits_the_grace(compose: dict[str, Any]) -> None:
    grace_s = int(compose["services"]["toolbooth"]["stop_grace_period"].removesuffix("s"))
    assert read_settings(environ={}).drain_s + 3 <= grace_s


# --- CI -------------------------------------------------------------------------------------


def test_ci_runs_the_command_of_the_readme_and_nothing_after_it() -> None:
    script = ROOT / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").split()
    text = script.read_text(encoding="utf-8")
    assert script.stat().st_mode & 0o111
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert lines[-3:] == ["exec", "make", "test"]
    assert {"gcc", "libc6-dev", "python3-dev"} <= set(re.findall(r"[\w-]+", text))
    subprocess.run(["bash", "-n", str(script)], check=True)
