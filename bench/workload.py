"""What is asked and answered in a comparison: the bytes, the same for every subject.

The requests look like those of a common Python client that was told `HTTP_PROXY=http://RUN:x@...`.
They come from many runs in turn: Toolbooth samples whole runs, so one run alone would be sampled
always or never.
"""

from base64 import b64encode
from dataclasses import dataclass

_SMALL = (
    b'{"tool":"search.read","ok":true,'
    b'"hits":[{"id":1,"score":0.93},{"id":2,"score":0.81}],"next":null}'
)


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of call. `request_body` None: a GET. `answer_body` is always the same. `way`:
    `absolute` requests of a kept connection, `intercepted` ones in a tunnel whose TLS the proxy
    opens, or a new such tunnel for each (`tunnels`)."""

    name: str
    summary: str
    request_body: bytes | None
    answer_body: bytes
    way: str = "absolute"

    @property
    def is_tls(self) -> bool:
        """The upstream speaks TLS, and the proxy has to open it."""
        return self.way != "absolute"

    def requests(self, authority: str, runs: int) -> list[bytes]:
        """Whole requests, one of each run, for the upstream at `authority` (host:port), in the form
        that this way wants. A single run is called `run`."""
        return [self._request(authority, name) for name in run_names(runs)]

    def connects(self, authority: str, runs: int) -> list[bytes]:
        """The CONNECT heads of tunnels there, one of each run."""
        lines = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic %b\r\n\r\n"
        host = authority.encode()
        return [lines % (host, host, _credentials(name)) for name in run_names(runs)]

    def _request(self, authority: str, run_id: str) -> bytes:
        method = b"GET" if self.request_body is None else b"POST"
        host = authority.encode()
        prefix = b"" if self.is_tls else b"http://" + host
        head = (
            b"%b %b/v1/search?q=booth&limit=10 HTTP/1.1\r\nHost: %b\r\n"
            b"User-Agent: python-requests/2.34.2\r\nAccept-Encoding: gzip, deflate\r\n"
            b"Accept: */*\r\nConnection: keep-alive\r\n" % (method, prefix, host)
        )
        if not self.is_tls:  # else the CONNECT has said so
            head += b"Proxy-Authorization: Basic %b\r\n" % _credentials(run_id)
        if self.request_body is None:
            return head + b"\r\n"
        length = len(self.request_body)
        fields = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length
        return head + fields + self.request_body

    def answer(self) -> bytes:
        """The upstream's whole answer."""
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(self.answer_body)
        ) + self.answer_body


def run_names(runs: int) -> list[str]:
    """What the runs are called."""
    return ["run"] if runs == 1 else [f"run-{number:05d}" for number in range(runs)]


def _credentials(run_id: str) -> bytes:
    return b64encode(f"{run_id}:x".encode())


def _json_of(size_bytes: int) -> bytes:
    frame = b'{"text":"%b"}'
    return frame % (b"x" * (size_bytes - len(frame % b"")))


WORKLOADS = {
    each.name: each
    for each in (
        Workload("get", f"GET, {len(_SMALL)} B of JSON back", None, _SMALL),
        Workload("post", f"POST of 2 KiB, {len(_SMALL)} B of JSON back", _json_of(2048), _SMALL),
        Workload(
            "intercepted",
            f"GET inside an opened TLS tunnel, {len(_SMALL)} B of JSON back",
            None,
            _SMALL,
            "intercepted",
        ),
        Workload(
            "tunnels",
            "a new opened TLS tunnel for each GET",
            None,
            _SMALL,
            "tunnels",
        ),
        Workload("64k", "GET, 64 KiB of JSON back", None, _json_of(65_536)),
    )
}
