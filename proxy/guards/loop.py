"""What makes two calls "the same call" for loop detection."""

from proxy.model.call import Target


def loop_key(tool: str, method: str, target: Target, body: bytes) -> int:
    """64 bits, signed, that are equal for equal calls, and different for different ones with
    overwhelming probability (a run has at most some thousands of calls).

    The whole `body` counts: two searches that differ in their last word are no loop. A hash rather
    than the body itself, because a ledger must not keep what was sent. Python's own (SipHash, with
    a key of this process) does: keys are compared within one run of one process and never kept.
    """
    return hash((tool, method, target, body))
