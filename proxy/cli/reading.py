"""Values out of the JSON of a sidecar, which may be of another version: what is missing or of
another type counts as nothing, and a listing goes on."""

from proxy.cli.client import View


def views(document: View, name: str) -> list[View]:
    """A list of objects."""
    value = document.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def view(document: View, name: str) -> View:
    """An object; empty if there is none."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def text(document: View, name: str) -> str:
    """A string; empty if there is none."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def number(document: View, name: str) -> float | None:
    """A number, or None."""
    value = document.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
