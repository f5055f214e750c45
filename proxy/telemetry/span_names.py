"""The names of everything a span says: one registry, so that a name is changed in one place.

HTTP, URL, network, server and error attributes are the stable semantic conventions of
OpenTelemetry, schema 1.44.0. Those of GenAI and MCP are in development and in no stable Python
package: they follow the repository open-telemetry/semantic-conventions-genai as of autumn 2026
(pages mcp, execute-tool and gen-ai-spans). What they have no name for is ours, below
`toolbooth.`, and a promise like every name in a call record.

Values that come from outside and have no bound are no part of it: no path, no query, no header, no
content, and no session id of an MCP server, which opens the session for whoever knows it.
"""

SCOPE = "toolbooth"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

HTTP_METHOD = "http.request.method"
HTTP_METHOD_ORIGINAL = "http.request.method_original"
HTTP_STATUS = "http.response.status_code"
HTTP_RESEND_COUNT = "http.request.resend_count"
URL_SCHEME = "url.scheme"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
NETWORK_TRANSPORT = "network.transport"
NETWORK_PEER_ADDRESS = "network.peer.address"
ERROR_TYPE = "error.type"

GEN_AI_OPERATION = "gen_ai.operation.name"
GEN_AI_TOOL = "gen_ai.tool.name"
GEN_AI_PROVIDER = "gen_ai.provider.name"
GEN_AI_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"

MCP_METHOD = "mcp.method.name"
MCP_VERSION = "mcp.protocol.version"
JSONRPC_ID = "jsonrpc.request.id"

CALL_ID = "toolbooth.call.id"
RUN_ID = "toolbooth.run.id"
AGENT_ID = "toolbooth.agent.id"
TOOL = "toolbooth.tool"
KIND = "toolbooth.tool.kind"
MODE = "toolbooth.mode"
CODE = "toolbooth.code"
ATTEMPTS = "toolbooth.attempts"
QUEUE_MS = "toolbooth.queue_ms"
COST_USD = "toolbooth.cost_usd"
TOKENS = "toolbooth.tokens"
REQUEST_BYTES = "toolbooth.request_bytes"
RESPONSE_BYTES = "toolbooth.response_bytes"
POLICY_VERSION = "toolbooth.policy.version"
MCP_MESSAGES = "toolbooth.mcp.messages"

# RFC 9110, and PATCH; any other is `_OTHER`, or a client could make up as many as it likes.
METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
OTHER = "_OTHER"

# The methods of MCP 2025-11-25 and 2026-07-28; any other is `_OTHER`.
MCP_METHODS = frozenset(
    ("completion/complete", "elicitation/create", "initialize", "logging/setLevel",
     "notifications/cancelled", "notifications/elicitation/complete", "notifications/initialized",
     "notifications/message", "notifications/progress", "notifications/prompts/list_changed",
     "notifications/resources/list_changed", "notifications/resources/updated",
     "notifications/roots/list_changed", "notifications/tasks/status",
     "notifications/tools/list_changed", "ping", "prompts/get", "prompts/list", "resources/list",
     "resources/read", "resources/subscribe", "resources/templates/list", "resources/unsubscribe",
     "roots/list", "sampling/createMessage", "server/discover", "subscriptions/listen",
     "tasks/cancel", "tasks/get", "tasks/list", "tasks/result", "tasks/update", "tools/call",
     "tools/list")
)  # fmt: skip

# What the makers' hosts are called in `gen_ai.provider.name`.
PROVIDERS = {
    "api.anthropic.com": "anthropic",
    "api.openai.com": "openai",
    "api.mistral.ai": "mistral_ai",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
}

# The end of a path of a model's API, without query, and what it is asked to do.
OPERATIONS = (
    ("/chat/completions", "chat"),
    ("/messages", "chat"),
    ("/responses", "chat"),
    ("/api/chat", "chat"),
    ("/completions", "text_completion"),
    ("/api/generate", "text_completion"),
    ("/embeddings", "embeddings"),
    ("/api/embed", "embeddings"),
    (":generateContent", "generate_content"),
    (":streamGenerateContent", "generate_content"),
)
EXECUTE_TOOL = "execute_tool"


def operation_of(path: str) -> str:
    """What a request to a model with this path asks for, empty where the path does not say."""
    plain = path.partition("?")[0]
    return next((operation for end, operation in OPERATIONS if plain.endswith(end)), "")
