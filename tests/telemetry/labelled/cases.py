"""The two parts of the corpus as cases: one to work on, one held out.

Drawn with fixed seeds, so everybody has the same texts. The parts share the makers' shapes but no
value, no template and no look-alike.
"""

from functools import cache
from random import Random
from typing import NamedTuple

from tests.telemetry.corpus import NEGATIVES
from tests.telemetry.labelled import contexts, credentials, look_alikes, people
from tests.telemetry.labelled.contexts import Context, spelled
from tests.telemetry.labelled.credentials import Maker, Written

PERSONAL = frozenset(("email", "phone", "card", "iban", "us ssn", "national id"))
_SHORTEST_PATH_VALUE = 200  # longer ones do not stand in paths


class Case(NamedTuple):
    """A text and what is in it. `secrets`: spellings of the one secret, none may be seen;
    `keep`: what must stay. No secret: a look-alike, and all of it must stay."""

    kind: str
    media: str
    text: str
    secrets: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    cut: bool = False


def _placed(maker: Maker, context: Context, rng: Random) -> Case:
    value = maker.make(rng)
    name = spelled(rng.choice(maker.names), context.spelling)
    written = context.write(value)
    text = context.text.replace("{N}", name).replace("{S}", written)
    if context.cut:
        half = value[: len(value) * 2 // 3]
        return Case(
            maker.kind,
            context.media,
            context.text.replace("{S}", half),
            _secrets(half, half),
            context.keep,
            True,
        )
    return Case(maker.kind, context.media, text, _secrets(value, written), context.keep)


def _secrets(value: str, written: str) -> tuple[str, ...]:
    """The lines of armour say what they are; secret is what stands between them. A URL with a
    secret in it is known by its host; only its end is secret."""
    if value.startswith("-----"):
        key = value.partition("-----END")[0]  # a certificate behind it is public
        lines = [line for line in key.split("\n") if len(line) > 60]
        return (*lines, written) if written != value and "\\n" not in written else tuple(lines)
    if value.startswith("https://"):
        secret = value[8:40] if "@" in value else value[-20:]
        return (
            (secret,)
            if value in written or "%" in written or "\\" in written
            else (secret, written)
        )
    if value.startswith("sv="):
        return (value.partition("&sig=")[2],)
    return (value,) if value == written else (value, written)


def _fits(maker: Maker, context: Context, rng: Random) -> bool:
    sample = maker.make(Random(rng.random()))
    if "\n" in sample and not context.lines:
        return False
    if context.media == "path" and len(sample) > _SHORTEST_PATH_VALUE:
        return False
    return maker.shaped or context.named


def _made(
    makers: tuple[Maker, ...], places: tuple[Context, ...], each: int, rng: Random
) -> list[Case]:
    cases = []
    for maker in makers:
        fitting = [place for place in places if _fits(maker, place, rng)]
        cases += [
            _placed(maker, place, rng) for place in rng.sample(fitting, min(each, len(fitting)))
        ]
    return cases


def _own_form(written: tuple[Written, ...], rng: Random) -> list[Case]:
    cases = []
    for one in written:
        value = one.make(rng)
        in_json = one.media == "application/json"
        text = one.text.replace("{S}", value.replace("\n", "\\n") if in_json else value)
        cases.append(Case(one.kind, one.media, text, _secrets(value, value), one.keep))
    return cases


def _negatives(
    written: dict[str, tuple[str, ...]], places: tuple[tuple[str, str], ...], rng: Random
) -> list[Case]:
    cases = [Case(kind, "text", text) for kind, texts in written.items() for text in texts]
    for kind, draw in look_alikes.DRAWN:
        for media, place in rng.sample(places, 3):
            cases.append(Case(kind, media, place.format(S=draw(rng))))
    return cases


@cache
def tuned() -> tuple[Case, ...]:
    """What the patterns were worked on with."""
    rng = Random(20260131)
    cases = _made(credentials.MAKERS, contexts.TUNED, 4, rng)
    cases += _made(people.PEOPLE, contexts.TUNED[:19], 4, rng)
    cases += _own_form(credentials.WRITTEN_TUNED + people.PEOPLE_TUNED, rng)
    cases += [Case("other", "text", text) for text in NEGATIVES]
    return tuple(cases + _negatives(look_alikes.WRITTEN_TUNED, look_alikes.PLACES_TUNED, rng))


@cache
def held_out() -> tuple[Case, ...]:
    """Written before the work on the patterns and not looked at, case by case, until after it."""
    rng = Random(20270228)
    cases = _made(credentials.MAKERS + credentials.UNSEEN, contexts.HELD_OUT, 3, rng)
    cases += _made(people.PEOPLE, contexts.HELD_OUT[:17], 3, rng)
    cases += _own_form(credentials.WRITTEN_HELD_OUT + people.PEOPLE_HELD_OUT, rng)
    return tuple(cases + _negatives(look_alikes.WRITTEN_HELD_OUT, look_alikes.PLACES_HELD_OUT, rng))


@cache
def sealed() -> tuple[Case, ...]:
    """Written after the held-out part had shown its failures, and never looked at case by case."""
    rng = Random(20280331)
    cases = _made(credentials.MAKERS + credentials.SEALED, contexts.SEALED, 2, rng)
    cases += _made(people.PEOPLE, contexts.SEALED[:11], 2, rng)
    return tuple(cases + _negatives(look_alikes.WRITTEN_SEALED, look_alikes.PLACES_SEALED, rng))
