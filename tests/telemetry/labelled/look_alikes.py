"""What looks like a secret or like personal data and is neither: it must come out as it went in.

By the kind that it could be taken for. Some are written down, some drawn and put into places.
"""

import base64
import string
from collections.abc import Callable
from random import Random

from tests.telemetry.labelled.credentials import ALNUM, B64, HEX, UPPER, drawn
from tests.telemetry.labelled.people import grouped, luhn_digit

_D = string.digits
Draw = Callable[[Random], str]


def _uuid(r: Random) -> str:
    h = drawn(r, HEX, 32)
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"


def _not_luhn(r: Random) -> str:
    payload = "4" + "".join(r.choice(_D) for _ in range(14))
    return payload + str((int(luhn_digit(payload)) + r.randrange(1, 9)) % 10)


def _png(r: Random) -> str:
    raw = b"\x89PNG\r\n\x1a\n" + bytes(r.randrange(256) for _ in range(90))
    return base64.b64encode(raw).decode()


def _hexdump(r: Random) -> str:
    return f"00000{r.randrange(10)}a0: " + " ".join(drawn(r, HEX, 4) for _ in range(8))


def _snake(r: Random) -> str:
    words = ("load", "user", "token", "count", "password", "form", "secret", "index", "key", "map")
    return "_".join(r.choice(words) for _ in range(4)) + "_v2"


# Kind it resembles, and how to draw it.
DRAWN: tuple[tuple[str, Draw], ...] = (
    ("session", _uuid),
    ("aws", lambda r: drawn(r, HEX, 40)),
    ("bearer", lambda r: drawn(r, HEX, 64)),
    ("session", lambda r: drawn(r, HEX, 32)),
    ("aws", lambda r: "sha256-" + drawn(r, B64, 43) + "="),
    ("azure", lambda r: "sha512-" + drawn(r, B64, 86) + "=="),
    ("jwt", _png),
    ("mailgun", _hexdump),
    ("card", _not_luhn),
    ("card", lambda r: "17672" + drawn(r, _D, 8)),
    ("card", lambda r: "9" + drawn(r, _D, 15)),
    ("iban", lambda r: f"DE00{drawn(r, _D, 18)}"),
    ("iban", lambda r: f"RF{drawn(r, _D, 2)}{drawn(r, UPPER, 8)}"),
    ("us ssn", lambda r: f"9{drawn(r, _D, 2)}-1{drawn(r, _D, 1)}-{drawn(r, _D, 4)}"),
    ("us ssn", lambda r: f"{drawn(r, _D, 3)}-{drawn(r, _D, 3)}-{drawn(r, _D, 3)}"),
    ("phone", lambda r: f"2026-0{r.randrange(1, 9)}-1{r.randrange(9)}T1{r.randrange(9)}:30:00Z"),
    (
        "phone",
        lambda r: (
            f"{r.randrange(256)}.{r.randrange(256)}.{r.randrange(10, 256)}.{r.randrange(100, 256)}"
        ),
    ),
    (
        "phone",
        lambda r: f"v{r.randrange(9)}.{r.randrange(20)}.{r.randrange(30)}-rc.{r.randrange(9)}",
    ),
    ("phone", lambda r: drawn(r, "123456789", 9)),
    ("national id", lambda r: f"{drawn(r, _D, 8)}"),
    ("national id", lambda r: f"INV-{drawn(r, _D, 4)}-{drawn(r, _D, 4)}"),
    (
        "national id",
        lambda r: f"978-{r.randrange(10)}-{drawn(r, _D, 2)}-{drawn(r, _D, 6)}-{r.randrange(10)}",
    ),
    ("email", lambda r: f"@scope{r.randrange(99)}/pkg@{r.randrange(9)}.{r.randrange(20)}.0"),
    (
        "openai",
        lambda r: (
            "sk-"
            + "-".join(
                r.choice(("fade", "circle", "dot", "cube", "grid", "wave")) for _ in range(5)
            )
        ),
    ),
    ("password", _snake),
    ("stripe", lambda r: "cus_" + drawn(r, ALNUM, 14)),
    ("stripe", lambda r: "pk_live_" + drawn(r, ALNUM, 24)),
    ("openai", lambda r: "chatcmpl-" + drawn(r, ALNUM, 29)),
    ("anthropic", lambda r: "msg_01" + drawn(r, ALNUM, 22)),
    ("slack", lambda r: "C0" + drawn(r, UPPER, 9)),
    ("twilio", lambda r: "SM" + drawn(r, HEX, 16)),
    ("aws", lambda r: f"arn:aws:iam::{drawn(r, _D, 12)}:role/app-{r.randrange(9)}"),
    ("google", lambda r: f"projects/acme-{drawn(r, _D, 6)}/locations/eu/keyRings/main"),
    ("kubernetes", lambda r: f"web-{drawn(r, HEX, 9)}-{drawn(r, string.ascii_lowercase, 5)}"),
    ("docker", lambda r: f"ghcr.example/acme/web@sha256:{drawn(r, HEX, 64)}"),
    ("telegram", lambda r: f"{drawn(r, _D, 10)}:{drawn(r, _D, 6)}"),
    ("discord", lambda r: "1" + drawn(r, "0123456789", 17)),
    ("sentry", lambda r: f"event {drawn(r, HEX, 32)} sent"),
    ("card", lambda r: grouped("1" + drawn(r, _D, 15), (4, 4, 4, 4), " ")),
)

# The places for drawn ones; what is written comes out the same only where it is already compact.
PLACES_TUNED: tuple[tuple[str, str], ...] = (
    ("text", "worker 3: took {S} from the queue"),
    ("application/json", '{{"items":[{{"id":"{S}","n":1}}],"next":null}}'),
    ("text/csv", "7,{S},ok\n"),
    ("application/yaml", "ref: {S}\nn: 1\n"),
)
PLACES_HELD_OUT: tuple[tuple[str, str], ...] = (
    ("text/markdown", "- see `{S}` (ok)\n"),
    ("text/event-stream", 'data: {{"ref":"{S}"}}\n\n'),
    ("text", 'GET /x 200 id="{S}" 12ms'),
    ("text/xml", '<i ref="{S}">{S}</i>'),
)

WRITTEN_TUNED: dict[str, tuple[str, ...]] = {
    "password": (
        "Please reset your password within 24 hours.", "The password field is required.",
        "Passwords must match.", "password: must contain a number", "forgot password?",
        "def check_password(password: str, hashed: bytes) -> bool:", "if password is None: return",
        "type Password = string;", "password_hash_rounds=12", "passwordless login is on",
        "secret santa is on Friday", "secretly, she left", "the Secret Garden (1911)",
        "passport control is closed", "bypass=true", "compass: north", "trespass: no",
        "token_count: 17", "tokens: 900", "tokenize('a b')", "next_page_token: null",
        "<label for=\"password\">Password</label>", "input[type=password] { color: red }",
        "pwd\n/home/ada", "cd $(pwd) && ls", "credentials: same-origin", "credentials: include",
        "password=", "password: \"\"", "secret_name=", "PASSWORD_MIN_LENGTH=12",
    ),
    "basic": ("Basic auth is off.", "basic training program", "a basic question: why?", "Basic realm=\"x\"", "Visual Basic for Applications"),
    "bearer": ("bearer bonds", "the ring bearer arrived", "Bearer token missing", "token_type=Bearer", "WWW-Authenticate: Bearer"),
    "openai": ("sk-spinner-circle-fade-dot", "sk-SK", "sk-learn pipelines", "risk-adjusted-return-on-capital", "desk-lamp-with-adjustable-arm", "gpt-4o-mini-2024-07-18", "text-embedding-3-large"),
    "anthropic": ("claude-sonnet-4-20250514", "claude-3-5-haiku-latest", "sk-ant colony"),
    "hugging face": ("hf_hub_download(repo_id)", "hf_transfer", "meta-llama/Llama-3.1-8B-Instruct"),
    "package registries": ("npm_config_registry", "npm_package_version", "pypi-server 2.0", "pip install pypi-simple"),
    "github": ("ghp_ is the prefix of a token", "github_pattern", "github.com/acme/web/pull/12", "refs/pull/12/merge"),
    "gitlab": ("glpat- starts a token", "gitlab-ci.yml", "glrt-"),
    "slack": ("xoxb- tokens are for bots", "https://acme.slack.example/archives/C024BE91L/p1402359607000110"),
    "aws": ("AKIA keys are long lived", "us-east-1a", "s3://acme-logs/2026/01/31/part-00001.parquet", "com.amazonaws.services.s3.model.ObjectMetadata", "org/apache/commons/lang3/StringUtilsTest2"),
    "google": ("AIza is their prefix", "GOCSPX", "https://maps.example/@48.8583701,2.2922926,17z"),
    "azure": ("/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg1", "AccountName=acme;EndpointSuffix=core.example", "sp=rl&st=2026-01-01"),
    "jwt": ("eyJ is base64 of an open brace", "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk", "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"),
    "private key": ("-----BEGIN CERTIFICATE REQUEST-----", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5u ada@host", "-----BEGIN RSA PUBLIC KEY-----", "the private key is on the card"),
    "pgp key": ("-----BEGIN PGP SIGNED MESSAGE-----", "gpg: key 4AEE18F83AFDEB23: imported", "-----BEGIN PGP PUBLIC KEY BLOCK-----"),
    "vault": ("hvs. is short", "s.connect(addr)", "vault kv get secret/app"),
    "grafana": ("glsa", "grafana/dashboards/toolbooth.json", "glc_total 7"),
    "databricks": ("dapi", "rapid api", "dbfs:/mnt/data/part-0001"),
    "notion": ("secret_key_base", "ntn_", "secret_garden_of_earthly_delights"),
    "linear": ("ENG-1234", "linear_api_client.py", "linear-gradient(90deg, #fff 0%, #000 100%)"),
    "square": ("EAAA", "sq0", "square root of 16"),
    "paseto": ("v4.public", "v2.local", "v1.2.3-local.4"),
    "oauth": ("grant_type=refresh_token", "scope=openid profile", "https://idp.example/.well-known/openid-configuration", "response_type=code"),
    "session": ("session expired", "sessions: 12", "Set-Cookie is a header", "session affinity: ClientIP"),
    "connection string": ("postgres://localhost:5432/orders", "redis://cache:6379/0", "mongodb://h1,h2/db?replicaSet=rs0", "jdbc:h2:mem:test", "https://example.com:8443/a:b@c", "user@host:/srv/data"),
    "kubernetes": ("kind: Secret", "secretKeyRef:\n  name: db\n  key: url", "imagePullSecrets: []", "serviceAccountName: ci"),
    "email": ("@media (max-width: 600px)", "@ada see #12", "a @ b", "user@localhost", "logo@3x.webp", "vue@3.4.21", "foo@bar", "git@git.example:acme/web.git", "@types/node@22.5.0", "x@y@z"),
    "phone": ("1.800.2", "100 000 000", "1 2 3 4 5 6 7 8 9 10", "2026/01/31 23:59", "127.0.0.1:8080", "line 555, column 1234", "3-2-1 go", "lot 12345-678", "0x1F4A9 0x1F600", "52.5200, 13.4050", "1,000,000,000", "+1 for this idea", "pp. 1201-1214", "ISBN 978-3-16-148410-0", "1280x1024", "ticket 555-12", "rev 20260131-1200", "€ 1.234.567,89", "1e+10", "ISO 8601-1:2019"),
    "card": ("order 4000 1234 5678 9011", "1111 2222 3333 4444 5555", "0000000000000000", "4111-1111-1111-111", "tracking 9400111899223197428490", "4242 4242", "seq 1234567812345678", "int64 max 9223372036854775807", "1706745600000000"),
    "iban": ("DE is Germany", "GB82 WEST", "AB12CD34EF56GH78IJ90KL", "XX82WEST12345698765432", "ref NO12 3456"),
    "us ssn": ("078-05-112", "1-800-123", "part 123-45-67890", "123-456-789", "2026-01-3112"),
    "national id": ("123.456.789-00", "111.222.333.444", "12345678A-1", "X1234567", "756.0000.0000.01", "AB 12 34 56", "part AB123456Z", "0000 0000 0000", "build 1234 5678 9012", "850101-1230x"),
    "twilio": ("SKU 12345", "SK is Slovakia", "AC is alternating current"),
    "sendgrid": ("SG.", "S.G. Smith", "SGML.parser.module"),
    "shopify": ("shpat", "shop_at_home", "myshop.shopify.example"),
    "datadog": ("dd_api_version=2", "datadog.yaml"),
    "cloudflare": ("cf-ray: 8c1f2a3b4c5d6e7f-FRA", "cloudflare"),
}  # fmt: skip

WRITTEN_HELD_OUT: dict[str, tuple[str, ...]] = {
    "password": (
        "Enter your password to continue.", "Never share a password by mail.", "the password was changed",
        "password strength: weak", "password reset link sent", "password: required", "password: string",
        "public string Password { get; set; }", "user.password = hash(value)", "SELECT password FROM users",
        "token = next(tokens)", "token: str", "const token = await getToken();", "token := lex.Next()",
        "self.secret = secret", "api_key = os.environ['API_KEY']", "apiKey: process.env.API_KEY",
        "password = input('Password: ')", "password=${DB_PASSWORD}", "password: {{ .Values.password }}",
        "password: ${{ secrets.DB_PASSWORD }}", "--password-file /run/secrets/db", "secret_name: db-creds",
        "token bucket: 50 per second", "token ring network", "The secret of success is work.",
        "tokens_per_second=41.5", "passed: 12, failed: 0", "passive: true", "password: ********",
        "password=<your password>", "password: changed 3 days ago", "wrong password, try again",
    ),
    "basic": ("Basic plan: 9 USD", "basic understanding of calculus", "BASIC was written in 1964"),
    "bearer": ("bearer of bad news", "standard-bearer candidates met", "Authorization: Bearer <token>", "a bearer certificate of deposit"),
    "openai": ("sk-fading-circle", "o4-mini-deep-research-2025-06-26", "sk-container-fluid-wide-left", "task-runner-with-many-options", "run_01JABCDEF"),
    "anthropic": ("claude-opus-4-1-20250805", "toolu_01A09q90qw90lq917835lq9"),
    "hugging face": ("hf_olmo_model_for_causal_lm", "sentence-transformers/all-MiniLM-L6-v2"),
    "package registries": ("npm_lifecycle_event", "pypi-attestations", "npm warn deprecated glob@7.2.3"),
    "github": ("ghs_", "github_path", "commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "ghcr.example/acme/web:1.2"),
    "gitlab": ("glab mr list", "gitlab-runner-helper", "glft"),
    "slack": ("xoxo, Ada", "T024BE7LD/C024BE91L"),
    "aws": ("AKIATOOSHORT", "ASIAN markets rose", "eu-central-1", "vpc-0a1b2c3d4e5f67890", "ami-0abcdef1234567890", "src/components/Dashboard/WidgetContainer2", "Lorem/Ipsum/Dolor/Sit/Amet/Consectetur12"),
    "google": ("AIzawa Prefecture", "ya29", "1// a comment"),
    "azure": ("https://acme.blob.example/c/f.txt?sv=2024-11-04", "InstrumentationKey is set"),
    "jwt": ("eyJhb is how they start", "data:font/woff2;base64,d09GMgABAAAAAAYQAAoAAAAADHAAAAXE", "{\"alg\":\"HS256\"}"),
    "private key": ("-----BEGIN EC PARAMETERS-----", "BEGIN PRIVATE KEY is the first line", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 bob", "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"),
    "vault": ("hvac system", "hvs", "vault operator unseal"),
    "grafana": ("glass_half_full", "{job=\"x\"} |= \"error\""),
    "databricks": ("dapijs", "spark.databricks.io.cache"),
    "notion": ("secret_rotation_days", "https://notion.example/Page-0123456789abcdef0123456789abcdef"),
    "square": ("EAAAAAA is a scream", "sq0id"),
    "paseto": ("v4.publicity", "v3.1.4"),
    "oauth": ("code_challenge_method=S256", "client_id=web-app", "refresh_interval=30", "access_type=offline"),
    "session": ("sid=12", "session_timeout=3600", "jsessionid", "PHP Session is active"),
    "connection string": ("mysql://localhost/test", "ws://127.0.0.1:9222/devtools/page/1", "amqp://mq:5672", "svn+ssh://ada@host/repo", "Server=localhost;Database=x;Trusted_Connection=True"),
    "kubernetes": ("secretName: tls", "kind: ConfigMap\ndata:\n  a: b", "automountServiceAccountToken: false"),
    "email": ("@Override public void run()", "meet @ 10.30", "node@sha256:abc", "react@19.0.0-rc.1", "a@b", "hero@2x.jpg", "ada@", "price @ $5.00 each", "cc: @team/backend", "scp x host:/tmp"),
    "phone": ("room 202-1", "12-31-2026", "31.12.2026 12.30", "8.8.8.8", "0.1.2.3.4.5", "2:1 (1:0)", "score 21-19 21-17", "chapter 4.3.2.1", "lat -33.8688197 lon 151.2092955", "EUR 12 345 678", "5 000 000 000", "sizes 38 39 40 41 42 43", "rfc 9110 section 5.6.7", "0800 hours", "1-1", "+5.5 %", "id=20260131235959", "pid 12345 ppid 1", "uptime 123456.78"),
    "card": ("order 4539 1488 0343 6468", "5105105105105101", "3714496353984310", "6011000990139425", "batch 2026013112345678", "EAN 4006381333931", "1234-5678-9012-3456"),
    "iban": ("IBAN is required", "FR76", "DE44 5001 0517 5407 3249 30", "GB29 NWBK 6016 1331 9268 18", "CH93 0076"),
    "us ssn": ("000-00-0000", "900-12-3456", "section 12-34-5678", "123 45 6789", "SSN is required"),
    "national id": ("222.333.444-99", "12345678B is a part", "ABCDEF12G34H567I", "756.1234.5678.90", "QQ 12 34 56 C", "1234 1234 1234", "046 454 287", "820101-1234", "SIN(x) = 123-456-789"),
    "twilio": ("SK Telecom", "SKILL1234"),
    "sendgrid": ("SG.Dashboard.View", "sg-0a1b2c3d4e5f67890"),
    "shopify": ("shpss_", "shpca"),
    "datadog": ("dd if=/dev/zero of=x", "DD_ENV=prod"),
    "cloudflare": ("CF_PAGES=1", "__cf_bm"),
    "mailgun": ("key-value store", "key-left", "key-0123"),
    "telegram": ("12345:67890", "bot123"),
}  # fmt: skip

PLACES_SEALED: tuple[tuple[str, str], ...] = (
    ("text", "<{S}> was seen twice"),
    ("application/json", '[{{"v":"{S}"}},2]'),
    ("text", "a={S}, b=2"),
)
WRITTEN_SEALED: dict[str, tuple[str, ...]] = {
    "password": (
        "A password manager remembers them for you.", "password: at least 12 characters", "class PasswordField(Field):",
        "tokens_used=93", "token limit reached", "const { token } = props", "if (!token) throw new Error('x')",
        "secret=None", "apiKey?: string", "api key not found", "the api key is invalid", "Password incorrect",
        "password -> hash -> store", "token budget is 4,000", "SECRET_KEY must be set", "the passphrase is optional",
        "import secrets", "secrets.token_hex(16)", "credentials = load_credentials(path)", "password = getpass()",
        "token is stored in the keychain", "| token | string | the token |", "key: value", "keys: [a, b]",
    ),
    "bearer": ("bearer shares", "use Bearer authentication", "Authorization: required"),
    "basic": ("basic income", "Basic (free)"),
    "openai": ("sk-loading-dots-wave", "sk_SK.UTF-8", "gpt-5-mini"),
    "session": ("session=off", "Cookie policy", "cookies are baked", "SESSION_TIMEOUT=30"),
    "connection string": ("mongodb://localhost", "ldap://dc1.example:389/dc=x", "http://[::1]:8080/"),
    "aws": ("AKIA", "i-0abcd1234efgh5678", "arn:aws:s3:::bucket/key/with/a/long/path/of/names1"),
    "jwt": ("eyJ", "header.payload.signature"),
    "private key": ("-----BEGIN X509 CRL-----", "-----BEGIN DH PARAMETERS-----"),
    "email": ("@decorator", "foo@1.2.3", "at 10@night", "user@", "ssh ada@host"),
    "phone": ("101-202", "2026.01.31", "10.20.30.40", "1-2-3-4-5-6-7", "page 100-200", "ratio 1.618033988", "$1,234,567.00", "5551234", "T-30:00", "0-255"),
    "card": ("4111 1111 1111 1112", "1000200030004000", "SKU 9999-8888-7777-6666"),
    "iban": ("IT IS 12 3456", "GB00WEST12345698765432"),
    "us ssn": ("12-345-6789", "666-45-6789"),
    "national id": ("11.222.333-4", "Z12345678", "AB12CD", "1234-5678-9012"),
    "kubernetes": ("data:\n  a: b\nkind: ConfigMap", "kind: Secretariat"),
    "slack": ("xoxo", "https://slack.example/archives/C01"),
}  # fmt: skip
