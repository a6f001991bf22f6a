"""The process that counts, beside the gateway: what it runs comes from strangers.

Run it as `python -I -m garage_ai.ledger.counting.process FOLDER`; it reads orders on stdin and
answers each on stdout, in turn, until stdin ends. A chat template is a program and a vocabulary is
meat for a native library: here an endless one is ended by the kernel's alarm, a greedy one by the
limit on memory, and neither takes the gateway along. What only fails is refused, and the process
goes on: its end would cost all models their counts.
"""

import os
import resource
import signal
import sys
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from garage_ai.ledger.counting.counter import Counter
from garage_ai.ledger.counting.errors import CountingError
from garage_ai.ledger.counting.kept import load
from garage_ai.ledger.counting.layout import folder_of
from garage_ai.ledger.counting.orders import Count, Load, Order, Refused, packed, read_orders

COUNT_SECONDS: Final = 2.0
"""Longest for one request, of the processor's time; 100,000 tokens take a tenth of a second."""
LOAD_SECONDS: Final = 30.0
"""Longest to make a tokenizer ready; the largest take a second or two."""
MEMORY: Final = 3 * 1024**3
"""Bytes of address space; a large vocabulary takes about 150 MB."""
MAX_LOADED: Final = 12
"""Vocabularies at hand, each with all models that share it; those unused longest leave."""
MAX_MODELS: Final = 200
"""Models at hand: of most there is no more than a template."""
FLUSH_SECONDS: Final = 0.005
"""How often replies leave while there are more orders of the same model."""
NICE: Final = 5
"""Chat goes before counting where there is one processor for both."""


class Desk:
    """What is loaded, and the folder where the rest lies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: OrderedDict[str, Counter] = OrderedDict()
        self._refused: dict[str, str] = {}

    def answer(self, order: Order) -> Count | Refused:
        """Carry an order out."""
        try:
            if isinstance(order, Load):
                self._refused.pop(order.digest, None)
                self._loaded.pop(order.digest, None)
                self._counter(order.digest)
                return Count(0, (), exact=False)
            counter = self._counter(order.digest)
            _alarm(COUNT_SECONDS)
            return counter.count(order.route, order.body, order.texts)
        except MemoryError:
            raise  # this process has none left, and the next one has
        except Exception as error:  # a vocabulary or a text that nobody thought of
            return Refused(_code_of(error))
        finally:
            _alarm(0)

    def _counter(self, digest: str) -> Counter:
        if digest in self._refused:
            raise _Again(self._refused[digest])
        counter = self._loaded.get(digest)
        if counter is None:
            _alarm(LOAD_SECONDS)
            try:
                counter = self._shared(load(folder_of(self._folder, digest)))
            except MemoryError:
                raise
            except Exception as error:  # with every request it would take as long to fail again
                self._refused[digest] = _code_of(error)
                raise
            self._keep(digest, counter)
        self._loaded.move_to_end(digest)
        return counter

    def _shared(self, counter: Counter) -> Counter:
        """Let a model count with another's tokenizer, where it is the same."""
        alike = (each for each in self._loaded.values() if each.vocabulary == counter.vocabulary)
        other = next(alike, counter)
        return replace(counter, tokenizer=other.tokenizer)

    def _keep(self, digest: str, counter: Counter) -> None:
        self._loaded[digest] = counter
        while len(self._loaded) > MAX_MODELS or self._vocabularies > MAX_LOADED:
            self._loaded.popitem(last=False)

    @property
    def _vocabularies(self) -> int:
        return len({each.vocabulary for each in self._loaded.values()})


class _Again(CountingError):
    """What was refused once is refused until it is loaded anew."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code  # type: ignore[misc]  # that of the first refusal


def _code_of(error: Exception) -> str:
    return error.code if isinstance(error, CountingError) else CountingError.code


def _alarm(seconds: float) -> None:
    # The kernel ends the process then, whatever it is busy with: nobody handles the signal. Of its
    # own time on a processor: on a PC that is busy with others an order is not at fault.
    signal.setitimer(signal.ITIMER_PROF, seconds)


def serve(folder: Path, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer orders until there are no more."""
    desk = Desk(folder)
    flushed, model = time.monotonic(), ""
    for orders in read_orders(source):
        for order in orders:
            # Where one ends this process, the first without an answer is blamed: that is its model.
            if order.digest != model or time.monotonic() - flushed > FLUSH_SECONDS:
                sink.flush()
                flushed, model = time.monotonic(), order.digest
            sink.write(packed(desk.answer(order)))
        sink.flush()


def main() -> None:
    """Bound this process, and serve."""
    # A terminal's and a service manager's are for all processes at once; the gateway says when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.nice(NICE)
    serve(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
