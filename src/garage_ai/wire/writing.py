"""Writing to a socket: at once, and not at the end of the event loop's turn."""

import asyncio


def write_at_once(transport: asyncio.WriteTransport) -> None:
    """Have a socket take what is written to it now; one that takes no more pauses its writer.

    uvloop else keeps it until the turn is over, and whoever is to work on it waits. With TLS it
    stays so: there a bound of 0 is reached by nothing at all, and the writer would never go on.
    """
    if transport.get_extra_info("sslcontext") is None:
        transport.set_write_buffer_limits(high=0)


__all__ = ["write_at_once"]
