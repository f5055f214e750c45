"""Text that is safe to print.

What agents and servers send may hold terminal escapes, line separators, right-to-left marks or
invisible letters that forge or hide parts of a log on somebody's screen. Here every character that
Unicode does not call printable becomes a visible backslash escape; the space is the only separator
that stays. This is about display; it hides no secret.
"""


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible_line(text: str) -> str:
    """`text` with every control, separator, direction mark and unassigned character as `\\x1b` or
    `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def visible_text(text: str) -> str:
    """The same for text of several lines: newline and tab stay, CRLF becomes a newline."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def visible_json(line: str) -> str:
    """One line of JSON with what is not printable in its strings as JSON escapes: the same value
    to a parser. The newline at its end stays."""
    body = line.removesuffix("\n")
    if body.isprintable():
        return line
    return "".join(c if c.isprintable() else _json_escaped(c) for c in body) + line[len(body) :]


def _json_escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def shown(raw: bytes) -> str:
    """Bytes as one visible line: UTF-8 where it is, `\\xff` where it is not."""
    return visible_line(raw.decode("utf-8", "backslashreplace"))
