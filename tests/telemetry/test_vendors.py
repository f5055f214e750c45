"""Keys of vendors, by their marks."""

from random import Random

import pytest

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from tests.telemetry.labelled.credentials import MAKERS, UNSEEN, Maker

REDACTOR = Redactor(RedactRule(pii=False))
_SHAPED = [maker for maker in MAKERS + UNSEEN if maker.shaped]


@pytest.mark.parametrize("maker", [pytest.param(m, id=f"{m.kind}, {m.names[0]}") for m in _SHAPED])
def test_a_key_is_known_without_its_name(maker: Maker) -> None:
    rng = Random(7)
    for _ in range(20):
        key = maker.make(rng)
        shown = REDACTOR.text(f"a {key} b")
        assert key not in shown
        assert shown.startswith("a ")
        assert shown.endswith(" b")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("pk_live_" + "4eC39HqLyjWDarjtT1zdp7dc9Xy2Qw8Z", id="a publishable key"),
        pytest.param("resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b", id="an id in hex"),
        pytest.param("sk-spinner-with-many-dots-fade", id="a class of a style sheet"),
        pytest.param("user_profile_ThisIsTheNameOfAClassInSomeCode", id="a name of code"),
        pytest.param("v4.public is a version", id="the beginning of a token"),
    ],
)
def test_what_only_begins_like_a_key_stays(text: str) -> None:
    assert REDACTOR.text(text) == text
