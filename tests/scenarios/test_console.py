"""The console as an operator has it: a real browser, a real sidecar, an incident."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.processes import HttpOrigin, SidecarProcess, local_tool, policy, running
from tests.scenarios.test_process import ask
from tests.scenarios.webdriver import (
    CHROMEDRIVER,
    CHROMIUM,
    ENTER,
    ESCAPE,
    RIGHT,
    TAB,
    Browser,
    BrowserError,
    browsing,
)

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver"),
]

# Elements that reach beyond the right edge, but for text that is cut on purpose.
TOO_WIDE = """
return [...document.querySelectorAll("main *, header *")]
  .filter((e) => e.checkVisibility() && !e.closest(".unseen, .line, .run, .bar-name"))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.outerHTML.slice(0, 80));
"""
HOSTILE = "<img/src=x/onerror=document.title=1>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture
def sidecar(tmp_path: Path, origin: HttpOrigin) -> Iterator[SidecarProcess]:
    text = policy(
        local_tool("search.read", "search.localhost", origin.port),
        local_tool("mail.send", "mail.localhost", origin.port),
        budget=10,
    )
    with running(tmp_path, text, TOOLBOOTH_VIEWER_TOKEN="only-look") as sidecar:
        yield sidecar


@pytest.fixture
def page(browser: Browser, sidecar: SidecarProcess) -> Iterator[Browser]:
    """The console of a fresh sidecar, before the log-in. Whatever a test does, nothing on the page
    may break its own policy."""
    browser.resize(1280, 900)
    browser.use_scheme("light")
    browser.log()
    browser.open(address(sidecar))
    yield browser
    said = browser.log()
    assert [line for line in said if "Content Security" in line or "Trusted" in line] == []
    assert [line for line in said if "Uncaught" in line or "TypeError" in line] == []


def address(sidecar: SidecarProcess) -> str:
    return f"http://127.0.0.1:{sidecar.ports['control']}/"


def log_in(page: Browser, token: str = "let-me-in") -> None:
    page.wait("document.querySelector('#gate')?.checkVisibility()")
    page.type("#token", f"{token}\n")
    page.wait_for_text("#link-text", "Live")


def call(
    sidecar: SidecarProcess, origin: HttpOrigin, host: str = "search", *,
    path: str = "/v1/search", run: str = "run-1",
) -> bytes:  # fmt: skip
    authority = f"{host}.localhost:{origin.port}"
    return ask(
        sidecar.ports["proxy"],
        f"GET http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n"
        f"X-Agent-Run-Id: {run}\r\nConnection: close\r\n\r\n".encode(),
    )


def tool_row(name: str) -> str:
    return (
        f"[...document.querySelectorAll('#tool-rows tr')].find(r => r.innerText.includes('{name}'))"
    )


def test_an_incident(page: Browser, sidecar: SidecarProcess, origin: HttpOrigin) -> None:
    """Log in, see a call, kill its tool with a reason, see the next one refused, revive it."""
    log_in(page)
    assert b" 200 " in call(sidecar, origin).partition(b"\r\n")[0]
    page.wait_for_text("#call-rows", "search.localhost/v1/search")
    assert "ok" in page.text("#call-rows tr .outcome")

    page.click('[aria-label="Kill search.read"]')
    assert page.run("return document.querySelector('#kill-name').value") == "search.read"
    page.type("#kill-reason", "It leaks customer names")
    page.run("document.querySelector('#kill-ttl').value = '600'")
    page.type("#kill-actor", "Zoë")
    page.click("#kill-do")
    page.wait("!document.querySelector('#kill').open")
    page.wait_for_text("#switch-list", "Tool search.read is off")
    shown = page.text("#switch-list")
    assert "It leaks customer names" in shown
    assert re.search(r"by Zoë · \d+ s ago · ends in (10:00|9:5\d)", shown)
    page.wait_for_text("#live", "Tool search.read switched off by Zoë: It leaks customer names")
    assert "off" in page.run("return document.title")

    refused = call(sidecar, origin)
    assert b"tool_disabled" in refused
    page.wait_for_text("#call-rows tr:first-child", "tool_disabled")
    assert "It leaks customer names" in page.text("#call-rows tr:first-child")
    page.wait_for_text("#code-bars", "tool_disabled")
    assert origin.hits["/v1/search"] == 1

    page.click('#switch-list [aria-label="Revive Tool search.read"]')
    assert "It leaks customer names" in page.text("#revive-reason")
    page.click("#revive-do")
    page.wait("!document.querySelector('#switches').checkVisibility()")
    assert b" 200 " in call(sidecar, origin).partition(b"\r\n")[0]
    assert '"actor":"Zo' in "".join(sidecar.said)


def test_a_wrong_token_is_told_and_forgotten(page: Browser) -> None:
    page.wait("document.querySelector('#gate')?.checkVisibility()")
    assert not page.is_shown("#main")
    assert page.text("#login-error") == ""
    page.type("#token", "let-me-out\n")
    page.wait_for_text("#login-error", "This is not the token")
    assert not page.is_shown("#main")
    assert page.run("return sessionStorage.length + localStorage.length") == 0
    log_in(page)
    assert "let-me-in" not in page.run("return location.href + document.documentElement.outerHTML")


def test_logging_out_leaves_nothing(
    page: Browser, sidecar: SidecarProcess, origin: HttpOrigin
) -> None:
    log_in(page)
    call(sidecar, origin)
    page.wait_for_text("#call-rows", "search.read")
    page.click("#log-out")
    page.wait("document.querySelector('#gate')?.checkVisibility()")
    assert page.run("return sessionStorage.length") == 0
    assert page.run("return document.querySelectorAll('#call-rows tr').length") == 0


def test_the_viewer_token_looks_and_is_told_that_it_may_not_act(page: Browser) -> None:
    log_in(page, "only-look")
    page.click("#kill-open")
    page.click("input[name=scope][value=all]")
    page.type("#kill-reason", "anything\n")
    page.wait_for_text("#kill-error", "The viewer token only reads")
    page.press(ESCAPE)
    page.wait("!document.querySelector('#kill').open")
    assert not page.is_shown("#switches")


def test_a_kill_by_keyboard_alone(
    page: Browser, sidecar: SidecarProcess, origin: HttpOrigin
) -> None:
    """The button is one step back; type, Enter. Escape leaves, and the focus is back."""
    log_in(page)
    page.wait("document.querySelectorAll('#tool-rows tr').length === 2")
    page.press(TAB, with_shift=True)
    assert page.focused() == "kill-open"
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(ENTER)
    assert page.run("return document.querySelector('#kill').open")
    page.press(ESCAPE)
    page.wait("!document.querySelector('#kill').open")
    assert page.focused() == "kill-open"

    page.press(ENTER)
    assert page.focused() == "kill-name"
    page.press(TAB, with_shift=True)
    page.press(*[RIGHT] * 4)  # run, agent, writes, all
    assert page.run("return document.querySelector('[name=scope]:checked').value") == "all"
    page.press(TAB)
    assert page.focused() == "kill-reason"
    page.press(*"stop", ENTER)
    page.wait_for_text("#switch-list", "Everything is off")
    assert b"all_disabled" in call(sidecar, origin)
    assert page.focused() == "kill-open"


def test_a_kill_without_a_reason_or_of_a_misspelt_tool_is_not_made(page: Browser) -> None:
    log_in(page)
    page.click("#kill-open")
    page.type("#kill-name", "serch.read")
    page.click("#kill-do")
    assert page.run("return document.querySelector('#kill').open")
    assert page.focused() == "kill-reason"
    page.type("#kill-reason", "x\n")
    page.wait_for_text("#kill-error", "did you mean search.read?")


def test_hostile_names_stay_text(
    page: Browser, sidecar: SidecarProcess, origin: HttpOrigin
) -> None:
    """Paths, names and reasons are what an attacker writes on this page."""
    log_in(page)
    done = sidecar.toolbooth("kill", "--run", HOSTILE, "--reason", f"{HOSTILE} &lt;b&gt;")
    assert done.returncode == 0, done.stderr
    sidecar.toolbooth("kill", "mail.send", "--reason", HOSTILE)
    page.wait_for_text("#switch-list", f"Run {HOSTILE} is off")
    page.wait_for_text("#switch-list", f"{HOSTILE} &lt;b&gt;")
    call(sidecar, origin, path="/&lt;b&gt;/%3Cimg%20src=x%3E")
    call(sidecar, origin, host="mail")
    page.wait_for_text("#call-rows", "/&lt;b&gt;/%3Cimg%20src=x%3E")
    page.wait_for_text("#call-rows tr:first-child .detail", HOSTILE)
    assert page.run("return document.querySelectorAll('img').length") == 0
    assert page.run("return document.title") != "1"
    with pytest.raises(BrowserError, match="TrustedHTML"):
        page.run("document.body.innerHTML = '<b>x</b>'")
    assert "TrustedHTML" in "".join(page.log())  # and so a slip of ours would be found below


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_one_way_only(
    page: Browser, sidecar: SidecarProcess, origin: HttpOrigin, scheme: str
) -> None:
    """360 pixels, with the longest words there may be, and a dialog that fits."""
    page.resize(360, 740, is_phone=True)
    page.use_scheme(scheme)
    log_in(page)
    call(sidecar, origin, path="/" + "a" * 900, run="r" * 100)
    sidecar.toolbooth("kill", "mail.send", "--reason", "w" * 400)
    page.wait_for_text("#call-rows", "search.read")
    page.wait_for_text("#switch-list", "mail.send")
    page.wait_for_text("#run-bars", "rrr")
    assert page.run(TOO_WIDE) == []
    assert page.run("return document.documentElement.scrollWidth") == 360
    page.click("#kill-open")
    assert page.run("return document.querySelector('#kill').getBoundingClientRect().right") <= 360
    assert page.run("return document.querySelector('#kill').scrollWidth") <= 360
    page.press(ESCAPE)


def test_filters_and_pause_hold_the_list(
    page: Browser, sidecar: SidecarProcess, origin: HttpOrigin
) -> None:
    log_in(page)
    call(sidecar, origin, path="/first")
    call(sidecar, origin, host="mail", path="/letter")
    sidecar.toolbooth("kill", "mail.send", "--reason", "wait")
    call(sidecar, origin, host="mail", path="/letter")
    page.wait("document.querySelectorAll('#call-rows tr').length === 3")

    def choose(menu: str, value: str, rows: int) -> None:
        script = "const m = document.querySelector(arguments[0]); m.value = arguments[1];" \
            "m.dispatchEvent(new Event('change', {bubbles: true}))"  # fmt: skip
        page.run(script, menu, value)
        page.wait(f"document.querySelectorAll('#call-rows tr').length === {rows}")

    choose("#by-tool", "mail.send", 2)
    choose("#by-code", "!", 1)
    assert "tool_disabled" in page.text("#call-rows")
    choose("#by-tool", "", 1)
    choose("#by-code", "", 3)

    page.click("#pause")
    call(sidecar, origin, path="/second")
    page.wait_for_text("#pause", "1 new")
    assert "/second" not in page.text("#call-rows")
    page.click("#pause")
    page.wait_for_text("#call-rows tr:first-child", "/second")


def test_a_run_near_its_limit_is_shown_and_stopped(
    page: Browser, sidecar: SidecarProcess, origin: HttpOrigin
) -> None:
    """Eight of ten calls are near; and in words, since not everybody sees the colour."""
    log_in(page)
    for number in range(8):
        call(sidecar, origin, path=f"/{number}", run="busy-run")
    call(sidecar, origin, run="calm-run")
    page.wait_for_text("#run-bars", "8 of 10 tool calls · near")
    assert "busy-run" in page.text("#run-bars li:first-child")
    assert "1 of 10 tool calls" in page.text("#run-bars li:last-child")
    page.click('[aria-label="Stop run busy-run"]')
    page.type("#kill-reason", "It goes round in circles\n")
    page.wait_for_text("#run-bars", "stopped")
    assert b"run_stopped" in call(sidecar, origin, run="busy-run")
    assert b" 200 " in call(sidecar, origin, run="calm-run").partition(b"\r\n")[0]


def test_more_is_logged_for_five_minutes_and_no_longer(page: Browser) -> None:
    """Raised, it says for how long; ended, it is the policy's figure again."""
    log_in(page)
    page.wait_for_text("#sampling-rate", "1 %")
    assert page.text("#sampling-until") == ""
    page.click("#sampling-raise")
    page.wait_for_text("#sampling-rate", "100 %")
    assert re.fullmatch(r"for (5:00|4:5\d) more", page.text("#sampling-until"))
    page.click("#sampling-end")
    page.wait("document.querySelector('#sampling-rate').innerText === '1 %'")
    assert not page.is_shown("#sampling-end")


def test_a_sidecar_that_goes_is_told_and_found_again(
    browser: Browser, tmp_path: Path, origin: HttpOrigin
) -> None:
    """A banner says since when the figures are old; the page comes back by itself."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        control = f"127.0.0.1:{probe.getsockname()[1]}"
    text = policy(local_tool("search.read", "search.localhost", origin.port))
    with running(tmp_path, text, TOOLBOOTH_CONTROL_LISTEN=control) as sidecar:
        browser.open(address(sidecar))
        log_in(browser)
        assert not browser.is_shown("#banner")
    browser.wait_for_text("#banner", "Disconnected")
    assert "What you see is from" in browser.text("#banner")
    assert browser.text("#link-text") == "Disconnected"
    with running(tmp_path, text, TOOLBOOTH_CONTROL_LISTEN=control) as sidecar:
        browser.click("#banner-retry")
        browser.wait_for_text("#link-text", "Live")
        assert not browser.is_shown("#banner")
        call(sidecar, origin, path="/again")
        browser.wait_for_text("#call-rows", "/again")


BOOKS = """
const { Books, Series, kindOf, summed, BUCKET_MS } = await import("/console/books.js");
const books = new Books();
const call = (n, code = "ok") => ({ call_id: `c${n}`, tool: `t${n % 7000}`, code });
for (let n = 0; n < 9000; n += 1) books.add(call(n), 1e12 + n);
const total = summed(books.total.window(1e12 + 9000)).calls;
const series = new Series();
series.add(1e12, "passed");
series.add(1e12 - 61 * BUCKET_MS, "failed");
const counted = new Books();
const tool = (calls) => [{ name: "t1", calls, errors: 0, refusals: 0 }];
counted.compare(tool(5), 1e12);
counted.add(call(1), 1e12);
counted.compare(tool(9), 1e12);
const unlost = summed(counted.total.window(1e12)).calls;
counted.loseSome();
counted.add(call(7001), 1e12);
counted.compare(tool(19), 1e12);
return {
  calls: books.calls.length, newest: books.calls.at(-1).call_id, tools: books.tools.size, total,
  again: books.add(call(8999), 1e12), old: books.add(call(3), 1e12 + 9000),
  now: summed(series.window(1e12)), later: summed(series.window(1e12 + 60 * BUCKET_MS)),
  still: summed(new Series().window(1e12)).calls, unlost,
  lost: summed(counted.total.window(1e12)).calls,
  kinds: ["ok", "client_gone", "timeout", "rate_limited"].map(kindOf),
};
"""


def test_the_page_remembers_little_and_counts_right(page: Browser) -> None:
    """500 calls, 2,500 tools, five minutes; what the stream left out is taken from the counters."""
    found = page.run(f"return (async () => {{ {BOOKS} }})()")
    assert found == {
        "calls": 500, "newest": "c8999", "tools": 2500, "total": 9000, "again": False, "old": True,
        "now": {"passed": 1, "refused": 0, "failed": 0, "calls": 1},
        "later": {"passed": 0, "refused": 0, "failed": 0, "calls": 0},
        "still": 0, "unlost": 1, "lost": 11, "kinds": ["passed", "passed", "failed", "refused"],
    }  # fmt: skip


STREAM = """
const { EventStream } = await import("/console/stream.js");
const soon = () => new Promise((resolve) => setTimeout(resolve, 20));
const waits = [], told = [];
const stream = new EventStream({
  up: () => told.push("up"), locked: (error) => told.push(error.status),
  down: (error, atMs) => waits.push(atMs - Date.now()),
  event: (name, data) => told.push(name, data),
});
let answer = () => Promise.reject(new Error("gone"));
window.fetch = () => answer();
stream.run();
for (let n = 0; n < 7; n += 1) { await soon(); stream.retryNow(); }
const text = new TextEncoder().encode(': hello\\n\\nevent: call\\ndata: {"run_id": "Zoë"}\\n\\n');
const body = new ReadableStream({ start: (to) => {
  for (const byte of text) to.enqueue(new Uint8Array([byte]));
  to.close();
} });
answer = () => Promise.resolve(new Response(body));
await soon(); stream.retryNow();
answer = () => Promise.resolve(new Response("{}", { status: 401 }));
await soon(); stream.retryNow(); await soon();
return { waits, told };
"""


def test_the_stream_comes_back_ever_more_slowly_and_reads_any_split(page: Browser) -> None:
    """1, 2, 4 ... 30 s less up to a quarter; a byte at a time; and a token that is no more."""
    page.wait("document.querySelector('#gate')?.checkVisibility()")
    found = page.run(f"return (async () => {{ {STREAM} }})()")
    assert found["told"] == ["up", "call", {"run_id": "Zoë"}, 401]
    longest = [1000, 2000, 4000, 8000, 16000, 30000, 30000]
    for wait_ms, most_ms in zip(found["waits"][:7], longest, strict=True):
        assert 0.75 * most_ms - 50 < wait_ms <= most_ms
    assert found["waits"][-1] <= 1000  # it was up in between
