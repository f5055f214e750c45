"""Text into HTML, so that no value can become markup (pure).

Everything on the page that came out of a record passes `safe`: controls and direction marks become
visible first, since a browser obeys those as well.
"""

from html import escape

from proxy.telemetry.visible import visible_line


def safe(value: object) -> str:
    """Visible text on one line, for element content and quoted attributes alike."""
    return escape(visible_line(str(value)), quote=True)


def tag(name: str, content: str, **attributes: object) -> str:
    """An element. `content` is markup, attribute values are text; `class_` is `class`, and other
    underscores are hyphens."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{safe(value)}"' for key, value in attributes.items()
    )
    return f"<{name}{said}>{content}</{name}>"
