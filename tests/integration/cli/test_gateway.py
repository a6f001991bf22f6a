"""`gai gateway`: the gateway in the process that was started."""

import signal
import urllib.request
from pathlib import Path

from bench.processes import free_ports
from tests.parts.program import GAI, Program, at_home
from tests.parts.waiting import eventually


def test_it_becomes_the_gateway(tmp_path: Path) -> None:
    """It answers on its port, keeps its data where told, and leaves with 0 when asked."""
    port = free_ports(1)
    argv = [str(GAI), "gateway", "--port", str(port), "--data-dir", str(tmp_path / "data")]
    program = Program("gateway", argv, tmp_path, at_home(tmp_path))

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5) as said:
                return bool(said.status == 200)
        except OSError:
            return False

    try:
        eventually("an answer", answers, 40)
        assert (tmp_path / "data" / "admin.key").exists()
        program.signal(signal.SIGTERM)
        assert program.process.wait(20) == 0
    finally:
        program.end_all()
