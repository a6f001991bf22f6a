"""Read what a server answers over HTTP, whole and bounded."""

import aiohttp


async def read_page(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Give the body, however it was cut on its way; one byte beyond `most` where it is longer.

    Raises: aiohttp.ClientError, TimeoutError.
    """
    page = bytearray()
    async for piece in response.content.iter_any():
        page += piece
        if len(page) > most:
            break
    return bytes(page[: most + 1])


__all__ = ["read_page"]
