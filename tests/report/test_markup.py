from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from proxy.report.markup import safe, tag
from proxy.telemetry.visible import visible_line


class Reader(HTMLParser):
    """What a browser makes of it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    reader = Reader()
    reader.feed(tag("p", safe(text), title=text, class_="id"))
    reader.close()
    assert reader.tags == [("p", [("title", visible_line(text)), ("class", "id")])]
    assert reader.text == visible_line(text)
