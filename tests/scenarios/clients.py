"""The clients of the matrix, one row each: how they are started, how they are told whom to trust,
and how they name their run. Each fetches one URL and prints what it got."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from tests.scenarios.mcp_processes import HERE, PYTHONS

_REQUESTS = """
import requests, sys
named = {"X-Agent-Run-Id": sys.argv[2]} if sys.argv[2:] else {}
print(requests.get(sys.argv[1], headers=named).text)
"""

_URLLIB = """
import sys, urllib.request
named = {"X-Agent-Run-Id": sys.argv[2]} if sys.argv[2:] else {}
request = urllib.request.Request(sys.argv[1], headers=named)
print(urllib.request.urlopen(request).read().decode())
"""

_AIOHTTP = """
import asyncio, aiohttp, sys
named = {"X-Agent-Run-Id": sys.argv[2]} if sys.argv[2:] else {}
async def main():
    async with aiohttp.ClientSession(trust_env=True, headers=named) as s:
        print(await (await s.get(sys.argv[1])).text())
asyncio.run(main())
"""

# Node 20 knows no proxy variables: absolute-form and CONNECT by hand, then its own https module on
# the socket.
_NODE = """
const http = require('http'), https = require('https');
const [target, run] = process.argv.slice(2);
const url = new URL(target);
const headers = {Host: url.host, ...(run && {'X-Agent-Run-Id': run})};
const variable = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
const show = answer => answer.on('data', data => process.stdout.write(data));
if (!process.env[variable]) {
  http.get(url, {headers, agent: false}, show);
} else {
  const proxy = new URL(process.env[variable]);
  const word = Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64');
  const by = {host: proxy.hostname, port: proxy.port, agent: false};
  const auth = {'Proxy-Authorization': `Basic ${word}`};
  if (url.protocol === 'http:') {
    http.get({...by, path: target, headers: {...headers, ...auth}}, show);
  } else {
    http.request({...by, method: 'CONNECT', path: url.host, headers: auth})
      .on('connect', (res, socket) => {
        https.get({socket, agent: false, host: url.hostname, servername: url.hostname,
                   path: url.pathname, headers}, show);
      }).end();
  }
}
"""

# Java reads no proxy variables either, and by default gives no password to a tunnel.
_JAVA = """
import java.net.*;
import java.net.http.*;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient.Builder client = HttpClient.newBuilder();
        String variable = System.getenv("HTTPS_PROXY");
        if (variable != null) {
            URI proxy = URI.create(variable);
            InetSocketAddress place = new InetSocketAddress(proxy.getHost(), proxy.getPort());
            client.proxy(ProxySelector.of(place));
        }
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(arguments[0]));
        if (arguments.length > 1) request.header("X-Agent-Run-Id", arguments[1]);
        System.out.println(
            client.build().send(request.build(), HttpResponse.BodyHandlers.ofString()).body());
    }
}
"""

_OPENAI = """
import openai, sys
client = openai.OpenAI(base_url=sys.argv[1], api_key="not-a-key-1", max_retries=0)
answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
print(answer.choices[0].message.content)
"""

_ANTHROPIC = """
import anthropic, sys
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="not-a-key-1", max_retries=0)
said = [{"role": "user", "content": "hi"}]
answer = client.messages.create(model="m", max_tokens=9, messages=said)
print(answer.content[0].text)
"""

_SEARCH = json.dumps({"do": "call", "name": "search", "arguments": {"q": "cats"}}) + "\n"


class Client(NamedTuple):
    """`{url}`, `{run}`, `{folder}` in the words of `command` and `named` are filled in; `named`
    follows where the run has to be named in a header. `source` is written to `{folder}/NAME`,
    NAME being `file`. `trust` is the variable that names the CA's file, `java` or `wgetrc`.
    `at` is the path it is sent to, `asks` one it then asks for, `says` what it prints, `leaves` a
    file that it makes in its folder, `orders` its input."""

    name: str
    command: tuple[str, ...]
    named: tuple[str, ...] = ()
    trust: str = "SSL_CERT_FILE"
    file: str = ""
    source: str = ""
    at: str = "/hello"
    asks: str = "/hello"
    says: str = '"path": "/hello"'
    leaves: str = ""
    orders: str = ""
    names_its_run: bool = True  # by the proxy's URL

    def start(self, folder: Path, url: str, run: str = "") -> list[str]:
        """The command line for one fetch."""
        if self.source:
            (folder / self.file).write_text(self.source, encoding="utf-8")
        words = (*self.command, *(self.named if run else ()))
        return [
            word.replace("{url}", url).replace("{run}", run).replace("{folder}", str(folder))
            for word in words
        ]

    @property
    def is_mcp(self) -> bool:
        """It speaks to an MCP server, not to a web server."""
        return bool(self.orders)


_HEADER = "X-Agent-Run-Id: {run}"


def _python(name: str, source: str, trust: str = "SSL_CERT_FILE") -> Client:
    command = (sys.executable, "{folder}/client.py", "{url}")
    return Client(name, command, ("{run}",), trust, "client.py", source)


def _sdk(name: str, source: str, at: str, asks: str) -> Client:
    return _python(name, source)._replace(named=(), at=at, asks=asks, says="from the model")


def _mcp(name: str, sdk: str, mode: str) -> Client:
    command = (PYTHONS[sdk], str(HERE / "mcp_client.py"), "{url}", mode)
    return Client(name, command, ("{run}",), at="/mcp", asks="/mcp", says="found cats",
                  orders=_SEARCH)  # fmt: skip


_PIP = (
    sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir", "--progress-bar", "off",
    "--disable-pip-version-check", "--dest", "{folder}/got", "--index-url", "{url}", "tiny",
)  # fmt: skip

CLIENTS = [
    Client("curl", ("curl", "-sS", "{url}"), ("-H", _HEADER), "CURL_CA_BUNDLE"),
    Client("wget", ("wget", "-qO-", "--content-on-error", "{url}"), ("--header", _HEADER),
           "wgetrc"),
    _python("requests", _REQUESTS, "REQUESTS_CA_BUNDLE"),
    _python("httpx", _REQUESTS.replace("requests", "httpx")),
    _python("httpx2", _REQUESTS.replace("requests", "httpx2")),
    _python("urllib", _URLLIB),
    _python("aiohttp", _AIOHTTP),
    Client("Node 20", ("node", "{folder}/client.js", "{url}"), ("{run}",), "NODE_EXTRA_CA_CERTS",
           "client.js", _NODE),
    Client("Java 17", ("java", "{folder}/Client.java", "{url}"), ("{run}",), "java",
           "Client.java", _JAVA, names_its_run=False),
    Client("git clone", ("git", "clone", "-q", "{url}", "{folder}/clone"),
           ("-c", f"http.extraHeader={_HEADER}"), "GIT_SSL_CAINFO", at="/r.git",
           asks="/r.git/info/refs?service=git-upload-pack", says="", leaves="clone/README"),
    Client("pip download", _PIP, (), "PIP_CERT", at="/simple", asks="/simple/tiny/", says="",
           leaves="got/tiny-1.0-py3-none-any.whl"),
    _sdk("openai", _OPENAI, "/v1", "/v1/chat/completions"),
    _sdk("anthropic", _ANTHROPIC, "", "/v1/messages"),
    _mcp("mcp 2.x", "2", "modern"),
    _mcp("mcp 1.x", "1", "legacy"),
]  # fmt: skip
