"""What makes two calls "the same call" for loop detection."""

from hashlib import blake2b


def loop_key(tool: str, method: str, target_path: str, host: str, body: bytes) -> int:
    """64 bits that are equal for equal calls, and different for different ones with overwhelming
    probability (a run has at most some thousands of calls).

    Each text is preceded by its length, so that moving a character from one field to the next
    makes another call. The whole `body` counts: two searches that differ in their last word are
    no loop. A digest rather than the body itself, because a ledger must not keep what was sent.
    """
    head = (
        f"{len(tool)}:{tool}{len(method)}:{method}"
        f"{len(host)}:{host}{len(target_path)}:{target_path}"
    )
    digest = blake2b(head.encode("utf-8", "surrogatepass"), digest_size=8)
    digest.update(body)
    return int.from_bytes(digest.digest(), "big")
