"""The reference documentation of the policy, written from the schema, so that the two cannot
disagree: `docs/policy.md` is what `reference_text` returns, and a test compares them."""

import types
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.policy.schema import PolicyDocument

_HEAD = """\
# The policy file

<!-- Written from proxy/policy/schema.py: `python -m proxy.policy.reference > docs/policy.md`. -->

One YAML document says which tools exist, which may be called, and how much. It is checked as a
whole: `toolbooth check FILE` prints every problem with its path and line, and a document with a
problem is never put in force. An empty document is valid and refuses every call.

## How it is read

- Unknown keys are errors. So are keys without a value: write `{}` or `[]`, or leave the key out.
- The file is UTF-8 and at most 1 MiB. Tags, merge keys and a second document are errors;
  aliases are read as long as what they stand for stays small.
- A plain value that YAML 1.1 and YAML 1.2 read differently (`no`, `on`, `0177`, `1:30`, `1e3`,
  `2026-01-01`) is an error: quote it if it is text, else write `true`, `false` or a plain number.
- Numbers must be numbers: `"5"` and `true` are not. Only the limits under `runtime.env` may be
  quoted, as manifests quote environment variables.
- The environment variables `AGENT_MAX_STEPS`, `AGENT_MAX_TOOL_CALLS` and `AGENT_MAX_SECONDS`
  override `runtime.env`. An empty one counts as not set, a malformed one is an error.
- Secrets never stand in the policy; it names the environment variable or file that holds one.

## Which tool a call is

The catalog is read from top to bottom and the first entry that fits host, port, method and path
is the call's tool. No entry: `tool_unknown`. An entry that is not on `tools.allowlist`:
`tool_not_allowed`, even if a later entry would fit as well.

- **Names** of tools have letters, digits, `_` and `-`, in parts divided by dots. `default`,
  `connect`, `idle`, `max`, `backoff_ms` and `budget_percent` are reserved. On the allowlist,
  `PREFIX.*` stands for every name below the prefix and `*` for every entry of the catalog; the
  tools of an MCP server are called `NAME.TOOL`. An entry of `kind: mcp` may be reached once its
  name, a wildcard over it or one of its tools is listed.
- **Hosts** are an exact name, an IP address, `*.suffix` (one or more labels, never the suffix
  itself) or `*`. International names are written in their ASCII form (`xn--...`).
- **Ports** are 80 and 443 unless given.
- **Methods** are case-sensitive. Where GET is allowed, HEAD is.
- **Paths** are globs over the path as it was sent, still percent-encoded, without the query: `*`
  is anything within a segment, `**` (a whole segment) any number of segments, a final `/**`
  everything below. `/v1/search/**` does not fit `/v1/search`: list both.
- **Ambiguous paths** are those that a server might read as another path: with `.` or `..`
  segments, `//`, `\\`, `;`, encodings of these, encoded letters, digits or `-._~`, doubly encoded
  forms of all that, or broken escapes. Where a destination restricts paths, such a path is
  refused and later entries are not tried; where none does, it passes unchanged.
- **Tunnels** (`CONNECT`, how HTTPS passes a proxy) hide method and path: the first entry that fits
  host and port is the tunnel's tool. To keep paths enforced, leave 443 out of `ports`, or reach
  the tool through its gateway path, where `methods` and `paths` apply too.
- **Addresses** that are not public (private, loopback, link-local, carrier-grade NAT, multicast,
  documentation, reserved, metadata services and IPv6 forms that carry one of these) are refused
  unless `allow_addresses` opens them; spellings such as `0x7f.1` or `2130706433` always are.

## Example

```yaml
runtime:
  env: {AGENT_MAX_STEPS: 25, AGENT_MAX_TOOL_CALLS: 12, AGENT_MAX_SECONDS: 60}
tools:
  allowlist: [search.read]
  timeouts_ms: {default: 8000, search.read: 3000}
  retries: {max: 2, backoff_ms: [200, 800], search.read: {max: 1}}
  catalog:
    search.read:
      match: [{host: api.search.example, ports: [80], methods: [GET], paths: ["/v1/search"]}]
      upstream: https://api.search.example
```
"""

_PER_TOOL_NOTE = "Any other key is the name of a tool; it overrides only what it names."


def reference_text() -> str:
    """The whole page, ending in one newline."""
    parts = [_HEAD, *(_section(path, model) for path, model in _sections("", PolicyDocument))]
    return "\n".join(parts)


def policy_schema() -> dict[str, Any]:
    """JSON Schema of the document, for editors. Cross-checks (tool names) are not part of it."""
    return PolicyDocument.model_json_schema(by_alias=True)


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section of the document with its path, in the document's order."""
    yield path, model
    for name, field in model.model_fields.items():
        place = f"{path}.{field.alias or name}".lstrip(".")
        for inner, step in _inner_models(field.annotation):
            yield from _sections(place + step, inner)
    extra = _per_tool_model(model)
    if isinstance(extra, type) and issubclass(extra, BaseModel):
        yield f"{path}.TOOL", extra


def _per_tool_model(model: type[BaseModel]) -> Any:
    annotation = model.__annotations__.get("__pydantic_extra__")
    return None if annotation is None else annotation.__args__[1]


def _inner_models(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """The models in a field's type, with what stands between them and the field's key."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ""
        return
    origin, arguments = getattr(annotation, "__origin__", None), _arguments(annotation)
    for argument in arguments:
        for inner, step in _inner_models(argument):
            prefix = "[]" if origin is list else ".NAME" if origin is dict else ""
            yield inner, prefix + step


def _arguments(annotation: Any) -> tuple[Any, ...]:
    if isinstance(annotation, types.GenericAlias | types.UnionType):
        return annotation.__args__
    return ()


def _section(path: str, model: type[BaseModel]) -> str:
    schema = model.model_json_schema(by_alias=True)
    title = f"`{path}`" if path else "Top level"
    lines = [f"## {title}", "", " ".join((model.__doc__ or "").split()), ""]
    lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        kind = _type_text(schema["properties"][key], schema.get("$defs", {}))
        lines.append(f"| `{key}` | {kind} | {_default(field)} | {field.description} |")
    extra = _per_tool_model(model)
    if extra is not None:
        lines += ["", _PER_TOOL_NOTE]
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "unset"
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:.15g}`"
    return f"`{value}`".replace("'", '"')


def _type_text(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON Schema type in words."""
    if "$ref" in schema:
        return _type_text(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if kind.get("type") != "null"]
        return " or ".join(_type_text(kind, definitions) for kind in kinds)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f'`"{schema["const"]}"`'
    kind = schema.get("type")
    if kind == "array":
        return f"list of: {_type_text(schema['items'], definitions)}"
    if kind in {"integer", "number"}:
        return {"integer": "whole number", "number": "number"}[kind] + _bounds(schema)
    return {"object": "mapping", "boolean": "true or false", "string": "text"}.get(
        kind or "", "any"
    )


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f", above {schema['exclusiveMinimum']}, at most {high}"
    return "" if low is None or high is None else f", {low} to {high}"


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference_text())
