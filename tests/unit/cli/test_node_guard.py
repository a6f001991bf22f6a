"""What `gai node status` and `limits` show of the guard."""

import time
from pathlib import Path

import msgspec
import pytest
from tests.unit.cli.test_node import STATUS
from typer.testing import CliRunner

from garage_ai.cli import node, node_limits, node_status
from garage_ai.cli.node_screen import NodeScreen
from garage_ai.node.errors import NotPossible
from garage_ai.node.events import State
from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.status import DayStatus, GuardStatus, PauseStatus, SignalStatus
from garage_ai.node.guard.words import sentence
from garage_ai.node.status import Status

GAME = sentence("game", name="factorio")
NO_CARD = sentence("gpu.none")
GUARD = GuardStatus(
    action="release",
    reason=GAME,
    signal="game",
    since=0.0,
    limits=Limits(),
    signals=(
        SignalStatus("game", "busy", GAME, fails_closed=True),
        SignalStatus("gpu", "unknown", NO_CARD, fails_closed=False),
        SignalStatus("price", "unknown", sentence("no_price", area="SE3"), fails_closed=True),
    ),
    pauses=(PauseStatus(0.0, 60.0, GAME, "game"), PauseStatus(120.0, None, GAME, "game")),
    today=DayStatus(sent_this_month=1_500_000_000, tokens=1234),
)


def shown(**changes: object) -> str:
    guard = msgspec.structs.replace(GUARD, **changes)
    return "\n".join(node_status.lines(msgspec.structs.replace(STATUS, guard=guard)))


@pytest.fixture
def swedish(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner who reads Swedish."""
    monkeypatch.setattr("garage_ai.cli.node_status.language", lambda: "sv")
    monkeypatch.setattr("garage_ai.cli.node_words.language", lambda: "sv")
    monkeypatch.setattr("garage_ai.cli.node_screen.language", lambda: "sv")


def test_says_in_one_line_why_it_does_not_serve() -> None:
    """With the time since when; and what is not known, and what that means."""
    text = shown()
    assert f"it does not serve since {time.strftime('%Y', time.localtime(0))}" in text
    assert ": factorio is running" in text
    assert "graphics card: no NVIDIA card that could be asked; it serves all the same" in text
    assert "electricity price: no price is known for SE3; it does not serve meanwhile" in text
    assert text.count("factorio is running") == 3
    assert "1234 tokens made" in text
    assert "1.5 GB sent" in text
    assert "no card tells what it draws" in text


@pytest.mark.usefixtures("swedish")
def test_says_it_in_swedish() -> None:
    """The reason, the signals and the pauses too."""
    text = shown()
    assert ": factorio körs" in text
    assert "grafikkort: inget NVIDIA-kort som kan tillfrågas; den arbetar ändå" in text
    assert "till nu: factorio körs" in text


def test_tells_a_drain_and_serving_apart() -> None:
    """One line for each."""
    assert "it finishes what runs" in shown(action="drain")
    assert "it serves: nothing that is watched" in shown(action="serve")


def test_power_says_what_it_covers() -> None:
    """Measured, of the cards alone; kronor only where a price was known."""
    day = DayStatus(0, 0, watts=210.4, kwh=1.234)
    assert "210 W now, 1.23 kWh today (graphics cards alone, measured)" in shown(today=day)
    day = msgspec.structs.replace(day, kronor=0.987)
    assert "0.99 kr" in shown(today=day)


def test_live_off_a_terminal_shows_it_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A log gets one picture and no movement."""
    node_status.show_live(lambda: STATUS)
    assert capsys.readouterr().out.count("small sha256") == 1


def test_live_goes_on_until_ctrl_c(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look asks anew; Ctrl-C is the way out and no error."""
    looks = iter([STATUS, msgspec.structs.replace(STATUS, running=7)])

    def ask() -> Status:
        try:
            return next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("garage_ai.cli.output.is_rich", lambda _: True)
    monkeypatch.setattr(node_status, "LOOK_SECONDS", 0)
    node_status.show_live(ask)
    assert "7/8" in capsys.readouterr().out


@pytest.mark.usefixtures("swedish")
def test_the_screen_tells_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """In the owner's language where there is one."""
    NodeScreen().tell(State("paused", GAME.en, (), GAME.sv))
    assert capsys.readouterr().err == "arbetar inte: factorio körs\n"


def test_limits_are_shown_as_they_are_typed() -> None:
    """Each with its option, and in the units that it takes."""
    limits = Limits(
        pause_on=("a", "b"), max_price=1.5, price_area="SE3", idle=900.0, max_upload=50 * 10**9
    )
    lines = {line.split()[0]: line.split(None, 1)[1] for line in node_limits.lines(limits)}
    assert lines["--pause-on"] == "a, b"
    assert lines["--max-price"] == "1.5 kr/kWh"
    assert lines["--idle"] == "15m"
    assert lines["--max-upload"] == "50.0 GB"
    assert lines["--schedule"] == "no limit"
    assert lines["--gamemode"] == "yes"
    assert lines["--drain"] == "20s"
    assert len(lines) == len(limits.__struct_fields__)


def test_every_limit_has_an_option_and_help() -> None:
    """What can be kept can be typed."""
    told = CliRunner().invoke(node.app, ["limits", "--help"], env={"COLUMNS": "200"}).output
    for name in Limits.__struct_fields__:
        assert f"--{name.replace('_', '-')}" in told


def test_what_is_typed_becomes_a_limit() -> None:
    """Decimal commas too; `off` is the default again."""
    limits = node_limits.with_changes(
        Limits(max_cpu=10.0),
        {"max_price": "1,5", "price_area": "SE4", "max_cpu": "off", "idle": "1h", "gpu": False},
    )
    assert limits == Limits(max_price=1.5, price_area="SE4", idle=3600.0, gpu=False)
    with pytest.raises(NotPossible, match="not a number"):
        node_limits.with_changes(Limits(), {"max_cpu": "half"})


def test_limits_need_a_node_to_be_set_and_none_to_be_seen(tmp_path: Path) -> None:
    """Defaults are shown anywhere; a folder without a node keeps none."""
    runner = CliRunner()
    seen = runner.invoke(node.app, ["limits", "--json", "--data-dir", str(tmp_path)])
    assert msgspec.json.decode(seen.stdout, type=Limits) == Limits()
    made = runner.invoke(node.app, ["limits", "--no-gpu", "--data-dir", str(tmp_path)])
    assert made.exception is not None
    assert list(tmp_path.iterdir()) == []
