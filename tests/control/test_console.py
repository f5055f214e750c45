"""The console's files: who may load them, with which headers, and what must never be in them."""

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.control.access import Access
from proxy.control.console import FILES, PAGE, console_files, mount_console
from proxy.telemetry.tool_figures import ERRORS
from tests.control.desk import BoundAt
from tests.repo.tree import PACKAGE, ROOT

Client: TypeAlias = TestClient[web.Request, web.Application]

STATIC = PACKAGE / "control" / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
EACH_FILE = pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.name) for path in sorted(STATIC.iterdir())]
)
EACH_SCRIPT = pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.name) for path in SCRIPTS]
)


@web.middleware
async def edge(request: web.Request, handler: object) -> web.StreamResponse:
    """In the place of the API's edge: whoever comes here was not let past it."""
    return web.Response(status=418)


@pytest.fixture
def access() -> Access:
    return Access("admin-token", None, BoundAt())


@pytest.fixture
async def client(access: Access) -> AsyncIterator[Client]:
    app = web.Application(middlewares=[edge])
    mount_console(app, access)
    async with TestClient(TestServer(app)) as client:
        yield client


# --- who may load it --------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PAGE, f"{FILES}console.js", f"{FILES}console.css"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_page_needs_no_token(client: Client, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) > 500
    assert (await answer.read() == b"") is (method == "HEAD")


async def test_a_wrong_token_is_not_even_looked_at(client: Client, access: Access) -> None:
    """Or the page would tell, uncounted, which token is right."""
    answer = await client.get(PAGE, headers={"Authorization": "Bearer wrong"})
    assert answer.status == 200
    assert access.wrong_tokens == 0


LEFT_TO_THE_EDGE = [
    pytest.param("GET", PAGE, {"Host": "evil.example"}, id="a rebound name"),
    pytest.param("GET", f"{FILES}console.js", {"Host": "evil.example"}, id="a script, rebound"),
    pytest.param("GET", PAGE, {"Origin": "http://evil.example"}, id="a page of another site"),
    pytest.param("GET", PAGE, {"Content-Length": "2", "Content-Type": "text/plain"}, id="a form"),
    pytest.param("POST", PAGE, {}, id="a page is not posted to"),
    pytest.param("OPTIONS", PAGE, {}, id="a preflight"),
    pytest.param("GET", "/console", {}, id="the folder"),
    pytest.param("GET", FILES, {}, id="the folder with a slash"),
    pytest.param("GET", f"{FILES}index.html", {}, id="the page has one address"),
    pytest.param("GET", f"{FILES}../console.py", {}, id="a path upwards"),
    pytest.param("GET", f"{FILES}%2e%2e/console.py", {}, id="a path upwards, encoded"),
    pytest.param("GET", f"{FILES}..%2fconsole.py", {}, id="a slash, encoded"),
    pytest.param("GET", "//console/console.js", {}, id="two slashes"),
    pytest.param("GET", "/v1/status", {}, id="the API"),
]


async def raw_status(client: Client, method: str, path: str, headers: dict[str, str]) -> int:
    """A client of a library would tidy the path up before it sends it."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    fields = {"Host": f"127.0.0.1:{client.port}", "Connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
    writer.write(b"x" * int(headers.get("Content-Length", 0)))
    status = (await reader.readline()).split()[1]
    await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(status)


async def test_a_raw_request_for_the_page_is_served(client: Client) -> None:
    """So that what the next test sees is the rule and not its way of asking."""
    assert await raw_status(client, "GET", PAGE, {}) == 200


@pytest.mark.parametrize(("method", "path", "headers"), LEFT_TO_THE_EDGE)
async def test_everything_else_is_left_to_the_edge(
    client: Client, method: str, path: str, headers: dict[str, str]
) -> None:
    assert await raw_status(client, method, path, headers) == 418


async def test_a_wrong_method_is_answered_with_the_right_ones(access: Access) -> None:
    """The console's paths are routes, so the edge behind finds a 405 and not a 404."""
    app = web.Application()
    mount_console(app, access)
    async with TestClient(TestServer(app)) as client:
        answer = await client.put(PAGE)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


# --- with which headers -----------------------------------------------------------------------


async def test_the_policy_of_the_page_allows_our_own_files_and_nothing_else(client: Client) -> None:
    headers = (await client.get(PAGE)).headers
    directives = dict(
        part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";")
    )
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@EACH_FILE
async def test_every_file_is_served_as_what_it_is(client: Client, path: Path) -> None:
    """A module with another type would not run under `nosniff`."""
    answer = await client.get(PAGE if path.name == "index.html" else FILES + path.name)
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
    assert answer.headers["Content-Type"] == f"{types[path.suffix]}; charset=utf-8"
    assert await answer.read() == path.read_bytes()
    assert "Content-Security-Policy" in answer.headers


def test_a_console_without_its_page_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "console.js").write_text("")
    with pytest.raises(FileNotFoundError, match="page is missing"):
        console_files(tmp_path)


def test_what_is_no_file_of_the_console_is_not_served(tmp_path: Path) -> None:
    for name in ("index.html", "console.js~", ".env", "notes.md", "a.js"):
        (tmp_path / name).write_text("x")
    assert console_files(tmp_path).keys() == {PAGE, f"{FILES}a.js"}


def test_the_files_are_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["package-data"]["proxy.control"] == ["static/*"]


# --- what must never be in them ---------------------------------------------------------------


class Page(HTMLParser):
    """The elements of the page with their attributes, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inline = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] in ("script", "style"):
            self.inline += data.strip()


@pytest.fixture(scope="module")
def page() -> Page:
    page = Page()
    page.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    assert len(page.elements) > 50
    return page


def test_nothing_on_the_page_is_inline(page: Page) -> None:
    """The policy would block it: a page that looks right in a file and is dead in a browser."""
    names = {name for _, attributes in page.elements for name in attributes}
    assert {name for name in names if name.startswith("on") or name == "style"} == set()
    assert page.inline == ""


def test_the_page_loads_only_files_of_the_console(page: Page) -> None:
    served = console_files()
    loaded = [
        attributes[name]
        for _, attributes in page.elements
        for name in ("src", "href", "action", "data", "srcset")
        if name in attributes
    ]
    foreign = [it for it in loaded if it not in served and not it.startswith(("data:image/", "#"))]
    assert foreign == []
    assert f"{FILES}console.js" in loaded


def test_every_control_has_a_name(page: Page) -> None:
    """For those who do not see the page: a label, or `aria-label`."""
    labelled = {a["for"] for tag, a in page.elements if tag == "label" and "for" in a}
    nameless = [
        attributes.get("id")
        for tag, attributes in page.elements
        if tag in ("input", "select")
        and attributes.get("type") != "radio"
        and attributes.get("id") not in labelled
        and "aria-label" not in attributes
    ]
    assert nameless == []


def test_ids_are_unique_and_those_the_scripts_ask_for_exist(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    asked = {
        name
        for path in SCRIPTS
        for name in re.findall(r'byId\("([\w-]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert len(asked) > 30
    assert asked - set(ids) == set()


@EACH_SCRIPT
def test_text_of_the_api_cannot_become_markup_or_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    sinks = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function|"
        r"createContextualFragment|srcdoc|setHTML|localStorage|document\.cookie"
    )
    assert re.findall(sinks, text) == []


@EACH_SCRIPT
def test_a_script_is_small_says_what_it_is_for_and_finds_its_imports(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("// ")
    assert len(text.splitlines()) <= 400
    for name in re.findall(r'from "([^"]+)"', text):
        assert name.startswith("./")
        assert (STATIC / name).exists()


@EACH_FILE
def test_no_file_names_another_host(path: Path) -> None:
    """No CDN, no font, no beacon: an incident may well be that the network is gone."""
    urls = set(
        re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s'\"<>]*", path.read_text(encoding="utf-8"))
    )
    assert urls <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in path.read_text(encoding="utf-8")


def test_the_page_and_the_figures_agree_on_what_a_failure_is() -> None:
    text = (STATIC / "books.js").read_text(encoding="utf-8")
    listed = re.search(r"FAILED = new Set\(\[(.*?)\]\)", text, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == {str(code) for code in ERRORS}


def test_the_page_respects_what_its_reader_has_set() -> None:
    """Dark, still, and high in contrast, as the system says."""
    style = (STATIC / "console.css").read_text(encoding="utf-8")
    for setting in ("prefers-color-scheme: dark", "prefers-reduced-motion", "forced-colors"):
        assert f"({setting}" in style
