"""Places where secrets stand: the templates that makers are put into.

`{S}` is the secret and `{N}` its name. `media`: `text` (a line of a log or prose), `path`,
`header NAME`, or the media type of a body. `write` says how the place spells a value.
"""

import base64
import json
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import escape


def _plain(value: str) -> str:
    return value


def _json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _json_twice(value: str) -> str:
    return _json(_json(value))


def _escaped(value: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in value)


def _url(value: str) -> str:
    return quote(value, safe="")


def _base64(value: str) -> str:
    return base64.b64encode(f"config:\n  value is {value} and no more\n".encode()).decode()


def _block(value: str) -> str:
    return value.replace("\n", "\n    ")


class Context(NamedTuple):
    """`named`: the secret's name stands beside it. `lines`: a value of several lines fits.
    `spelling`: how the name is written. `keep`: what must remain of the surroundings."""

    text: str
    keep: tuple[str, ...]
    media: str = "text"
    write: Callable[[str], str] = _plain
    named: bool = False
    lines: bool = False
    spelling: str = ""
    cut: bool = False


_J = "application/json"
_F = "application/x-www-form-urlencoded"

TUNED: tuple[Context, ...] = (
    Context("Please use {S} for the import, then tell Ada.", ("Please use ", " for the import, then tell Ada.")),
    Context("2026-01-31T10:00:00Z WARN rejected value {S} after 3 tries", ("2026-01-31T10:00:00Z WARN rejected value ", " after 3 tries")),
    Context('{"note":"{S}","count":3}', ('{"note":"', '"count":3}'), _J, _json, lines=True),
    Context('{"a":[{"b":["x","{S}",7]}]}', ('{"a":[{"b":["x",', ",7]}]}"), _J, _json, lines=True),
    Context('{"content":[{"type":"text","text":"{\\"row\\":\\"{S}\\",\\"n\\":1}"}]}', ('"type":"text"', '\\"n\\":1'), _J, _json_twice, lines=True),
    Context('{"note":"{S}","count":3}', ('"count":3}',), _J, _escaped, lines=True),
    Context('{"note":"see {S}", "count": NaN}', ('"count": NaN}',), _J, _json, lines=True),
    Context("# Setup\n\n- value: `{S}`\n- next: *see docs*\n", ("# Setup\n\n- value: `", "`\n- next: *see docs*\n")),
    Context('event: delta\ndata: {"delta":"{S}","i":1}\n\n', ("event: delta\n", '"i":1'), "text/event-stream", _json, lines=True),
    Context('<r><e id="7">{S}</e><n>3</n></r>', ('<r><e id="7">', "</e><n>3</n></r>"), "application/xml", escape, lines=True),
    Context("note={S}&page=2", ("note=", "&page=2"), _F, _url, lines=True),
    Context("/v1/items/{S}/view", ("/v1/items/", "/view"), "path", _url),
    Context("/v1/items?a={S}&page=1", ("/v1/items?a=", "&page="), "path", _url, lines=True),
    Context("items:\n  - {S}\n  - other\n", ("items:\n  - ", "\n  - other\n"), "application/yaml"),
    Context("7,{S},ok\n8,none,ok\n", ("7,", ",ok\n8,none,ok\n"), "text/csv"),
    Context('{"content":"{S}","encoding":"base64"}', ('"encoding":"base64"}',), _J, _base64, lines=True),
    Context("Some text that is long enough, then {S}", ("Some text that is long enough, then ",), cut=True),
    Context('{"a":1,"note":"then {S}', ('"a":1',), _J, cut=True),
    Context("logged {S}\n", ("logged ",), "text", lines=True),
    # With its name.
    Context("PORT=80\n{N}={S}\nDEBUG=1\n", ("PORT=80\n", "\nDEBUG=1\n"), named=True),
    Context('export {N}="{S}"; ls', ("export ", "; ls"), named=True, spelling="upper", lines=True),
    Context("app:\n  {N}: {S}\n  port: 80\n", ("app:\n", "\n  port: 80\n"), named=True),
    Context("app:\n  {N}: '{S}'\n  port: 80\n", ("app:\n", "\n  port: 80\n"), named=True),
    Context("app:\n  {N}: |\n    {S}\n  port: 80\n", ("app:\n", "\n  port: 80\n"), "text", _block, named=True, lines=True),
    Context('{"user":"ada","{N}":"{S}","n":1}', ('"user":"ada"', '"n":1'), _J, _json, named=True, lines=True),
    Context('{"key":"{N}","value":"{S}","n":1}', ('"n":1',), _J, _json, named=True, lines=True),
    Context('level=info {N}="{S}" took=3ms', ("level=info ", " took=3ms"), named=True, lines=True),
    Context("{N} = '{S}'\ntimeout = 3", ("\ntimeout = 3",), named=True),
    Context("run --{N} {S} --port 80", ("run ", " --port 80"), named=True, spelling="dash"),
    Context("run --{N}={S} --port 80", ("run ", " --port 80"), named=True, spelling="dash"),
    Context("GET https://api.example/v1?{N}={S}&page=2 200", ("https://api.example/v1?", "&page=2 200"), "text", _url, named=True),
    Context("<c><{N}>{S}</{N}><port>80</port></c>", ("<port>80</port></c>",), "application/xml", escape, named=True, lines=True),
    Context("{N}={S}&page=2", ("&page=2",), _F, _url, named=True, lines=True),
    Context('{\\"{N}\\": \\"{S}\\", \\"n\\": 1}', ('\\"n\\": 1}',), "text", _json_twice, named=True, lines=True),
    Context("{'a': 1, '{N}': '{S}', 'n': 2}", ("{'a': 1, ", "'n': 2}"), named=True),
    Context("env:\n- name: {N}\n  value: {S}\n- name: PORT\n", ("env:\n", "\n- name: PORT\n"), named=True, spelling="upper"),
    Context('<input type="hidden" name="{N}" value="{S}"><p>x</p>', ("<p>x</p>",), "text/html", escape, named=True),
)  # fmt: skip

HELD_OUT: tuple[Context, ...] = (
    Context("hey @sam, the thing you wanted is {S} :tada: thanks", ("hey @sam, the thing you wanted is ", " :tada: thanks")),
    Context("<p>Send it to ({S}) before <b>noon</b>.</p>", ("<p>Send it to (", ") before <b>noon</b>.</p>"), "text/html"),
    Context("ValueError: bad input: {S}\n  File \"a.py\", line 3", ("ValueError: bad input: ", '\n  File "a.py", line 3')),
    Context("-old line\n+const x = \"{S}\";\n context", ("-old line\n+const x = \"", "\";\n context")),
    Context('{"ok":true}\n{"v":"{S}"}\n{"n":2}\n', ('{"ok":true}\n', '{"n":2}\n'), "application/x-ndjson", _json, lines=True),
    Context('{\n  "list": [\n    "{S}"\n  ],\n  "total": 1\n}', ('"list"', '"total"'), _J, _json, lines=True),
    Context('{"jsonrpc":"2.0","id":4,"result":{"content":[{"type":"text","text":"found {S} there"}]}}', ('"jsonrpc":"2.0"', "found ", " there"), _J, _json, lines=True),
    Context('{"q":"{S}","n":1}', ('"n":1',), _J, _escaped, lines=True),
    Context("q={S}&b=1", ("b=1",), _F, _url, lines=True),
    Context("INSERT INTO t VALUES (7, '{S}', NULL);", ("INSERT INTO t VALUES (7, '", "', NULL);")),
    Context("| id | value |\n|----|-------|\n| 7 | {S} |\n", ("| id | value |", "| 7 | ", " |\n")),
    Context("/files/{S}.txt", ("/files/",), "path", _url),
    Context("https://h.example/cb#x={S}", ("https://h.example/cb",), "header location", _url),
    Context("agent/1.0 ({S})", ("agent/1.0 (",), "header user-agent"),
    Context('{"file":{"data":"{S}"},"n":1}', ('"n":1',), _J, _base64, lines=True),
    Context(": ping\n\nid: 3\ndata: partial {S}\n\n", (": ping\n\nid: 3\n", "partial "), "text/event-stream"),
    Context("row one\nrow two with {S}", ("row one\nrow two with ",), "text/plain", cut=True),
    # With its name.
    Context("docker run -e {N}={S} -p 80:80 img", ("docker run -e ", " -p 80:80 img"), named=True, spelling="upper"),
    Context('$env:{N} = "{S}"\nGet-Date', ("\nGet-Date",), named=True, spelling="upper"),
    Context("'{N}' => '{S}',\n'port' => 80,", ("'port' => 80,",), named=True),
    Context('client = Client({N}="{S}", retries=3)', ("client = Client(", ", retries=3)"), named=True),
    Context('const cfg = { {N}: "{S}", port: 80 };', ("const cfg = { ", ", port: 80 };"), named=True),
    Context("{N} := {S}\nall: build", ("\nall: build",), named=True, spelling="upper"),
    Context('resource "x" {\n  {N} = "{S}"\n  size = 3\n}', ('resource "x" {\n', "\n  size = 3\n}"), named=True),
    Context("ENV {N} {S}\nRUN make", ("ENV ", "\nRUN make"), named=True, spelling="upper"),
    Context("| {N} | {S} |\n| port | 80 |", ("\n| port | 80 |",), named=True),
    Context('{"env":{"PORT":"80","{N}":"{S}"}}', ('"PORT":"80"',), _J, _json, named=True, lines=True),
    Context('[{"Name":"{N}","Value":"{S}"},{"Name":"x","Value":"80"}]', ('{"Name":"x","Value":"80"}',), _J, _json, named=True, lines=True),
    Context('<add key="{N}" value="{S}" /><add key="port" value="80" />', ('<add key="port" value="80" />',), "text/xml", escape, named=True),
    Context("\x1b[32m{N}\x1b[0m: {S} done", (" done",), named=True),
    Context("error: invalid {N} '{S}' for ada", (" for ada",), named=True),
    Context("Your {N} is {S}. Keep it safe.", (" Keep it safe.",), named=True, spelling="words"),
    Context("{N} (prod): {S}\nport: 80", ("\nport: 80",), named=True),
    Context("{N}={S}; path=/; x=1", ("x=1",), named=True),
)  # fmt: skip


# Written after the held-out part had been looked at, used once, and not looked at case by case.
SEALED: tuple[Context, ...] = (
    Context("Ada asked: does {S} still work? Bob: no idea", ("Ada asked: does ", " still work? Bob: no idea")),
    Context("panic: unexpected [{S}] at main.go:42", ("panic: unexpected [", "] at main.go:42")),
    Context('{"messages":[{"role":"user","content":"use {S} please"}],"max_tokens":20}', ('"role":"user"', '"max_tokens":20'), _J, _json, lines=True),
    Context('[1,2,["{S}"],{"x":null}]', ("[1,2,[", '{"x":null}]'), _J, _json, lines=True),
    Context("c={S}", ("c=",), _F, _url, lines=True),
    Context("<td>{S}</td><td>4</td>", ("<td>", "</td><td>4</td>"), "text/html", escape, lines=True),
    Context("\t// TODO remove {S}\n\treturn 1", ("\t// TODO remove ", "\n\treturn 1")),
    Context("/v2/lookup/{S}", ("/v2/lookup/",), "path", _url),
    Context("nginx/1.2 {S}", ("nginx/1.2 ",), "header x-debug"),
    Context('{"blob":"{S}"}', ('{"blob":',), _J, _base64, lines=True),
    Context('data: {"choices":[{"delta":{"content":"{S}"}}]}\n\ndata: [DONE]\n\n', ("data: [DONE]",), "text/event-stream", _json, lines=True),
    Context("kubectl set env deploy/web {N}={S} -n prod", ("kubectl set env deploy/web ", " -n prod"), named=True, spelling="upper"),
    Context("{N}={S}|retries=3|x=1", ("retries=3|x=1",), named=True),
    Context('{\n  "config": {\n    "{N}": "{S}",\n    "port": 80\n  }\n}', ('"port"',), _J, _json, named=True, lines=True),
    Context("services:\n  web:\n    environment:\n      - {N}={S}\n      - PORT=80\n", ("services:\n  web:\n    environment:\n", "\n      - PORT=80\n"), named=True, spelling="upper"),
    Context("<property><name>{N}</name><value>{S}</value></property><n>1</n>", ("<n>1</n>",), "application/xml", escape, named=True),
    Context('os.environ["{N}"] = "{S}"\nmain()', ("\nmain()",), named=True, spelling="upper"),
    Context('mutation { login({N}: "{S}", user: "ada") { ok } }', ('user: "ada") { ok } }',), named=True),
    Context("{N}\n{S}\n\nport\n80\n", ("\n\nport\n80\n",), named=True, spelling="words"),
    Context("W0131 10:00:00.123 auth.go:9] bad {N}: \"{S}\" from 10.0.0.1", ("W0131 10:00:00.123 auth.go:9] bad ", " from 10.0.0.1"), named=True),
)  # fmt: skip


def spelled(name: str, spelling: str) -> str:
    """A name as the place writes it."""
    if spelling == "upper":
        return (
            name.upper()
            if "_" in name
            else "".join(f"_{c}" if c.isupper() else c for c in name).upper()
        )
    if spelling in ("dash", "words"):
        snake = (
            name if "_" in name else "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        )
        return snake.lower().replace("_", "-" if spelling == "dash" else " ")
    return name
