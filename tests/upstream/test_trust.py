"""Who may vouch for an upstream."""

import os
import ssl
from pathlib import Path

import pytest
import trustme

from proxy.model.errors import UpstreamFailed
from proxy.model.reason import Reason
from proxy.upstream.dial import upstream_tls
from proxy.upstream.trust import MAX_FILES, TrustStore
from tests.fakes.sidecar import Sidecar, policy_text
from tests.fakes.tunnel import TlsOrigin

HOST = "tool.localhost"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


def test_a_file_is_read_again_when_it_changes(pem: Path) -> None:
    store = TrustStore(upstream_tls)
    first = store.context(str(pem))
    assert store.context(str(pem)) is first
    assert store.is_current(first, str(pem))
    fresh = pem.with_suffix(".new")
    trustme.CA().cert_pem.write_to_path(str(fresh))
    os.replace(fresh, pem)  # noqa: PTH105 - as a mounted secret changes
    assert store.context(str(pem)) is not first
    assert not store.is_current(first, str(pem))


def test_the_systems_roots_are_loaded_once_and_late() -> None:
    asked: list[str | None] = []

    def make(trust_file: str | None) -> ssl.SSLContext:
        asked.append(trust_file)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    store = TrustStore(make)
    assert asked == []
    assert store.context(None) is store.context(None)
    assert asked == [None]


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), ("", "no certificate"), ("x", "no certificate")]
)
def test_what_cannot_be_used_trusts_nobody(content: str | None, words: str, pem: Path) -> None:
    store = TrustStore(upstream_tls)
    before = store.context(str(pem))
    pem.unlink()
    if content is not None:
        pem.write_text(content)
    with pytest.raises(UpstreamFailed, match=words) as caught:
        store.context(str(pem))
    assert caught.value.reason is Reason.UPSTREAM_TLS
    assert not store.is_current(before, str(pem))


def test_files_are_bounded(tmp_path: Path) -> None:
    store = TrustStore(lambda _: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    for number in range(MAX_FILES + 10):
        path = tmp_path / str(number)
        path.touch()
        store.context(str(path))
    assert len(store._files) == MAX_FILES


def _two_tools(port: int, first: str, second: str) -> str:
    """`a` for /a and `b` for /b of one origin, each with a trust file of its own."""
    text = policy_text(port, host=HOST, tool=f"trust_file: {first}").replace("echo", "a")
    text = text.replace("ports:", 'paths: ["/a"], ports:').replace("[a]", "[a, b]")
    return text + (
        f'    b:\n      match: [{{host: "{HOST}", ports: [{port}]}}]\n'
        f'      allow_addresses: ["127.0.0.0/8"]\n      trust_file: {second}\n'
    )


async def test_a_kept_connection_serves_only_who_trusts_its_certificate(tmp_path: Path) -> None:
    """Verified for one tool, it is not verified for another that trusts somebody else; and not
    for the same tool once its file names others."""
    async with TlsOrigin(host=HOST) as origin:
        good = origin.trust_file(str(tmp_path / "good.pem"))
        bad = TlsOrigin(host=HOST).trust_file(str(tmp_path / "bad.pem"))
        url = f"https://{HOST}:{origin.port}"
        async with Sidecar(_two_tools(origin.port, good, bad)) as sidecar:
            assert (await sidecar.get(f"{url}/a")).endswith(b"ok")
            assert sidecar.booth.pool.idle_count == 1
            assert b"Toolbooth-Code: upstream_tls" in await sidecar.get(f"{url}/b")
            assert (await sidecar.get(f"{url}/a")).endswith(b"ok")
            os.replace(bad, good)  # noqa: PTH105 - as a mounted secret changes
            assert b"Toolbooth-Code: upstream_tls" in await sidecar.get(f"{url}/a")
        assert len(origin.heads) == 2


async def test_two_tools_that_trust_the_same_share_a_connection(tmp_path: Path) -> None:
    async with TlsOrigin(host=HOST) as origin:
        good = origin.trust_file(str(tmp_path / "good.pem"))
        url = f"https://{HOST}:{origin.port}"
        async with Sidecar(_two_tools(origin.port, good, good)) as sidecar:
            for path in ("/a", "/b", "/a"):
                assert (await sidecar.get(f"{url}{path}")).endswith(b"ok")
        assert len(origin.connections) == 1
