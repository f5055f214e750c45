"""The body of a request, bounded in size and time, and the body of an answer."""

import asyncio
from collections.abc import Collection, Mapping

import orjson
from aiohttp import web

from proxy.control.access import JSON_TYPE
from proxy.control.problem import failed

LIMIT_BYTES = 64 * 1024
LIMIT_S = 10.0


async def read_body(
    request: web.Request,
    media_types: Collection[str] = (JSON_TYPE,),
    limit_bytes: int = LIMIT_BYTES,
) -> bytes:
    """The whole body, if it says to be of one of these types, is at most so large and arrives in
    time (against a trickle). A missing body is an empty one."""
    if request.body_exists and request.content_type not in media_types:
        wanted = " or ".join(sorted(media_types))
        raise failed(415, "unsupported_media_type", f"This takes a body of type {wanted}.")
    content = bytearray()
    try:
        async with asyncio.timeout(LIMIT_S):
            async for piece in request.content.iter_any():
                content += piece
                if len(content) > limit_bytes:
                    raise failed(413, "body_too_large", _too_large(limit_bytes))
    except TimeoutError:
        raise failed(408, "too_slow", "The body did not arrive in time.") from None
    return bytes(content)


def json_answer(
    view: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON object."""
    return web.Response(body=orjson.dumps(view), content_type=JSON_TYPE, headers=headers)


def _too_large(limit_bytes: int) -> str:
    return f"The body is larger than {limit_bytes // 1024} KiB."
