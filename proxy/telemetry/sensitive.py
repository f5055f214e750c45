"""Names whose values are never shown, whatever the values look like.

Two tables: header fields and keys of structured bodies. Spelling varies (`apiKey`, `api-key`,
`API_KEY`), so keys are compared without case and separators.
"""

import re

MASK = "[redacted]"

_HEADERS_TEXT = (
    "authorization proxy-authorization cookie cookie2 set-cookie set-cookie2 x-api-key api-key "
    "apikey x-auth-token x-auth x-auth-key x-goog-api-key x-amz-security-token x-functions-key "
    "ocp-apim-subscription-key x-vault-token private-token job-token x-gitlab-token "
    "x-csrf-token x-xsrf-token x-session-id x-access-key x-signature x-hub-signature "
    "x-hub-signature-256 stripe-signature x-slack-signature authentication-info "
    "proxy-authentication-info dpop x-forwarded-client-cert x-forwarded-access-token "
    "cf-access-client-secret sec-websocket-key x-amz-signature x-ms-client-principal"
)
_HEADERS = frozenset(_HEADERS_TEXT.split())
_HEADER_PARTS = (
    "token", "secret", "password", "passwd", "api-key", "apikey", "api_key", "authorization",
    "credential", "private-key", "session-key", "access-key",
)  # fmt: skip

# Compared after lower-casing and dropping `-`, `_`, `.` and spaces.
_KEYS_TEXT = (
    "password passwd passphrase passcode pwd pass secret token accesstoken refreshtoken idtoken "
    "apikey xapikey authorization proxyauthorization auth privatekey clientsecret secretkey "
    "accesskey accesskeyid secretaccesskey sharedkey accountkey signingkey encryptionkey "
    "masterkey licensekey cookie cookies setcookie session sessionid sessiontoken jwt bearer "
    "credential credentials connectionstring dsn ssn socialsecuritynumber taxid nationalid "
    "passportnumber cardnumber creditcard creditcardnumber ccnumber pan cvv cvv2 cvc cvccode "
    "securitycode cardcode pin pincode otp totp mfacode iban accountnumber bankaccount "
    "routingnumber signature sig webhooksecret clientassertion codeverifier "
    "storagekey appkey applicationkey subscriptionkey webhookurl phpsessid jsessionid connectsid "
    "samlresponse mnemonic seedphrase recoverycode recoverycodes backupcodes"
)
_KEYS = frozenset(_KEYS_TEXT.split())
_KEY_ENDINGS = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "privatekey", "secretkey",
    "accesskey", "clientsecret", "credential", "credentials", "authorization", "cardnumber",
    "sessionid", "connectionstring",
)  # fmt: skip
PERSONAL_KEYS = frozenset(
    ("phone", "phonenumber", "telephone", "mobilephone", "mobilenumber", "cellphone", "faxnumber",
     "dateofbirth", "birthdate", "dob")
)  # fmt: skip
_KEY_WORDS = frozenset(("password", "passwd", "passphrase", "secret", "secrets", "credentials"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SEPARATORS = str.maketrans("", "", "-_. ")
_LONGEST_NAME = 200


def compact(name: str) -> str:
    """`API-Key`, `api_key` and `apiKey` all become `apikey`."""
    return name.lower().translate(_SEPARATORS)


class SensitiveNames:
    """Answers by name alone, with what the policy adds. Pure."""

    __slots__ = ("_headers", "_keys")

    def __init__(self, headers: frozenset[str], keys: frozenset[str]) -> None:
        self._headers = _HEADERS | {name.lower() for name in headers}
        self._keys = _KEYS | {compact(name) for name in keys}

    def header(self, name: str) -> bool:
        """Is this header's value a secret? `name` is lower case."""
        return name in self._headers or any(part in name for part in _HEADER_PARTS)

    def key(self, name: str) -> bool:
        """Is the value under this key a secret? Counters (`max_tokens`) and kinds
        (`token_type`) are not. A name too long to judge is one."""
        if len(name) > _LONGEST_NAME:
            return True
        short = compact(name)
        if short in self._keys or short.endswith(_KEY_ENDINGS):
            return True
        return any(word.lower() in _KEY_WORDS for word in _WORD.findall(name))
