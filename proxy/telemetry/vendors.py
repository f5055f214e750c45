"""The shapes of the keys that vendors give out (pure data).

Most vendors mark their keys with a prefix, so that scanners can tell them. Sources: the vendors'
own pages on key formats. A key without a mark is found only by the name beside it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from proxy.telemetry.personal import Check, Found, Span, first_group, whole


class Shape(NamedTuple):
    """`kind` names the finding, `regex` finds candidates, `check` yields the spans to mask."""

    kind: str
    regex: str
    check: Check = whole


def not_plain_words(found: Found) -> Iterator[Span]:
    """A token with a digit or both cases: `sk-` also starts class names of style sheets."""
    body = found.group()[3:]
    if any(char.isdigit() for char in body) or (body.lower() != body and body.upper() != body):
        yield found.span()


def random_behind_prefix(found: Found) -> Iterator[Span]:
    """`word_` and 32 or more letters in both cases with digits, as most vendors' keys look.
    Publishable keys (`pk_live_`) are for everybody; identifiers repeat case and have seams."""
    prefix, body = found.group(1), found.group(2)
    classes = (str.isupper, str.islower, str.isdigit)
    counts = [sum(map(is_class, body)) for is_class in classes]
    if not prefix.startswith("pk_") and min(counts) >= 3:
        yield found.span()


# Letters, digits, `_` and `-`; what an expression with many of them is read by.
_URL = "[A-Za-z0-9_-]"
_TOKENS = (
    rf"\b(?:npm_[A-Za-z0-9]{{30,}}|pypi-AgE{_URL}{{16,}}|hf_[A-Za-z0-9]{{30,}}"
    rf"|SG\.{_URL}{{16,}}\.{_URL}{{16,}}|key-[a-f0-9]{{32}}\b|SK[a-f0-9]{{32}}\b"
    rf"|do[opr]_v1_[a-f0-9]{{40,}}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{{32}}"
    rf"|dckr_(?:pat|oat)_{_URL}{{20,}}|(?:bot)?[0-9]{{8,10}}:AA{_URL}{{33}}"
    rf"|[MNO][A-Za-z0-9_-]{{23,27}}\.{_URL}{{6}}\.{_URL}{{27,}}"
    rf"|eyJrIjoi[A-Za-z0-9=]{{20,}}|glsa_[A-Za-z0-9]{{32}}_[a-fA-F0-9]{{8}}|glc_eyJ[\w+/-]{{20,}}=*"
    rf"|dapi[a-f0-9]{{32}}(?:-[0-9])?\b|EAAA{_URL}{{56,}}|sq0[a-z]{{3}}-{_URL}{{22,}}"
    rf"|lin_(?:api|oauth)_[A-Za-z0-9]{{32,}}|ntn_[A-Za-z0-9]{{40,}}|secret_[A-Za-z0-9]{{43}}\b"
    rf"|figd_{_URL}{{30,}}|NRAK-[A-Z0-9]{{27}}|PMAK-[a-f0-9]{{24}}-[a-f0-9]{{34}}"
    rf"|pscale_(?:tkn|oauth|pw)_{_URL}{{32,}}|sbp_[a-f0-9]{{40}}|xai-[A-Za-z0-9]{{60,}}"
    rf"|gsk_[A-Za-z0-9]{{40,}}|r8_[A-Za-z0-9]{{37}}\b"
    rf"|tvly-{_URL}{{20,}}|rdme_[a-z0-9]{{60,}}|pat[A-Za-z0-9]{{14}}\.[a-f0-9]{{64}}"
    rf"|dp\.(?:pt|st|ct|sa)\.{_URL}{{30,}}|AT(?:ATT|CTT)3[\w=+/-]{{50,}}|HRKU-{_URL}{{30,}}"
    rf"|nvapi-{_URL}{{40,}}|pplx-[A-Za-z0-9]{{40,}}|AGE-SECRET-KEY-1[A-Z0-9]{{50,}}"
    rf"|FlyV1 fm[12]_[\w=+/,-]{{40,}}|dt0c01\.[A-Z0-9]{{24}}\.[A-Z0-9]{{60,}}"
    rf"|xkeysib-[a-f0-9]{{60,}}|ops_eyJ[\w=-]{{60,}}"
    rf"|sntrys_eyJ[\w+/=-]{{20,}}|sntryu_[a-f0-9]{{64}}|hv[bsr]\.{_URL}{{20,}}"
    rf"|v[1-4]\.(?:local|public)\.{_URL}{{20,}}(?:\.{_URL}+)?)"
)
_PREFIXED = r"\b([a-z][a-z0-9]*_(?:[a-z0-9]+_)?)([A-Za-z0-9]{32,})\b"
_WEBHOOK = (
    r"(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks)"
    r"/([A-Za-z0-9/_-]+)"
)

VENDORS: tuple[Shape, ...] = (
    Shape("aws_key", r"\b(?:(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}\b|ABSK[\w+/=]{80,})"),
    Shape("github_token", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    Shape(
        "gitlab_token",
        rf"\b(?:gl(?:pat|dt|rt|ptt|soat|cbt|ft|agent|imt)-{_URL}{{16,}}|GR1348941{_URL}{{20}})",
    ),
    Shape("slack_token", r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}"),
    Shape("webhook", _WEBHOOK, first_group),
    Shape("stripe_key", r"\b(?:(?:sk|rk)_(?:live|test)_|whsec_)[A-Za-z0-9]{10,}"),
    Shape("anthropic_key", rf"\bsk-ant-{_URL}{{8,}}"),
    Shape("openai_key", rf"\bsk-{_URL}{{20,}}", not_plain_words),
    Shape(
        "google_key",
        rf"\b(?:AIza{_URL}{{30,}}|ya29\.{_URL}{{16,}}|GOCSPX-[\w-]{{16,}}|1//{_URL}{{30,}})",
    ),
    Shape("azure_key", r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}"),
    Shape("token", _TOKENS),
    Shape(
        "token",
        r"\b([a-z][a-z0-9]{1,15}_(?:[a-z0-9]{2,8}_)?)([A-Za-z0-9]{32,})\b",
        random_behind_prefix,
    ),
)
