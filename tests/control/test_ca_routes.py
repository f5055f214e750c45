"""GET /v1/ca: the certificate, never the key, to whoever may read."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.ca.authority import Authority
from proxy.control.access import Access
from proxy.control.api import control_app
from tests.ca.test_authority import authority
from tests.control.desk import BoundAt, Desk


async def ask(source: Authority, token: str = "viewer") -> tuple[int, dict[str, Any]]:
    desk = Desk()
    desk.ca = source.view
    app = control_app(desk.operator, Access("admin", "viewer", BoundAt()))
    async with TestClient(TestServer(app)) as client:
        headers = {"Authorization": f"Bearer {token}", "Host": "127.0.0.1"}
        answer = await client.get("/v1/ca", headers=headers)
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize("token", ["viewer", "admin"])
async def test_the_certificate_is_shown_and_the_key_is_not(token: str) -> None:
    status, shown = await ask(authority("a.test"), token)
    assert status == 200
    assert shown["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert (shown["kept"], shown["permitted"]) == (False, ["a.test", "toolbooth.invalid"])
    assert len(shown["fingerprint_sha256"]) == 64
    assert shown["expires"].endswith("Z")
    assert "PRIVATE" not in str(shown)


async def test_it_takes_a_token() -> None:
    assert (await ask(authority("a.test"), "stranger"))[0] == 401


async def test_an_open_ca_has_no_list() -> None:
    assert (await ask(authority("*")))[1]["permitted"] is None


async def test_there_is_none_where_nothing_is_intercepted() -> None:
    status, problem = await ask(authority())
    assert (status, problem["code"]) == (404, "no_ca")
    assert "intercept_tls" in problem["detail"]


async def test_one_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    status, problem = await ask(authority("a.test", directory=tmp_path))
    assert (status, problem["code"]) == (500, "ca_unusable")
    assert "without ca.key" in problem["detail"]
