"""Content that has to be read before its call is admitted, because something in it decides.

A call that is not admitted holds no place of a tool and no rest of a budget, so what bounds all
others does not bound these. Therefore they are bounded here: in bytes by the caller, in time by the
deadline, and in how many are waited for at once (`proxy.guards.places`).
"""

from proxy.pipeline.upload import Upload
from proxy.pipeline.visit import Visit
from proxy.wire.body import Ends

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read_early(visit: Visit, upload: Upload, limit_bytes: int) -> bool:
    """Keep all of the content; False: it has more than `limit_bytes`. Raises `Stopped` where too
    many wait to be read. Content that has come with its head waits for nothing and takes no place.

    A client that waits for a 100 is told to go on: the policy has said yes so far.
    """
    body = visit.exchange.body
    framing = body.framing
    if framing.ends is Ends.BY_LENGTH and framing.length > limit_bytes:
        return False
    if body.is_over:
        return await upload.keep_whole(limit_bytes)
    async with visit.booth.early.one(visit.exchange.client_address):
        if b"expect" in visit.exchange.head.named:
            visit.exchange.interim(CONTINUE)
        return await upload.keep_whole(limit_bytes)
