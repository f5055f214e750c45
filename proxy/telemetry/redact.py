"""What may be shown of a call (pure).

Everything that leaves the process about a call's content goes through a `Redactor`: log lines,
recent calls, live tails. Three nets, from sure to fuzzy: names of header fields and keys whose
values are never shown; shapes of credentials and personal data; expressions of the policy's own.
Before all of them, secrets that are known are taken out. Nothing here raises on any input, and
equal input gives equal output.

It cannot find what has no shape and no name: a bare password in prose, or a secret spread over
several messages.
"""

import re
from urllib.parse import unquote

from proxy.model.call import Caller
from proxy.model.remember import Memory
from proxy.policy.policy import RedactRule
from proxy.telemetry.bodies import BodyText
from proxy.telemetry.content import open_body
from proxy.telemetry.encoded import ENCODED, EncodedText
from proxy.telemetry.literal import Literals
from proxy.telemetry.matcher import Matcher, custom_patterns
from proxy.telemetry.memo import Memo
from proxy.telemetry.patterns import CREDENTIALS, PERSONAL, VAGUE
from proxy.telemetry.sensitive import MASK, PERSONAL_KEYS, SensitiveNames
from proxy.telemetry.vendors import Shape
from proxy.telemetry.visible import shown, visible_line, visible_text

_LONGEST_PATH = 4096
_LONGEST_KEY = 128
_MOST_PARAMETERS = 64
_MOST_PARTS = 1024
_SHORTEST_FINDING = 6  # no built-in pattern matches less
_AUTHORITY = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")
_FLAG = re.compile(r"^[A-Za-z][A-Za-z_.-]{0,15}$")  # `?wsdl`: a key without a value
_TARGET_HEADERS_TEXT = (
    "location content-location referer x-original-url x-rewrite-url x-forwarded-uri"
)
_TARGET_HEADERS = frozenset(_TARGET_HEADERS_TEXT.split())

Part = tuple[dict[str, object], bytes]  # of a record: as fields, and as JSON without its braces


class Redactor:
    """Shows requests and answers with their secrets replaced by markers.

    `rule` comes from the policy; ValueError says which of its patterns is bad. `body_limit_bytes`
    is the size up to which bodies are captured; at most four times that is looked at, after
    decompression too. `callers` and `places` belong to `proxy.telemetry.line`, which keeps there
    what parts of a record look like.
    """

    __slots__ = (
        "_bodies", "_encoded", "_limit_bytes", "_lines", "_literals", "_matcher", "_names",
        "_paths", "_rule", "_shortest", "callers", "places",
    )  # fmt: skip

    def __init__(
        self,
        rule: RedactRule,
        body_limit_bytes: int = 8192,
        *,
        literals: Literals | None = None,
        matcher: Matcher | None = None,
    ) -> None:
        self._rule = rule
        self._limit_bytes = 4 * max(body_limit_bytes, 1024)
        self._literals = literals
        self._matcher = matcher or _matcher_of(rule)
        keys = rule.json_keys | PERSONAL_KEYS if rule.pii else rule.json_keys
        self._names = SensitiveNames(rule.headers, keys)
        self._bodies = BodyText(self.text, self._names.key)
        self._shortest = 1 if rule.patterns else _SHORTEST_FINDING
        # Runs, hosts and paths come again and again; what they look like is remembered.
        self._lines = Memo(lambda value: visible_line(self.text(value)))
        self._paths = Memo(self._path)
        self._encoded = Memo(self._encoded_text)
        self.callers: Memory[Caller | None, Part] = Memory(_MOST_PARTS)
        self.places: Memory[tuple[object, ...], Part] = Memory(_MOST_PARTS)

    def hiding(self, secrets: tuple[str, ...]) -> "Redactor":
        """The same redactor, which knows these texts for secrets, however they are spelt."""
        if not secrets:
            return self
        return Redactor(
            self._rule, self._limit_bytes // 4, literals=Literals(secrets), matcher=self._matcher
        )

    def text(self, value: str) -> str:
        """`value` with every credential and, if asked for, all personal data masked by shape."""
        if self._literals is not None:
            value = self._literals.masked(_encodable(value))
        if len(value) < self._shortest:
            return value
        return self._matcher.masked(_encodable(value))

    def line(self, value: str) -> str:
        """`text` for values that must stay on one line and harmless on a terminal."""
        return self._lines.of(value)

    def path(self, raw: str) -> str:
        """See `_path`."""
        return self._paths.of(raw)

    def _path(self, raw: str) -> str:
        """Path and query with every query value masked and the keys kept.

        Path segments keep what has no shape of a secret, percent-encoded or not. Userinfo of an
        absolute URL is dropped, a fragment is masked, and what is longer than 4096 is cut.
        """
        if len(raw) > _LONGEST_PATH:
            if self._literals is not None:  # before it can be cut in half
                raw = self._literals.masked(_encodable(raw))
            raw = raw[:_LONGEST_PATH].rpartition("&" if "?" in raw[:_LONGEST_PATH] else "/")[0]
            return self._path(raw) + "[cut]"
        raw, has_fragment, _ = raw.partition("#")
        path, has_query, query = raw.partition("?")
        if "@" in path:
            path = _AUTHORITY.sub(lambda m: m.group().partition("//")[0] + "//", path)
        result = self._encoded.of(path)
        if has_query:
            result += "?" + self._query(query)
        return visible_line(result + ("#" + MASK if has_fragment else ""))

    def _query(self, query: str) -> str:
        parts = query.split("&", _MOST_PARAMETERS)
        rest = len(parts) > _MOST_PARAMETERS
        shown_parts = [self._parameter(part) for part in parts[:_MOST_PARAMETERS]]
        return "&".join(shown_parts) + ("&[cut]" if rest else "")

    def _parameter(self, part: str) -> str:
        key, has_value, value = part.partition("=")
        if not has_value:
            return part if not part or _FLAG.match(part) else MASK
        shown_key = self._encoded_text(key) if len(key) <= _LONGEST_KEY else MASK
        return f"{shown_key}={MASK if value else ''}"

    def _encoded_text(self, value: str) -> str:
        """`text`, also under percent-encoding, twice if need be. Shown decoded only where
        something was found."""
        masked = self.text(value)
        for _ in range(2):
            if "%" not in value:
                break
            value = unquote(value)
            found = self.text(value)
            if found != value:
                return found
        return masked

    def fields(self, fields: list[tuple[bytes, bytes]]) -> dict[str, str | list[str]]:
        """Header fields by lower-case name, in order of first appearance; a list where a name
        repeats. Values of sensitive names are masked whole, URLs lose their query values."""
        result: dict[str, str | list[str]] = {}
        for raw_name, raw_value in fields:
            name = self.line(shown(raw_name).lower())
            value = self._field_value(name, raw_value)
            before = result.get(name)
            if before is None:
                result[name] = value
            elif isinstance(before, list):
                before.append(value)
            else:
                result[name] = [before, value]
        return result

    def _field_value(self, name: str, raw: bytes) -> str:
        if self._names.header(name):
            return MASK
        value = shown(raw)
        return self.path(value) if name in _TARGET_HEADERS else self.line(value)

    def body(self, raw: bytes, content_type: str, content_encoding: str, truncated: bool) -> str:
        """The body as text without its secrets, or `[N bytes of TYPE]` for what is not text or
        cannot be decoded. `truncated`: `raw` is only the beginning; then what stands at the cut
        is masked too, since half a secret has no shape."""
        content = open_body(raw, content_type, content_encoding, truncated, self._limit_bytes)
        if content.text is None:
            return f"[{len(raw)} bytes of {content.label}]"
        if self._literals is not None:  # as it was sent: what is cut may not parse
            text = self._literals.masked(_encodable(content.text), is_cut=content.truncated)
            content = content._replace(text=text)
        return visible_text(self._bodies.shown(content))


def _encodable(text: str) -> str:
    """`text` without lone surrogates, which RE2 cannot be given."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _matcher_of(rule: RedactRule) -> Matcher:
    """What is masked by shape: the policy's own expressions first, the vaguest shapes last."""
    known = custom_patterns(rule.patterns) + CREDENTIALS + (PERSONAL if rule.pii else ())
    inside = EncodedText(Matcher(known + VAGUE).finds_nothing)
    return Matcher((*known, Shape("encoded", ENCODED, inside), *VAGUE))
