"""An operator's port with more connections than it may have."""

import asyncio

from aiohttp import web

from proxy.control.doorkeeper import doorkeeper


async def test_one_connection_too_many_ends_the_oldest_and_is_served() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(doorkeeper(runner.server, most=3), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    crowd = []
    for number in range(6):
        crowd.append(await asyncio.open_connection("127.0.0.1", port))
        async with asyncio.timeout(5):
            while len(runner.server.connections) != min(number + 1, 3):
                await asyncio.sleep(0.01)
    for reader, _ in crowd[:3]:
        assert await asyncio.wait_for(_end_of(reader), 5) == b""
    reader, writer = crowd[-1]
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200 ")
    for _, writer in crowd:
        writer.close()
    listener.close()
    await runner.cleanup()


async def _end_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
