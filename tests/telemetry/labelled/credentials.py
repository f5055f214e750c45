"""Makers of credentials: the shape that a vendor gives out, the characters drawn at random.

None was ever valid. Shapes are from the vendors' own pages. Prefixes that scanners of repositories
look for stand here without what follows them.
"""

import base64
import json
import string
from collections.abc import Callable
from random import Random
from typing import NamedTuple

HEX = "0123456789abcdef"
ALNUM = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits
BASE32 = string.ascii_uppercase + "234567"
B64 = ALNUM + "+/"
B64URL = ALNUM + "-_"


class Maker(NamedTuple):
    """`kind` is the row of the table. `names`: what such a value is stored under. `shaped`: known
    by its look alone; what is not is only placed where its name stands beside it."""

    kind: str
    make: Callable[[Random], str]
    names: tuple[str, ...]
    shaped: bool = True


def drawn(rng: Random, alphabet: str, count: int) -> str:
    """`count` characters; a digit and both cases are among them where the alphabet has them."""
    while True:
        value = "".join(rng.choice(alphabet) for _ in range(count))
        wanted = [
            part for part in (string.digits, string.ascii_lowercase) if set(part) & set(alphabet)
        ]
        if count < 12 or all(set(part) & set(value) for part in wanted):
            return value


def _shape(*parts: str | tuple[str, int]) -> Callable[[Random], str]:
    """Literal text and (alphabet, count) in turn."""
    return lambda rng: "".join(p if isinstance(p, str) else drawn(rng, *p) for p in parts)


def _segment(value: object) -> str:
    raw = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwt(rng: Random) -> str:
    """JWS, compact (RFC 7515)."""
    head = _segment({"alg": rng.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"})
    body = _segment({"sub": drawn(rng, string.digits, 8), "exp": 1767225600, "scope": "read"})
    return f"{head}.{body}.{drawn(rng, B64URL, 43)}"


def jwe(rng: Random) -> str:
    """JWE, compact (RFC 7516): five segments, the second empty with `dir`."""
    head = _segment({"alg": "dir", "enc": "A256GCM"})
    return f"{head}..{drawn(rng, B64URL, 16)}.{drawn(rng, B64URL, 60)}.{drawn(rng, B64URL, 22)}"


def pem(label: str, lines: int = 4) -> Callable[[Random], str]:
    """A block of text armour with random content."""

    def make(rng: Random) -> str:
        body = "\n".join(drawn(rng, B64, 64) for _ in range(lines))
        return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"

    return make


def _with_certificate(rng: Random) -> str:
    certificate = pem("CERTIFICATE", 2)(rng)
    return f"{pem('RSA PRIVATE KEY')(rng)}\n{certificate}"


def _pgp(rng: Random) -> str:
    body = "\n".join(drawn(rng, B64, 64) for _ in range(4))
    return (
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n{body}\n={drawn(rng, B64, 4)}\n"
        "-----END PGP PRIVATE KEY BLOCK-----"
    )


def _password(rng: Random) -> str:
    words = ("otter", "violet", "Harbour", "tundra", "Maple", "quartz", "lantern", "Cobalt")
    sign = rng.choice("!#$%*+-_.@^~")
    return f"{rng.choice(words)}{sign}{rng.choice(words)}{drawn(rng, string.digits, 3)}"


def _basic(rng: Random) -> str:
    pair = f"svc-{drawn(rng, string.ascii_lowercase, 4)}:{_password(rng)}"
    return base64.b64encode(pair.encode()).decode()


_A, _H, _U, _D = ALNUM, HEX, UPPER, string.digits

MAKERS: tuple[Maker, ...] = (
    Maker("aws", _shape("AK" + "IA", (BASE32, 16)), ("AWS_ACCESS_KEY_ID", "aws_access_key_id")),
    Maker("aws", _shape("AS" + "IA", (BASE32, 16)), ("AWS_ACCESS_KEY_ID", "accessKeyId")),
    Maker("aws", _shape((B64, 40)), ("AWS_SECRET_ACCESS_KEY", "secretAccessKey")),
    Maker("aws", _shape("FwoGZXIvYXdz", (B64, 180)), ("AWS_SESSION_TOKEN", "sessionToken"), False),
    Maker("aws", _shape("ABSK", (B64, 100)), ("AWS_BEARER_TOKEN_BEDROCK",), False),
    Maker("google", _shape("AI" + "za", (B64URL, 35)), ("GOOGLE_API_KEY", "apiKey")),
    Maker("google", _shape("ya" + "29.", (B64URL, 120)), ("access_token", "GOOGLE_ACCESS_TOKEN")),
    Maker("google", _shape("GOC" + "SPX-", (B64URL, 28)), ("client_secret", "OAUTH_CLIENT_SECRET")),
    Maker("google", _shape("1//", (B64URL, 60)), ("refresh_token", "refreshToken")),
    Maker("azure", _shape((B64, 86), "=="), ("AccountKey", "AZURE_STORAGE_KEY"), False),
    Maker("azure", _shape((_A, 3), "8Q~", (B64URL, 34)), ("AZURE_CLIENT_SECRET", "clientSecret")),
    Maker(
        "azure",
        _shape("sv=2024-11-04&ss=b&srt=co&sp=rl&se=2027-01-01T00:00:00Z&sig=", (_A, 42), "%3D"),
        ("SAS_TOKEN", "sasToken"),
    ),
    Maker("github", _shape("gh" + "p_", (_A, 36)), ("GITHUB_TOKEN", "githubToken")),
    Maker("github", _shape("gh" + "s_", (_A, 36)), ("GH_TOKEN", "token")),
    Maker(
        "github", _shape("github" + "_pat_", (_A, 22), "_", (_A, 59)), ("GITHUB_PAT_TOKEN", "token")
    ),
    Maker("gitlab", _shape("gl" + "pat-", (B64URL, 20)), ("GITLAB_TOKEN", "private_token")),
    Maker("gitlab", _shape("GR13" + "48941", (B64URL, 20)), ("REGISTRATION_TOKEN",)),
    Maker(
        "slack",
        _shape("xo" + "xb-", (_D, 12), "-", (_D, 13), "-", (_A, 24)),
        ("SLACK_BOT_TOKEN", "botToken"),
    ),
    Maker(
        "slack",
        _shape("xa" + "pp-1-A0", (_U, 9), "-", (_D, 13), "-", (_H, 64)),
        ("SLACK_APP_TOKEN",),
    ),
    Maker(
        "slack",
        _shape("https://hooks.sl" + "ack.com/services/T0", (_U, 9), "/B0", (_U, 9), "/", (_A, 24)),
        ("SLACK_WEBHOOK_SECRET",),
    ),
    Maker("stripe", _shape("sk" + "_live_", (_A, 24)), ("STRIPE_SECRET_KEY", "stripeSecretKey")),
    Maker("stripe", _shape("rk" + "_live_51", (_A, 90)), ("STRIPE_API_KEY", "apiKey")),
    Maker("stripe", _shape("wh" + "sec_", (_A, 32)), ("STRIPE_WEBHOOK_SECRET", "webhookSecret")),
    Maker(
        "openai", _shape("sk" + "-", (_A, 20), "T3BlbkFJ", (_A, 20)), ("OPENAI_API_KEY", "apiKey")
    ),
    Maker("openai", _shape("sk" + "-proj-", (B64URL, 120)), ("OPENAI_API_KEY", "openai_api_key")),
    Maker(
        "anthropic",
        _shape("sk" + "-ant-api03-", (B64URL, 93), "AA"),
        ("ANTHROPIC_API_KEY", "api_key"),
    ),
    Maker("hugging face", _shape("h" + "f_", (_A, 34)), ("HF_TOKEN", "hfToken")),
    Maker("package registries", _shape("np" + "m_", (_A, 36)), ("NPM_TOKEN", "_authToken")),
    Maker(
        "package registries", _shape("pyp" + "i-AgE", (B64URL, 160)), ("TWINE_PASSWORD", "password")
    ),
    Maker(
        "sendgrid",
        _shape("S" + "G.", (B64URL, 22), ".", (B64URL, 43)),
        ("SENDGRID_API_KEY", "apiKey"),
    ),
    Maker("mailgun", _shape("key" + "-", (_H, 32)), ("MAILGUN_API_KEY", "mailgunApiKey")),
    Maker(
        "mailgun",
        _shape((_H, 32), "-", (_H, 8), "-", (_H, 8)),
        ("MAILGUN_API_KEY", "api_key"),
        False,
    ),
    Maker("twilio", _shape("S" + "K", (_H, 32)), ("TWILIO_API_KEY", "apiKey")),
    Maker("twilio", _shape((_H, 32)), ("TWILIO_AUTH_TOKEN", "authToken"), False),
    Maker("digitalocean", _shape("do" + "p_v1_", (_H, 64)), ("DIGITALOCEAN_TOKEN", "access_token")),
    Maker("shopify", _shape("shp" + "at_", (_H, 32)), ("SHOPIFY_ACCESS_TOKEN", "accessToken")),
    Maker("docker", _shape("dckr" + "_pat_", (B64URL, 27)), ("DOCKER_PASSWORD", "DOCKERHUB_TOKEN")),
    Maker("telegram", _shape((_D, 10), ":AA", (B64URL, 33)), ("TELEGRAM_BOT_TOKEN", "botToken")),
    Maker(
        "discord",
        _shape("MT", (_A, 24), ".G", (_A, 5), ".", (B64URL, 38)),
        ("DISCORD_TOKEN", "discordBotToken"),
    ),
    Maker(
        "discord",
        _shape("https://discord.com/api/webhooks/", (_D, 19), "/", (B64URL, 68)),
        ("DISCORD_WEBHOOK_SECRET",),
    ),
    Maker(
        "grafana", _shape("gl" + "sa_", (_A, 32), "_", (_H, 8)), ("GRAFANA_TOKEN", "serviceToken")
    ),
    Maker("grafana", _shape("gl" + "c_eyJ", (_A, 120), "="), ("GRAFANA_CLOUD_API_KEY", "apiKey")),
    Maker("datadog", _shape((_H, 32)), ("DD_API_KEY", "DATADOG_API_KEY"), False),
    Maker("datadog", _shape((_H, 40)), ("DD_APP_KEY", "DD_APPLICATION_KEY"), False),
    Maker("databricks", _shape("da" + "pi", (_H, 32)), ("DATABRICKS_TOKEN", "token")),
    Maker("cloudflare", _shape((B64URL, 40)), ("CLOUDFLARE_API_TOKEN", "CF_API_TOKEN"), False),
    Maker("cloudflare", _shape((_H, 37)), ("CLOUDFLARE_API_KEY", "CF_API_KEY"), False),
    Maker("square", _shape("EA" + "AA", (B64URL, 60)), ("SQUARE_ACCESS_TOKEN", "accessToken")),
    Maker("square", _shape("sq0" + "csp-", (B64URL, 43)), ("SQUARE_SECRET", "applicationSecret")),
    Maker("linear", _shape("lin" + "_api_", (_A, 40)), ("LINEAR_API_KEY", "apiKey")),
    Maker("notion", _shape("ntn" + "_", (_D, 11), (_A, 35)), ("NOTION_TOKEN", "notionToken")),
    Maker("notion", _shape("secret" + "_", (_A, 43)), ("NOTION_API_KEY", "api_key")),
    Maker(
        "sentry",
        _shape("https://", (_H, 32), "@o", (_D, 6), ".ingest.sentry.example/", (_D, 7)),
        ("SENTRY_DSN", "dsn"),
    ),
    Maker("sentry", _shape("sn" + "trys_eyJ", (_A, 100), "=_", (_A, 43)), ("SENTRY_AUTH_TOKEN",)),
    Maker("vault", _shape("hv" + "s.", (B64URL, 90)), ("VAULT_TOKEN", "client_token")),
    Maker("oauth", _shape((B64URL, 64)), ("refresh_token", "refreshToken"), False),
    Maker("oauth", _shape((_A, 48)), ("client_secret", "CLIENT_SECRET"), False),
    Maker("session", _shape((_H, 40)), ("session_id", "PHPSESSID", "JSESSIONID"), False),
    Maker("ssh key", pem("OPENSSH PRIVATE KEY"), ("SSH_PRIVATE_KEY", "privateKey")),
    Maker("pgp key", _pgp, ("GPG_PRIVATE_KEY", "signing_key")),
    Maker("private key", pem("PRIVATE KEY"), ("private_key", "TLS_PRIVATE_KEY")),
    Maker("private key", pem("EC PRIVATE KEY", 2), ("private_key", "tlsPrivateKey")),
    Maker("private key", _with_certificate, ("TLS_PRIVATE_KEY", "private_key")),
    Maker("jwt", jwt, ("ID_TOKEN", "idToken")),
    Maker("jwt", jwe, ("id_token", "SESSION_TOKEN")),
    Maker("paseto", _shape("v4.public.", (B64URL, 120)), ("ACCESS_TOKEN", "token")),
    Maker("paseto", _shape("v2.local.", (B64URL, 100)), ("ACCESS_TOKEN", "token")),
    Maker("password", _password, ("DB_PASSWORD", "password", "smtpPassword"), False),
    Maker("password", _password, ("passwd", "ADMIN_PASSPHRASE", "secret"), False),
    Maker("password", _shape((_A, 16)), ("APP_SECRET", "encryption_key", "licenseKey"), False),
)

# Vendors that nobody thought of while the patterns were written; only in the held-out part.
UNSEEN: tuple[Maker, ...] = (
    Maker("other vendors", _shape("fi" + "gd_", (B64URL, 40)), ("FIGMA_TOKEN", "token")),
    Maker("other vendors", _shape("NR" + "AK-", (_U, 27)), ("NEW_RELIC_API_KEY", "apiKey")),
    Maker(
        "other vendors",
        _shape("PM" + "AK-", (_H, 24), "-", (_H, 34)),
        ("POSTMAN_API_KEY", "api_key"),
    ),
    Maker(
        "other vendors", _shape("pscale" + "_tkn_", (B64URL, 43)), ("PLANETSCALE_TOKEN", "token")
    ),
    Maker("other vendors", _shape("sb" + "p_", (_H, 40)), ("SUPABASE_ACCESS_TOKEN", "accessToken")),
    Maker("other vendors", _shape("gs" + "k_", (_A, 52)), ("GROQ_API_KEY", "apiKey")),
    Maker("other vendors", _shape("xa" + "i-", (_A, 80)), ("XAI_API_KEY", "apiKey")),
    Maker("other vendors", _shape("r" + "8_", (_A, 37)), ("REPLICATE_API_TOKEN", "apiToken")),
    Maker(
        "other vendors", _shape("pa" + "t", (_A, 14), ".", (_H, 64)), ("AIRTABLE_TOKEN", "token")
    ),
    Maker("other vendors", _shape("dp" + ".pt.", (_A, 43)), ("DOPPLER_TOKEN", "token")),
    Maker("other vendors", _shape("tv" + "ly-", (_A, 32)), ("TAVILY_API_KEY", "api_key")),
    Maker("other vendors", _shape("rdme" + "_xn8s9h", (_H, 64)), ("README_API_KEY", "apiKey")),
)


SEALED: tuple[Maker, ...] = (
    Maker("other vendors", _shape("pul" + "-", (_H, 40)), ("PULUMI_ACCESS_TOKEN", "token")),
    Maker("other vendors", _shape("rub" + "ygems_", (_H, 48)), ("GEM_HOST_API_KEY", "apiKey")),
    Maker("other vendors", _shape("cio" + "-", (_A, 30)), ("CIO_API_KEY", "apiKey")),
    Maker("other vendors", _shape("dckr" + "_oat_", (_A, 32)), ("DOCKER_TOKEN", "token")),
    Maker("other vendors", _shape("phc" + "_", (_A, 43)), ("POSTHOG_API_KEY", "apiKey")),
    Maker("other vendors", _shape("shippo" + "_live_", (_H, 40)), ("SHIPPO_TOKEN", "token")),
    Maker("other vendors", _shape("live" + "_", (_A, 35)), ("ASAAS_API_KEY", "api_key")),
    Maker("other vendors", _shape("sl" + ".", (B64URL, 130)), ("DROPBOX_TOKEN", "token")),
)


class Written(NamedTuple):
    """A text of its own form: `text` has one `{S}` where the secret goes; `media` as in
    `contexts.py`; `keep` must still stand in what comes out."""

    kind: str
    make: Callable[[Random], str]
    media: str
    text: str
    keep: tuple[str, ...] = ()


_URLS = ("postgres://app:{S}@db.example:5432/orders", "mongodb+srv://root:{S}@c0.example/admin",
         "redis://:{S}@cache.example:6379/0", "amqp://guest:{S}@mq.example/vhost",
         "mysql+pymysql://app:{S}@db.example/shop?charset=utf8")  # fmt: skip
_secret = _shape((ALNUM, 18))

WRITTEN_TUNED: tuple[Written, ...] = (
    *(Written("connection string", _secret, "text", f"dial {url} failed", ("dial ", " failed"))
      for url in _URLS),
    Written("connection string", _secret, "text", "Server=db;User Id=sa;Password={S};Encrypt=yes", ("Server=db;User Id=sa;", ";Encrypt=yes")),
    Written("connection string", _password, "text", "host=db user=app password={S} dbname=x", ("host=db user=app ", " dbname=x")),
    Written("azure", _shape((B64, 86), "=="), "text", "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={S};EndpointSuffix=core.example", ("AccountName=acme;", ";EndpointSuffix=core.example")),
    Written("azure", _shape((B64, 43), "="), "text", "Endpoint=sb://x.example/;SharedAccessKeyName=Root;SharedAccessKey={S}", ("Endpoint=sb://x.example/;",)),
    Written("azure", _shape((ALNUM, 40), "%3D"), "text", "GET https://acme.blob.example/c/f.txt?sv=2024-11-04&sp=r&sig={S} 403", ("https://acme.blob.example/c/f.txt", " 403")),
    Written("basic", _basic, "text", "> Authorization: Basic {S}\n> Accept: */*", ("> Accept: */*",)),
    Written("basic", _basic, "application/json", '{"headers":["Authorization: Basic {S}"],"n":1}', ('"n":1',)),
    Written("basic", _password, "text", "curl -u admin:{S} https://api.example/v1", ("https://api.example/v1",)),
    Written("basic", _password, "text", "clone https://ann:{S}@git.example/x.git now", ("clone https://", "git.example/x.git now")),
    Written("bearer", _shape((B64URL, 40)), "text", "> Authorization: Bearer {S}\n> Accept: */*", ("> Accept: */*",)),
    Written("bearer", _shape((HEX, 32)), "text", "sent bearer {S} to it", ("sent ", " to it")),
    Written("bearer", _shape((ALNUM, 30)), "application/json", '{"argv":["-H","Authorization: Bearer {S}"]}', ('"argv"', '"-H"')),
    Written("session", _shape((HEX, 32)), "text", "Cookie: theme=dark; sessionid={S}; lang=de", ()),
    Written("session", _shape((B64URL, 48)), "text", "Set-Cookie: connect.sid=s%3A{S}; Path=/; HttpOnly", ()),
    Written("session", _shape((ALNUM, 32)), "header set-cookie", "app_session={S}; Secure", ()),
    Written("session", _shape((ALNUM, 26)), "text", "GET /cart;jsessionid={S} 200", ("GET /cart;", " 200")),
    Written("kubernetes", lambda r: base64.b64encode(_password(r).encode()).decode(), "text", "apiVersion: v1\nkind: Secret\ndata:\n  DB_PASSWORD: {S}\n", ("apiVersion: v1\nkind: Secret\n",)),
    Written("kubernetes", jwt, "text", "users:\n- name: ci\n  user:\n    token: {S}\n", ("users:\n- name: ci\n",)),
    Written("kubernetes", lambda r: base64.b64encode(pem("RSA PRIVATE KEY")(r).encode()).decode(), "text", "    client-key-data: {S}\ncontexts: []\n", ("contexts: []",)),
    Written("kubernetes", lambda r: base64.b64encode(_password(r).encode()).decode(), "application/json", '{"kind":"Secret","data":{"db":"{S}"},"type":"Opaque"}', ('"kind":"Secret"', '"type":"Opaque"')),
    Written("google", pem("PRIVATE KEY"), "application/json", '{"type":"service_account","private_key":"{S}","client_id":"100"}', ('"type":"service_account"', '"client_id":"100"')),
    Written("docker", lambda r: base64.b64encode(f"ci:{_password(r)}".encode()).decode(), "application/json", '{"auths":{"registry.example":{"auth":"{S}"}}}', ('"registry.example"',)),
    Written("aws", _shape((HEX, 64)), "text", "https://b.s3.example/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-Signature={S} ok", ("https://b.s3.example/k?X-Amz-Algorithm=AWS4-HMAC-SHA256", " ok")),
    Written("aws", _shape((HEX, 64)), "text", "Authorization: AWS4-HMAC-SHA256 Credential=X/20260101/eu/s3/aws4_request, SignedHeaders=host, Signature={S}\nHost: b", ("\nHost: b",)),
    Written("password", _password, "application/json", '{"env":[{"name":"DB_PASSWORD","value":"{S}"},{"name":"PORT","value":"80"}]}', ('{"name":"PORT","value":"80"}',)),
    Written("password", _password, "text", "env:\n- name: DB_PASSWORD\n  value: {S}\n- name: PORT\n  value: 80\n", ("- name: PORT\n  value: 80",)),
    Written("password", _password, "text", "My password is {S} by the way", (" by the way",)),
    Written("password", _password, "text/html", '<input type="password" name="pw" value="{S}"> <b>ok</b>', ("<b>ok</b>",)),
)  # fmt: skip

WRITTEN_HELD_OUT: tuple[Written, ...] = (
    *(Written("connection string", _secret, "application/json", f'{{"error":"cannot reach {url}","code":7}}', ('"error":"cannot reach ', '"code":7'))
      for url in ("postgresql://svc:{S}@10.0.0.9/db", "rediss://default:{S}@r.example:6380", "sqlserver://sa:{S}@h:1433", "clickhouse://u:{S}@h/db", "ftp://ann:{S}@files.example/x")),
    Written("connection string", _secret, "text", "jdbc:postgresql://db.example/x?user=app&password={S}&ssl=true", ("jdbc:postgresql://db.example/x", "ssl=true")),
    Written("connection string", _secret, "text", "Data Source=tcp:db,1433;Uid=sa;Pwd={S};", ("Data Source=tcp:db,1433;",)),
    Written("connection string", _secret, "text", "db.example:5432:orders:app:{S}", ()),
    Written("connection string", _secret, "text", "machine git.example login ann password {S}\n", ("machine git.example login ann ",)),
    Written("azure", _shape((B64, 86), "=="), "application/json", '{"cs":"AccountName=b;AccountKey={S};BlobEndpoint=https://b.example/"}', ("AccountName=b;",)),
    Written("azure", _shape((B64, 43), "="), "text", "HostName=hub.example;DeviceId=d1;SharedAccessKey={S}", ("HostName=hub.example;DeviceId=d1;",)),
    Written("basic", _basic, "text", "proxy said: 'Proxy-Authorization: Basic {S}' is stale", ("proxy said: ", " is stale")),
    Written("basic", _password, "text", "wget --user=ann --password={S} https://f.example/a", ("wget --user=ann ", " https://f.example/a")),
    Written("basic", _password, "text", "auth=('ann', '{S}'), timeout=3", ("timeout=3",)),
    Written("bearer", _shape((ALNUM, 36)), "text", "fetch(u, {headers: {'Authorization': 'Bearer {S}'}})", ("fetch(u, ",)),
    Written("bearer", _shape((ALNUM, 44)), "text/xml", "<h k='Authorization'>Bearer {S}</h><n>1</n>", ("<n>1</n>",)),
    Written("bearer", _shape((B64URL, 40)), "text", "Authorization: Token {S}\nAccept: a/b", ("\nAccept: a/b",)),
    Written("session", _shape((HEX, 32)), "text", "-b 'sid={S}' https://x.example", ("https://x.example",)),
    Written("session", _shape((ALNUM, 40)), "header cookie", "a=1; sess={S}", ()),
    Written("session", _shape((ALNUM, 40)), "application/json", '{"cookies":[{"name":"session","value":"{S}","path":"/"}]}', ()),
    Written("session", _shape((HEX, 32)), "text", "document.cookie=\"laravel_session={S}; path=/\"", ()),
    Written("kubernetes", lambda r: base64.b64encode(_password(r).encode()).decode(), "application/json", '{"items":[{"kind":"Secret","data":{"a.txt":"{S}"}}],"n":2}', ('"n":2',)),
    Written("kubernetes", lambda r: base64.b64encode(_password(r).encode()).decode(), "text", "kind: Secret\nmetadata:\n  name: s\ndata:\n  db: {S}\n", ("kind: Secret\nmetadata:\n  name: s\n",)),
    Written("docker", lambda r: base64.b64encode(f"ci:{_password(r)}".encode()).decode(), "text", '{\n  "auths": {"r.example": {"auth": "{S}"}}\n}', ("r.example",)),
    Written("aws", _shape((B64, 40)), "text", "[default]\naws_secret_access_key={S}\nregion=eu-west-1", ("[default]\n", "\nregion=eu-west-1")),
    Written("google", _shape((ALNUM, 60)), "text", "https://storage.example/b/o?X-Goog-Expires=60&X-Goog-Signature={S}", ("https://storage.example/b/o?X-Goog-Expires=60",)),
    Written("password", _password, "text", "CREATE USER app WITH PASSWORD '{S}' CREATEDB;", ("CREATE USER app WITH ", "CREATEDB;")),
    Written("password", _password, "text", "CREATE USER a@b IDENTIFIED BY '{S}';", ("CREATE USER a@b ",)),
    Written("password", _password, "text", "login: ann / pass: {S}\nsee you", ("login: ann / ", "\nsee you")),
    Written("password", _password, "text", "the new passphrase is {S}, keep it", (", keep it",)),
    Written("password", _password, "application/xml", '<user name="ann" password="{S}" age="7"/>', ('<user name="ann" ', 'age="7"/>')),
    Written("password", _password, "text", "sshpass -p '{S}' ssh ann@h.example ls", ("ls",)),
)  # fmt: skip
