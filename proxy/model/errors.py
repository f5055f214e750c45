"""How a call leaves the walk early. One value, one exception.

Deciders are pure and return a `Refusal` or None; the walk raises `Stopped` once with it. Errors
say whose fault they are through their `Reason`. Anything else that is raised is a bug: the caller
gets a 500 and nothing passes.
"""

from typing import NamedTuple

from proxy.model.reason import Reason


class Refusal(NamedTuple):
    """A verdict that is not yes.

    `detail` is one sentence an LLM can act on; it must never hold a secret. `rule` names what
    decided (`tools.allowlist`, `switch tool:search.read`). `retry_after_ms` only where waiting
    helps.
    """

    reason: Reason
    detail: str
    rule: str = ""
    retry_after_ms: int | None = None
    status: int = 0  # HTTP status where a more exact one than the reason's own exists


CLIENT_GONE = Refusal(Reason.CLIENT_GONE, "The client closed its connection.")


class Stopped(Exception):  # noqa: N818 - a call is stopped, which need not be an error
    """The walk ends here, for the reason in `refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class BadMessage(Exception):  # noqa: N818 - RFC 9112's word is "invalid message"
    """Bytes that are not the HTTP they claim to be.

    `str()` says what is wrong without echoing what was sent. `reason` and `status` tell which
    answer it deserves (`status` 0: the reason's own).
    """

    def __init__(
        self, problem: str, reason: Reason = Reason.BAD_REQUEST, *, status: int = 0
    ) -> None:
        super().__init__(problem)
        self.reason = reason
        self.status = status

    @property
    def refusal(self) -> Refusal:
        """The answer it deserves."""
        return Refusal(self.reason, str(self), status=self.status)


class UpstreamFailed(Exception):  # noqa: N818 - named for what happened
    """One attempt failed before an answer's head arrived, or an answer broke off.

    `reason` is one of the upstream ones, `timeout` or `address_denied`. `unsent`: not a byte of
    the request had been sent.
    """

    def __init__(self, reason: Reason, detail: str, *, unsent: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.unsent = unsent
