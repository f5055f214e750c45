"""From plain data to a checked `PolicyDocument`, or to every complaint about it at once."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proxy.policy.authorize import is_on_allowlist
from proxy.policy.document import Document
from proxy.policy.fields import RESERVED_NAMES
from proxy.policy.problem import Path, PolicyError, PolicyProblem, path_text
from proxy.policy.schema import PolicyDocument

ENV_LIMITS = ("AGENT_MAX_STEPS", "AGENT_MAX_TOOL_CALLS", "AGENT_MAX_SECONDS")

_ENV_PATH: Path = ("runtime", "env")
_PER_TOOL_SECTIONS = ("timeouts_ms", "retries", "rate_limits", "concurrency")

_MESSAGES = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text (quote it)",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "finite_number": "must be a finite number",
}


def decode(document: Document, env: Mapping[str, str]) -> PolicyDocument:
    """Checks the document with the limits that `env` overrides in place.

    Raises `PolicyError` with all problems in file order: those of the reading, of the schema, and
    tool names that nothing else in the document knows.
    """
    data, overridden = _overridden(document.data, env)
    problems = list(document.problems)
    found: list[tuple[Path, str]] = []
    model: PolicyDocument | None = None
    try:
        model = PolicyDocument.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        found += [(_path(detail), _message(detail)) for detail in details]
    found += _unknown_tools(data)
    seen: set[Path] = set()
    for path, message in found:
        variable = path[-1] if path[:2] == _ENV_PATH and path[-1] in overridden else None
        if variable is not None:
            problems.append(PolicyProblem(f"environment variable {variable}", 0, message))
            continue
        place = _place(path, document.lines, message)
        if place not in seen and not _is_unread(place, document.unread):
            seen.add(place)
            problems.append(PolicyProblem(path_text(place), _line(place, document.lines), message))
    if model is None or problems:
        raise PolicyError(sorted(problems, key=lambda problem: problem.line))
    return model


def _overridden(
    data: dict[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], frozenset[str]]:
    """`data` with `runtime.env` as the process environment has it. An empty variable counts as
    not set, as compose files write `${AGENT_MAX_STEPS:-}`."""
    values = {name: env[name] for name in ENV_LIMITS if env.get(name)}
    runtime = data.get("runtime", {})
    limits = runtime.get("env", {}) if isinstance(runtime, dict) else None
    if not values or not isinstance(limits, dict):
        return data, frozenset()
    return {**data, "runtime": {**runtime, "env": {**limits, **values}}}, frozenset(values)


def _path(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _place(path: Path, lines: Mapping[Path, int], message: str) -> Path:
    """The path as the document has it: the validator's own inner steps cut off, but a key that is
    missing kept."""
    if message == _MESSAGES["missing"]:
        return path
    while path and path not in lines:
        path = path[:-1]
    return path


def _line(path: Path, lines: Mapping[Path, int]) -> int:
    while path not in lines and path:
        path = path[:-1]
    return lines.get(path, 0)


def _is_unread(path: Path, unread: frozenset[Path]) -> bool:
    return any(path[:length] in unread for length in range(1, len(path) + 1))


def _message(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _MESSAGES:
        return _MESSAGES[kind]
    match kind:
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            return _unknown_key(str(detail["loc"][-1]))
        case "greater_than" | "greater_than_equal" | "less_than_equal":
            words = kind.replace("_equal", " or equal to").replace("_", " ")
            return f"must be {words} {next(iter(context.values()))}"
        case "literal_error":
            return f"must be one of {context['expected']}"
        case "too_short":
            return "must not be empty; leave the key out if nothing is restricted"
    return detail["msg"]


def _unknown_key(key: str) -> str:
    if key in {"secret", "token", "password", "api_key"}:
        return "secrets must not stand in a policy; name them with 'secret_env' or 'secret_file'"
    return "unknown key" + _did_you_mean(key, _known_keys())


@cache
def _known_keys() -> frozenset[str]:
    keys: set[str] = set()
    pending: list[type[BaseModel]] = [PolicyDocument]
    while pending:
        for name, field in pending.pop().model_fields.items():
            keys.add(field.alias or name)
            pending += _models_in(field.annotation)
    return frozenset(keys)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _did_you_mean(word: str, known: frozenset[str]) -> str:
    close = get_close_matches(word[:128], known, n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def _unknown_tools(data: dict[str, Any]) -> list[tuple[Path, str]]:
    """Tool names in limits and switches that neither the catalog nor the allowlist knows. A
    mistyped one would leave the tool it meant without its limit, or switched on. With an empty
    allowlist there is nothing to leave unguarded, and the name is only worth a warning."""
    tools = _mapping(data.get("tools"))
    catalog = _mapping(tools.get("catalog"))
    allowlist = frozenset(name for name in _listed(tools.get("allowlist")) if name != "*")
    if not _listed(tools.get("allowlist")):
        return []
    known = frozenset(catalog) | allowlist
    servers = [name for name, entry in catalog.items() if _mapping(entry).get("kind") == "mcp"]
    used: list[tuple[Path, str]] = []
    for section in _PER_TOOL_SECTIONS:
        names = frozenset(_mapping(tools.get(section))) - RESERVED_NAMES
        used += [(("tools", section, name), name) for name in sorted(names)]
    for place, name in enumerate(_listed(tools.get("disabled"))):
        used.append((("tools", "disabled", place), name))
    return [
        (path, "unknown tool" + _did_you_mean(name, known))
        for path, name in used
        if name not in known
        and not is_on_allowlist(allowlist, name)
        and not any(name.startswith(f"{server}.") for server in servers)
    ]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[str]:
    return (
        [item if isinstance(item, str) else "" for item in value] if isinstance(value, list) else []
    )
