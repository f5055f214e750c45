"""A browser for the scenarios: headless Chromium, spoken to in the WebDriver protocol itself.

The few commands of W3C WebDriver that are needed, in place of a dependency: sessions, scripts,
elements, keys, window size, screenshots and the browser's log.
"""

import base64
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
CHROMEDRIVER = shutil.which("chromedriver") or ""
TAB, ENTER, SHIFT, ESCAPE, RIGHT = "\ue004", "\ue007", "\ue008", "\ue00c", "\ue014"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--no-proxy-server", "--force-color-profile=srgb",
)  # fmt: skip


class BrowserError(AssertionError):
    """The driver refused: no such element, a script that threw."""


class Browser:
    """One session. Elements are named by CSS selectors, anew for each act, since the page may
    draw itself anew in between."""

    def __init__(self, port: int, profile: Path) -> None:
        self._driver = ("127.0.0.1", port)
        options = {"binary": CHROMIUM, "args": [*_FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        opened = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{opened['sessionId']}"

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(*self._driver, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
        finally:
            connection.close()
        if response.status != 200:
            raise BrowserError(f"{value['error']}: {value['message']}".splitlines()[0])
        return value

    def _do(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._send("POST" if body is not None else "GET", self._session + path, body)

    def close(self) -> None:
        self._send("DELETE", self._session)

    def open(self, url: str) -> None:
        self._do("/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a function body's `return`; a promise is awaited."""
        return self._do("/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command: str, **parameters: object) -> Any:
        """A command of the browser's own protocol: media features, network conditions."""
        return self._do("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def text(self, selector: str) -> str:
        """What stands in the first such element; nothing if there is none or it is hidden."""
        script = "const e = document.querySelector(arguments[0]);" \
            "return e && e.checkVisibility() ? e.innerText : ''"  # fmt: skip
        return str(self.run(script, selector))

    def is_shown(self, selector: str) -> bool:
        script = "return document.querySelector(arguments[0])?.checkVisibility() ?? false"
        return bool(self.run(script, selector))

    def wait(self, condition: str, *arguments: object, seconds: float = 8.0) -> Any:
        """Until the expression is true; its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {condition}", *arguments)):
            assert time.monotonic() < end, f"never became true: {condition} {arguments}"
            time.sleep(0.05)
        return value

    def wait_for_text(self, selector: str, text: str) -> None:
        condition = "document.querySelector(arguments[0])?.innerText.includes(arguments[1])"
        self.wait(condition, selector, text)

    def _element(self, selector: str) -> str:
        found = self._do("/element", {"using": "css selector", "value": selector})
        return f"/element/{found[_ELEMENT]}"

    def click(self, selector: str) -> None:
        self._do(f"{self._element(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self._do(f"{self._element(selector)}/value", {"text": text})

    def press(self, *keys: str, with_shift: bool = False) -> None:
        """Keys, one after the other, to whatever has the focus."""
        acts = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        if with_shift:
            shift = [{"type": kind, "value": SHIFT} for kind in ("keyDown", "keyUp")]
            acts = [shift[0], *acts, shift[1]]
        self._do("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": acts}]})

    def focused(self) -> str:
        """The id of what has the focus."""
        return str(self.run("return document.activeElement?.id ?? ''"))

    def resize(self, width: int, height: int, *, is_phone: bool = False) -> None:
        """The size of the page itself, whatever a window may be at least."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=is_phone,
        )  # fmt: skip

    def use_scheme(self, scheme: str) -> None:
        """`light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._do("/screenshot")))

    def log(self) -> list[str]:
        """What the browser wrote to its console since the last time."""
        entries = self._do("/se/log", {"type": "browser"})
        return [f"{entry['level']} {entry['message']}" for entry in entries]


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with a fresh profile below `folder`, and its end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (folder / "chromedriver.log").open("wb") as log:
        driver = subprocess.Popen([CHROMEDRIVER, f"--port={port}"], stdout=log, stderr=log)
        try:
            _await_port(port)
            browser = Browser(port, folder / "profile")
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()
            driver.wait(10)


def _await_port(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, "the driver does not start"
            time.sleep(0.05)
        else:
            return
