"""The page of `toolbooth report` in a real browser: it fits, and nothing in it runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli import main
from tests.report.records import afternoon, line
from tests.scenarios.webdriver import CHROMEDRIVER, CHROMIUM, Browser, browsing

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver"),
]
HOSTILE = "</style><img src=x onerror=document.title=1><script>document.title=2</script>"

# The least contrast of any text with the ground below it (WCAG 2.2, 1.4.3).
LEAST_CONTRAST = """
const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = (s) => {
  const [r, g, b] = s.match(/[0-9.]+/g).map(Number);
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const s = getComputedStyle(e).backgroundColor;
    if (!s.endsWith(", 0)")) return s;
  }
};
return Math.min(...[...document.querySelectorAll("h1, h2, h3, p, span, b, th, td")]
  .filter((e) => e.textContent.trim())
  .map((e) => [light(getComputedStyle(e).color), light(ground(e))])
  .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def page_of(lines: list[bytes], folder: Path) -> str:
    log, page = folder / "calls.jsonl", folder / "report.html"
    log.write_bytes(b"\n".join(lines))
    assert main(["report", str(log), "--html", str(page)]) == 0
    return page.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_it_fits_and_can_be_read(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    """Nothing but tables is wider than the screen, and those scroll by themselves."""
    browser.resize(width, 900)
    browser.use_scheme(scheme)
    browser.open(page_of(afternoon(calls=900), tmp_path))
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run(LEAST_CONTRAST) >= 4.5
    assert browser.run("return document.querySelectorAll('svg rect').length") > 100
    assert browser.log() == []


def test_a_hostile_record_stays_text(browser: Browser, tmp_path: Path) -> None:
    fields = {"run_id": HOSTILE, "tool": HOSTILE, "detail": HOSTILE, "host": HOSTILE}
    browser.open(page_of([line(**fields), line(code="max_steps", **fields)], tmp_path))
    assert browser.run("return document.title") == "Toolbooth report"
    assert browser.run("return document.images.length + document.scripts.length") == 0
    assert HOSTILE in browser.run("return document.body.textContent")
    assert browser.log() == []
