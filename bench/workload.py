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
    """One kind of call. `request_body` None: a GET. `answer_body` is always the same."""

    name: str
    summary: str
    request_body: bytes | None
    answer_body: bytes

    def requests(self, authority: str, runs: int) -> list[bytes]:
        """Whole requests in absolute form, one of each run, for the upstream at `authority`
        (host:port). A single run is called `run`."""
        names = ["run"] if runs == 1 else [f"run-{number:05d}" for number in range(runs)]
        return [self._request(authority, name) for name in names]

    def _request(self, authority: str, run_id: str) -> bytes:
        method = b"GET" if self.request_body is None else b"POST"
        host = authority.encode()
        head = (
            b"%b http://%b/v1/search?q=booth&limit=10 HTTP/1.1\r\nHost: %b\r\n"
            b"User-Agent: python-requests/2.34.2\r\nAccept-Encoding: gzip, deflate\r\n"
            b"Accept: */*\r\nConnection: keep-alive\r\nProxy-Authorization: Basic %b\r\n"
            % (method, host, host, b64encode(f"{run_id}:x".encode()))
        )
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


def _json_of(size_bytes: int) -> bytes:
    frame = b'{"text":"%b"}'
    return frame % (b"x" * (size_bytes - len(frame % b"")))


WORKLOADS = {
    each.name: each
    for each in (
        Workload("get", f"GET, {len(_SMALL)} B of JSON back", None, _SMALL),
        Workload("post", f"POST of 2 KiB, {len(_SMALL)} B of JSON back", _json_of(2048), _SMALL),
        Workload("64k", "GET, 64 KiB of JSON back", None, _json_of(65_536)),
    )
}
