"""Bodies of requests: their bounds in size, time and type."""

from collections.abc import Collection

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.control.access import JSON_TYPE
from proxy.control.body import json_answer, read_body
from proxy.control.problem import ProblemError


async def _status(
    body: bytes | None, kind: str, limit_bytes: int = 10, kinds: Collection[str] = (JSON_TYPE,)
) -> int:
    async def handle(request: web.Request) -> web.Response:
        try:
            content = await read_body(request, kinds, limit_bytes)
        except ProblemError as error:
            return web.Response(status=error.problem.status)
        return json_answer({"bytes": len(content)}, {"ETag": '"x"'})

    app = web.Application()
    app.router.add_put("/", handle)
    async with TestClient(TestServer(app)) as client:
        answer = await client.put("/", data=body, headers={"Content-Type": kind})
        if answer.status == 200:
            assert answer.content_type == JSON_TYPE
            assert answer.headers["ETag"] == '"x"'
            assert await answer.json() == {"bytes": len(body or b"")}
        return answer.status


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        pytest.param(b"x" * 10, JSON_TYPE, 200, id="exactly as large as it may be"),
        pytest.param(b"x" * 11, JSON_TYPE, 413, id="a byte more"),
        pytest.param(b"x", "application/json; charset=utf-8", 200, id="with a charset"),
        pytest.param(b"x", "application/yaml", 415, id="another type"),
        pytest.param(None, "application/yaml", 200, id="no body has no type"),
    ],
)
async def test_bodies(body: bytes | None, kind: str, status: int) -> None:
    assert await _status(body, kind) == status
