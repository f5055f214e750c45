"""The registry of names, against the packages that hold some of them."""

import pytest
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
)

from proxy.telemetry import span_names
from proxy.telemetry.span_names import operation_of

_STABLE = {
    value
    for module in (
        error_attributes, http_attributes, network_attributes, server_attributes, url_attributes,
    )
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}  # fmt: skip
_DEVELOPING = ("gen_ai.", "mcp.", "jsonrpc.", "toolbooth.")
_NAMES = {
    name: value
    for name, value in vars(span_names).items()
    if name.isupper() and isinstance(value, str) and "." in value and "/" not in value
}


@pytest.mark.parametrize("name", _NAMES)
def test_a_name_is_a_stable_one_or_of_a_namespace_that_has_none_yet(name: str) -> None:
    value = _NAMES[name]
    assert value in _STABLE or value.startswith(_DEVELOPING)


def test_no_two_constants_have_one_name() -> None:
    assert len(set(_NAMES.values())) == len(_NAMES) > 25


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/messages?beta=true", "chat"),
        ("/v1/completions", "text_completion"),
        ("/v1/embeddings", "embeddings"),
        ("/v1beta/models/gemini:streamGenerateContent?alt=sse", "generate_content"),
        ("/v1/models", ""),
        ("/v1/models?next=/chat/completions", ""),
    ],
)
def test_a_models_path_says_what_it_is_asked(path: str, operation: str) -> None:
    assert operation_of(path) == operation
