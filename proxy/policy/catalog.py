"""The shape of a catalog entry: where a tool is, how it is reached, and what its calls mean."""

from typing import Literal, Self

from pydantic import Field, model_validator

from proxy.policy.fields import (
    Cidr,
    CredentialHeader,
    HeaderName,
    HostPattern,
    McpToolName,
    Method,
    PathGlob,
    Port,
    PositiveCount,
    QueryName,
    Seconds,
    SecretFormat,
    SecretPlaceholder,
    UpstreamUrl,
    Usd,
    VariableName,
)
from proxy.policy.section import Section


class Match(Section):
    """One destination. All that is given must fit."""

    host: HostPattern = Field(
        description="Exact name, IP address, `*.suffix` (one or more labels, never the suffix "
        "itself) or `*`."
    )
    ports: list[Port] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description='Ports; any unless given, or with `["*"]`.',
    )
    methods: list[Method] | None = Field(
        None, min_length=1, description="Methods, in capitals; any unless given. GET brings HEAD."
    )
    paths: list[PathGlob] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Globs over the raw path; any unless given.",
    )


class PricingUsd(Section):
    """Prices of a model's tokens, applied to the `usage` of its answers."""

    input_usd_per_mtok: Usd = Field(description="USD per million input tokens.")
    output_usd_per_mtok: Usd = Field(description="USD per million output tokens.")


class Idempotency(Section):
    """Makes writes that carry the header retryable."""

    header: HeaderName = Field("idempotency-key", description="The header that carries the key.")
    ttl_seconds: Seconds = Field(600.0, description="How long the upstream is said to know a key.")


class Credentials(Section):
    """A secret that the agent never holds, added on the way to `upstream`. Named, never written."""

    header: CredentialHeader = Field(
        "authorization", description="The header to set; the agent's own is dropped."
    )
    format: SecretFormat = Field("Bearer {secret}", description="Its value around the secret.")
    secret_env: VariableName | None = Field(None, description="Environment variable to read.")
    secret_file: str | None = Field(
        None,
        min_length=1,
        max_length=4096,
        description="File to read (its first line), again whenever it changes.",
    )
    placeholder: SecretPlaceholder | None = Field(
        None,
        description="A text that stands for the secret where the agent sends it as its key: in the "
        "headers `Authorization`, `X-Api-Key`, `Api-Key` and `X-Goog-Api-Key`.",
    )
    placeholder_query: list[QueryName] = Field(
        [],
        max_length=16,
        description="Query parameters in which it stands for the secret too, if it is all of their "
        "value.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.secret_env is None) == (self.secret_file is None):
            raise ValueError("needs either 'secret_env' or 'secret_file'")
        if self.placeholder_query and self.placeholder is None:
            raise ValueError("'placeholder_query' needs a 'placeholder'")
        return self


class Tunnel(Section):
    """Limits of a `CONNECT` tunnel that is not intercepted."""

    raw: bool = Field(
        False, description="Let through what is neither TLS nor HTTP (SSH, database protocols)."
    )
    max_seconds: Seconds | None = Field(None, description="A tunnel is closed when it is this old.")
    max_bytes: PositiveCount | None = Field(
        None, description="A tunnel is closed after this many bytes, both ways together."
    )


class McpTool(Section):
    """One tool of an MCP server, where it differs from its server."""

    effect: Literal["read", "write"] | None = Field(
        None, description="As the entry's `effect` unless given; `write` where neither says."
    )
    cost_usd: Usd | None = Field(None, description="As the entry's `cost_usd` unless given.")


class CatalogEntry(Section):
    """One tool: where it is and what its calls mean."""

    match: list[Match] = Field(
        [], max_length=1000, description="Its destinations; one that fits is enough."
    )
    upstream: UpstreamUrl | None = Field(
        None, description="URL that the gateway path `/tools/NAME/` forwards to."
    )
    kind: Literal["tool", "model", "mcp"] = Field(
        "tool", description="Calls of a `model` are steps of the run, the rest are tool calls."
    )
    effect: Literal["read", "write"] | None = Field(
        None, description="By method unless given: GET, HEAD and OPTIONS read, the rest write."
    )
    cost_usd: Usd = Field(0.0, description="Price of one call.")
    pricing: PricingUsd | None = Field(None, description="Prices of tokens, for `kind: model`.")
    allow_addresses: list[Cidr] = Field(
        [],
        max_length=1000,
        description="CIDRs opened to this tool though they are not public. A metadata service "
        "opens only by its exact address (`/32`, `/128`).",
    )
    intercept_tls: bool = Field(
        False,
        description="Open the TLS of tunnels to this tool and judge each request inside. Its "
        "clients must trust the sidecar's CA (`toolbooth ca export`).",
    )
    trust_file: str | None = Field(
        None,
        min_length=1,
        max_length=4096,
        description="PEM file of the CAs that may vouch for its upstream, in place of the "
        "system's.",
    )
    tunnel: Tunnel = Field(Tunnel(), description="Limits of opaque tunnels to this tool.")
    retry_writes: bool = Field(False, description="Its writes may be repeated safely.")
    idempotency: Idempotency | None = Field(None, description="Retries of writes with a key.")
    credentials: Credentials | None = Field(
        None, description="A secret that is added on the way to `upstream`."
    )
    tools: dict[McpToolName, McpTool] = Field(
        {}, max_length=1000, description="Its single tools, for `kind: mcp`."
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not self.match and self.upstream is None:
            raise ValueError("needs 'match' or 'upstream', or no call can reach it")
        if self.credentials is not None and self.upstream is None:
            raise ValueError("'credentials' needs 'upstream', the one origin they are sent to")
        if self.tools and self.kind != "mcp":
            raise ValueError("'tools' is for 'kind: mcp'")
        return self
