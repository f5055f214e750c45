import re

from proxy.report.style import STYLE


def test_every_role_has_a_colour_in_both_palettes() -> None:
    light, dark = re.findall(r":root \{(.*?)\n\s*\}", STYLE, re.DOTALL)[:2]
    roles = set(re.findall(r"(--[\w-]+):", light)) - {"--mono"}
    assert set(re.findall(r"(--[\w-]+):", dark)) == roles
    assert set(re.findall(r"var\((--[\w-]+)\)", STYLE)) - {"--mono", "--swatch"} == roles


def test_braces_match() -> None:
    assert STYLE.count("{") == STYLE.count("}")
