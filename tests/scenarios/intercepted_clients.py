"""The clients that go through an intercepted tunnel, one row each: how they are started, and how
they are told to trust the sidecar's CA. Each fetches the URL it is handed and prints the answer's
content; `test_interception` does the rest."""

import sys
from pathlib import Path
from typing import NamedTuple

_AIOHTTP = """
import asyncio, aiohttp, sys
async def main():
    async with aiohttp.ClientSession(trust_env=True) as s:
        print(await (await s.get(sys.argv[1])).text())
asyncio.run(main())
"""

# Node 20 knows no proxy variables: CONNECT by hand, then its own https module on the socket.
_NODE = """
const http = require('http'), https = require('https');
const url = new URL(process.argv[2]), proxy = new URL(process.env.HTTPS_PROXY);
const auth = 'Basic ' + Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64');
http.request({host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: url.host,
              headers: {'Proxy-Authorization': auth}})
  .on('connect', (res, socket) => {
    https.get({socket, agent: false, host: url.hostname, servername: url.hostname,
               path: url.pathname, headers: {Host: url.host}}, answer => {
      answer.on('data', data => process.stdout.write(data));
    });
  }).end();
"""

# Java reads no proxy variables either, and by default gives no password to a tunnel.
_JAVA = """
import java.net.*;
import java.net.http.*;

public class Client {
    public static void main(String[] arguments) throws Exception {
        URI proxy = URI.create(System.getenv("HTTPS_PROXY"));
        HttpClient client = HttpClient.newBuilder()
            .proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort())))
            .build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
"""

_OPENAI = """
import openai, sys
client = openai.OpenAI(base_url=sys.argv[1].rstrip("/") + "/v1", api_key="unused", max_retries=0)
answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
print(answer.choices[0].message.content)
"""

_ANTHROPIC = """
import anthropic, sys
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="unused", max_retries=0)
said = [{"role": "user", "content": "hi"}]
answer = client.messages.create(model="m", max_tokens=9, messages=said)
print(answer.content[0].text)
"""


class Client(NamedTuple):
    """`command` is run with the URL after it; `source` is written to the file its last word names
    first. `trust` are the variables that name the CA's file; `names_its_run`: the run id of the
    proxy's URL arrives."""

    name: str
    command: tuple[str, ...]
    trust: tuple[str, ...]
    source: str = ""
    names_its_run: bool = True

    def start(self, folder: Path, url: str) -> list[str]:
        """The command line for one fetch."""
        if not self.source:
            return [*self.command, url]
        path = folder / self.command[-1]
        path.write_text(self.source, encoding="utf-8")
        return [*self.command[:-1], str(path), url]


def _python(name: str, source: str, *trust: str) -> Client:
    return Client(name, (sys.executable, "client.py"), trust or ("SSL_CERT_FILE",), source)


CLIENTS = [
    Client("curl", ("curl", "-sS"), ("CURL_CA_BUNDLE",)),
    Client("curl with SSL_CERT_FILE", ("curl", "-sS"), ("SSL_CERT_FILE",)),
    _python("requests", "import requests, sys; print(requests.get(sys.argv[1]).text)",
            "REQUESTS_CA_BUNDLE"),
    _python("httpx", "import httpx, sys; print(httpx.get(sys.argv[1]).text)"),
    _python("httpx2", "import httpx2, sys; print(httpx2.get(sys.argv[1]).text)"),
    _python("urllib",
            "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"),
    _python("aiohttp", _AIOHTTP),
    Client("Node", ("node", "client.js"), ("NODE_EXTRA_CA_CERTS",), _NODE),
    Client("Java", ("java", "Client.java"), ("java",), _JAVA, names_its_run=False),
]  # fmt: skip

MODELS = [_python("openai", _OPENAI), _python("anthropic", _ANTHROPIC)]
