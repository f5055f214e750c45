from proxy.model.call import Mode
from proxy.model.reason import Reason
from proxy.model.record import CallRecord, Capture


def test_a_capture_keeps_the_first_bytes_and_says_when_there_were_more() -> None:
    capture = Capture([], limit_bytes=5)
    for content, body, truncated in (
        (b"hel", b"hel", False), (b"", b"hel", False), (b"lo", b"hello", False),
        (b"", b"hello", False), (b"!", b"hello", True),
    ):  # fmt: skip
        capture.add(content)
        assert (bytes(capture.body), capture.truncated) == (body, truncated)


def test_a_capture_cuts_within_a_piece() -> None:
    capture = Capture([], limit_bytes=5)
    capture.add(b"hello, world")
    assert (bytes(capture.body), capture.truncated) == (b"hello", True)


def test_a_record_is_an_internal_error_until_somebody_says_better() -> None:
    """A walk that ends by a bug must not leave a record that says all was well."""
    record = CallRecord("call-1", Mode.ABSOLUTE, 12.5)
    assert record.code is Reason.INTERNAL_ERROR
    assert record.caller is None
    assert all(hasattr(record, name) for name in CallRecord.__annotations__)
