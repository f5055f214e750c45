"""The health port."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.metrics_core import Metric

from proxy.control.health import health_app
from tests.control.desk import Desk

Client: TypeAlias = TestClient[web.Request, web.Application]


class Readiness:
    def __init__(self) -> None:
        self.answer = (True, "ready")

    def __call__(self) -> tuple[bool, str]:
        return self.answer


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
async def client(readiness: Readiness) -> AsyncIterator[Client]:
    desk = Desk()
    desk.see_call()
    async with TestClient(TestServer(health_app(readiness, desk.figures))) as client:
        yield client


@pytest.mark.parametrize("path", ["/livez", "/healthz"])
async def test_alive(client: Client, path: str) -> None:
    """As long as anything answers."""
    answer = await client.get(path)
    assert (answer.status, await answer.text()) == (200, "ok\n")


@pytest.mark.parametrize("word", ["starting", "draining"])
async def test_not_ready(client: Client, readiness: Readiness, word: str) -> None:
    """503 with the reason in a word; ready again when it is over."""
    readiness.answer = (False, word)
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (503, f"{word}\n")
    readiness.answer = (True, "ready")
    assert (await client.get("/readyz")).status == 200


async def test_metrics_are_a_prometheus_page(client: Client) -> None:
    """The content type that scrapers want, and the figures."""
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'toolbooth_calls_total{code="ok",tool="search.read"} 1.0' in await answer.text()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_only_reading(client: Client, path: str) -> None:
    """HEAD is GET without a body; nothing else is there."""
    head = await client.head(path)
    assert (head.status, await head.read()) == (200, b"")
    answer = await client.post(path)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    assert (await client.get("/v1/tools")).status == 404


async def test_who_asks_for_pages_all_at_once_gets_one_made_for_all(
    readiness: Readiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each begun after it was asked for, and few of them: making one takes the event loop."""
    desk = Desk()
    made = 0
    collect = desk.figures.collect

    def counted() -> Iterator[Metric]:
        nonlocal made
        made += 1
        return collect()

    monkeypatch.setattr(desk.figures, "collect", counted)
    async with TestClient(TestServer(health_app(readiness, desk.figures))) as client:
        first = await (await client.get("/metrics")).text()
        assert 'code="ok"' not in first
        desk.see_call()
        for answer in await asyncio.gather(*(client.get("/metrics") for _ in range(20))):
            assert 'code="ok"' in await answer.text()
        assert made <= 4
