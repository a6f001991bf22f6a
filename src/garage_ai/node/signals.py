"""How a process is asked to stop."""

import asyncio
import signal


class Signals:
    """SIGTERM and SIGINT: the first asks to stop, the second to hurry.

    SIGHUP asks to stop, however often: for one terminal that is closed it comes from the shell and
    from the kernel. Where it is ignored, as under `nohup`, it stays so.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    def install(self) -> None:
        """Take the signals over."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.received)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, self.stop.set)

    def received(self) -> None:
        """Take a signal."""
        (self.hurry if self.stop.is_set() else self.stop).set()


__all__ = ["Signals"]
