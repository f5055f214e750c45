"""The environment, read once and strictly."""

from pathlib import Path

import pytest

from proxy.settings import (
    ListenAddress,
    SettingsError,
    TracingSettings,
    child_environment,
    client_settings,
    colours_wanted,
    read_settings,
    secret_variable,
    wants_to_stay,
)


def test_defaults_listen_on_loopback_only() -> None:
    """Without any variable nothing is reachable from another host."""
    settings = read_settings(environ={})
    addresses = (settings.proxy_listen, settings.control_listen, settings.health_listen)
    assert [str(a) for a in addresses] == ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"]
    assert all(address.is_loopback for address in addresses)
    assert settings.policy_path == Path("config/policy.yaml")
    assert (settings.log, settings.control_token, settings.drain_s) == ("stdout", None, 10.0)


def test_the_soft_mark_of_memory_is_in_bytes_and_unset_is_not_zero() -> None:
    """Unset asks for the container's limit; 0 turns it off."""
    assert read_settings(environ={}).memory_soft_bytes is None
    assert read_settings(environ={"TOOLBOOTH_MEMORY_SOFT_MIB": "0"}).memory_soft_bytes == 0
    settings = read_settings(environ={"TOOLBOOTH_MEMORY_SOFT_MIB": "400"})
    assert settings.memory_soft_bytes == 400 * 1024 * 1024
    with pytest.raises(SettingsError, match="TOOLBOOTH_MEMORY_SOFT_MIB"):
        read_settings(environ={"TOOLBOOTH_MEMORY_SOFT_MIB": "much"})


def test_the_cap_of_one_client() -> None:
    assert read_settings(environ={}).max_per_client == 10_000
    settings = read_settings(environ={"TOOLBOOTH_MAX_CONNECTIONS_PER_CLIENT": "20"})
    assert settings.max_per_client == 20


def test_the_directory_of_the_ca_is_for_the_sidecar_and_the_command_line() -> None:
    environ = {"TOOLBOOTH_CA_DIR": "/var/ca"}
    assert read_settings(environ=environ).ca_dir == Path("/var/ca")
    assert client_settings(environ).ca_dir == Path("/var/ca")
    assert read_settings(environ={}).ca_dir is None


def test_the_command_line_wins_over_the_variable() -> None:
    """`--policy` is more specific than TOOLBOOTH_POLICY."""
    environ = {"TOOLBOOTH_POLICY": "a.yaml"}
    assert read_settings(environ=environ).policy_path == Path("a.yaml")
    assert read_settings("b.yaml", environ).policy_path == Path("b.yaml")


def test_the_audit_log_and_its_key(tmp_path: Path) -> None:
    """The key from its file, as a mounted secret is."""
    assert (read_settings(environ={}).audit_path, read_settings(environ={}).audit_key) == (
        None,
    ) * 2
    (tmp_path / "key").write_text("0123456789abcdef\n")
    environ = {"TOOLBOOTH_AUDIT": "a.log", "TOOLBOOTH_AUDIT_KEY_FILE": str(tmp_path / "key")}
    settings = read_settings(environ=environ)
    assert (settings.audit_path, settings.audit_key) == (Path("a.log"), b"0123456789abcdef")


BAD = [
    pytest.param({"TOOLBOOTH_PROXY_LISTEN": "8080"}, "HOST:PORT", id="a port alone"),
    pytest.param({"TOOLBOOTH_PROXY_LISTEN": "h:99999"}, "HOST:PORT", id="a port too large"),
    pytest.param({"TOOLBOOTH_PROXY_LISTEN": "unix:/x"}, "HOST:PORT", id="a proxy on a socket file"),
    pytest.param({"TOOLBOOTH_CONTROL_LISTEN": "unix:"}, "path", id="a socket without path"),
    pytest.param({"TOOLBOOTH_CONTROL_LISTEN": "0.0.0.0:1"}, "TOKEN", id="open without a token"),
    pytest.param(
        {"TOOLBOOTH_CONTROL_LISTEN": "0.0.0.0:1", "TOOLBOOTH_VIEWER_TOKEN": "v"},
        "TOKEN", id="open with a viewer's token only",
    ),
    pytest.param({"TOOLBOOTH_VIEWER_TOKEN": "v"}, "nobody", id="a viewer without an admin"),
    pytest.param(
        {"TOOLBOOTH_VIEWER_TOKEN": "t", "TOOLBOOTH_CONTROL_TOKEN": "t"}, "differ", id="one for both"
    ),
    pytest.param(
        {"TOOLBOOTH_CONTROL_TOKEN": "t", "TOOLBOOTH_CONTROL_TOKEN_FILE": "/x"}, "both",
        id="a token and a file",
    ),
    pytest.param(
        {"TOOLBOOTH_CONTROL_TOKEN_FILE": "/does/not/exist"}, "cannot be read", id="a missing file"
    ),
    pytest.param({"TOOLBOOTH_AUDIT": "logs/"}, "path of a file", id="an audit log in a folder"),
    pytest.param({"TOOLBOOTH_AUDIT_KEY": "k" * 16}, "no log", id="a key without an audit log"),
    pytest.param(
        {"TOOLBOOTH_AUDIT": "a.log", "TOOLBOOTH_AUDIT_KEY": "k" * 15}, "16 characters",
        id="a key that can be guessed",
    ),
    pytest.param({"TOOLBOOTH_DRAIN_SECONDS": "soon"}, "number", id="a grace that is no number"),
    pytest.param({"TOOLBOOTH_DRAIN_SECONDS": "-1"}, "number", id="a negative grace"),
    pytest.param({"TOOLBOOTH_STATE": "redis://x"}, "no Redis", id="a store this version lacks"),
    pytest.param({"TOOLBOOTH_STATE": "rediss://x"}, "no Redis", id="the same with TLS"),
    pytest.param({"TOOLBOOTH_STATE": "memory:x"}, "expected", id="a place in memory"),
    pytest.param({"TOOLBOOTH_STATE": "/var/state.db"}, "expected", id="state without a scheme"),
    pytest.param({"TOOLBOOTH_STATE": "sqlite:"}, "path", id="a file without path"),
    pytest.param({"TOOLBOOTH_STATE": "sqlite::memory:"}, "path", id="a file that is none"),
    pytest.param({"TOOLBOOTH_STATE": "sqlite:/x/"}, "path", id="a file that is a folder"),
    pytest.param({"TOOLBOOTH_STATE": "sqlite:x?mode=ro"}, "path", id="a file with parameters"),
    pytest.param({"TOOLBOOTH_STATE": "sqlite://x/y"}, "not a host", id="a file on a host"),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "words"), BAD)
def test_what_is_wrong_is_named(environ: dict[str, str], words: str) -> None:
    """One sentence with the variable's name; never a start with a setting that does not hold."""
    with pytest.raises(SettingsError, match=words):
        read_settings(environ=environ)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param("", None, id="memory unless said otherwise"),
        pytest.param("memory:", None, id="memory"),
        pytest.param("sqlite:/var/lib/state.db", "/var/lib/state.db", id="a file"),
        pytest.param("sqlite:state.db", "state.db", id="a file in the working folder"),
        pytest.param("sqlite:///var/state.db", "/var/state.db", id="a file as a URL"),
    ],
)
def test_where_state_lives(text: str, path: str | None) -> None:
    """In memory, or in a file."""
    found = read_settings(environ={"TOOLBOOTH_STATE": text}).state_path
    assert found == (None if path is None else Path(path))


def test_a_password_in_the_url_of_a_store_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(environ={"TOOLBOOTH_STATE": "redis://:s3cret@host"})
    assert "s3cret" not in str(refused.value)


def test_tokens_come_from_files(tmp_path: Path) -> None:
    """The first line of the file, without its newline; an empty file is an error."""
    path = tmp_path / "token"
    path.write_text("s3cret\nmore\n")
    environ = {"TOOLBOOTH_CONTROL_TOKEN_FILE": str(path)}
    assert client_settings(environ).control_token == "s3cret"
    path.write_text("")
    with pytest.raises(SettingsError, match="empty"):
        client_settings(environ)


def test_budget_variables_are_passed_on_and_empty_ones_are_not() -> None:
    """AGENT_MAX_* override the policy; an empty variable means unset."""
    environ = {"AGENT_MAX_STEPS": "3", "AGENT_MAX_SECONDS": "", "AGENT_NAME": "x"}
    assert read_settings(environ=environ).budget_overrides == {"AGENT_MAX_STEPS": "3"}


@pytest.mark.parametrize(
    ("text", "host", "loopback"),
    [("[::1]:80", "::1", True), ("localhost:80", "localhost", True), ("[::]:80", "::", False)],
)
def test_ipv6_addresses_stand_in_brackets(text: str, host: str, loopback: bool) -> None:
    """As in a URL."""
    address = read_settings(environ={"TOOLBOOTH_PROXY_LISTEN": text}).proxy_listen
    assert address == ListenAddress("tcp", host, 80)
    assert address.is_loopback is loopback


def test_the_demo_passes_no_proxy_and_no_settings_on() -> None:
    """Neither a proxy nor a sidecar's settings of the caller reach the demo's processes."""
    environ = {"HTTP_PROXY": "x", "no_proxy": "x", "TOOLBOOTH_LOG": "x", "PATH": "p"}
    assert child_environment(environ) == {"PATH": "p"}
    assert wants_to_stay({"DEMO_STAY": "1"})
    assert not wants_to_stay({"DEMO_STAY": "0"})
    assert not colours_wanted({"NO_COLOR": "1"})


def test_a_tool_s_secret_is_read_by_the_name_the_policy_gives() -> None:
    assert secret_variable("KEY", {"KEY": "sk-1"}) == "sk-1"
    assert secret_variable("OTHER", {"KEY": "sk-1"}) is None


TRACES = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
ENDPOINTS = [
    pytest.param({}, None, id="off where no endpoint is named"),
    pytest.param(TRACES, "http://collector:4318/v1/traces", id="the shared endpoint gets a path"),
    pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/x/"}, "https://c/x/v1/traces",
                 id="behind the one it has"),
    pytest.param({**TRACES, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/spans"},
                 "http://t/spans", id="that of traces is taken as it is"),
    pytest.param({**TRACES, "OTEL_SDK_DISABLED": "TRUE"}, None, id="the SDK is off"),
    pytest.param({**TRACES, "OTEL_TRACES_EXPORTER": "none"}, None, id="no traces are wanted"),
    pytest.param({**TRACES, "OTEL_TRACES_EXPORTER": "otlp"}, "http://collector:4318/v1/traces",
                 id="they are"),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "endpoint"), ENDPOINTS)
def test_where_spans_go(environ: dict[str, str], endpoint: str | None) -> None:
    tracing = read_settings(environ=environ).tracing
    assert (tracing.endpoint if tracing is not None else None) == endpoint


def test_the_queue_of_spans_is_as_the_sdks_processor_has_it() -> None:
    tracing = read_settings(environ=TRACES).tracing
    assert tracing == TracingSettings("http://collector:4318/v1/traces", 2048, 512, 5.0)
    sizes = {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_SCHEDULE_DELAY": "250"}
    tracing = read_settings(environ={**TRACES, **sizes}).tracing
    assert tracing == TracingSettings("http://collector:4318/v1/traces", 100, 100, 0.25)


UNKNOWN = [
    ("OTEL_TRACES_EXPORTER", "console"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[bad"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:port"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
    ("OTEL_TRACES_SAMPLER", "sometimes"),
    ("OTEL_TRACES_SAMPLER_ARG", "7"),
    ("OTEL_PROPAGATORS", "b3"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "hushhush"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "10000"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
    ("OTEL_BSP_SCHEDULE_DELAY", "1.5"),
]


@pytest.mark.parametrize(("name", "value"), UNKNOWN)
def test_what_would_be_done_otherwise_is_refused_where_spans_are_wanted(
    name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        read_settings(environ={**TRACES, name: value})
    assert "hushhush" not in str(refused.value)
    if name not in TRACES:
        assert read_settings(environ={name: value}).tracing is None
