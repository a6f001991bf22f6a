"""What `gai node status` and `limits` show of the guard."""

import time
from pathlib import Path

import msgspec
import pytest
from tests.unit.catalog.test_shelf import shelve
from tests.unit.cli.test_node import STATUS
from tests.unit.node.test_folder import RECORD
from typer.testing import CliRunner

from garage_ai.cli import node, node_limits, node_status
from garage_ai.cli.errors import Failed
from garage_ai.cli.node_error_words import SWEDISH
from garage_ai.cli.node_screen import NodeScreen
from garage_ai.node.errors import NotPossible
from garage_ai.node.events import State
from garage_ai.node.folder import NodeFolder
from garage_ai.node.guard.limits import Limits, load_limits, save_limits
from garage_ai.node.guard.status import (
    CardStatus,
    DayStatus,
    GuardStatus,
    PauseStatus,
    SignalStatus,
)
from garage_ai.node.guard.words import sentence
from garage_ai.node.status import DeviceStatus, Status

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
        SignalStatus("price", "unknown", sentence("no_area"), fails_closed=True),
    ),
    pauses=(PauseStatus(0.0, 60.0, GAME, "game"), PauseStatus(120.0, None, GAME, "game")),
    today=DayStatus(sent_this_month=1_500_000_000, tokens=1234),
)


def shown(**changes: object) -> str:
    guard = msgspec.structs.replace(GUARD, **changes)
    return "\n".join(node_status.lines(msgspec.structs.replace(STATUS, guard=guard)))


def on(device: DeviceStatus | None) -> str:
    engine = msgspec.structs.replace(STATUS.engine, device=device)
    return "\n".join(node_status.lines(msgspec.structs.replace(STATUS, engine=engine)))


def test_says_what_the_engine_computes_on() -> None:
    """Cards, the processor, or part of both and what that costs; nothing of another's server."""
    assert "GPU-1, GPU-2, all 33 layers" in on(DeviceStatus(("GPU-1", "GPU-2"), 33, 33))
    part = on(DeviceStatus(("GPU-1",), 20, 33, 4.2))
    assert "GPU-1, 20 of 33 layers, the rest on the processor: 4 times slower" in part
    assert "computes on  GPU-1\n" in on(DeviceStatus(("GPU-1",), 0, 0))
    assert "computes on  the processor" in on(DeviceStatus((), 0, 0))
    assert "computes on" not in on(None)


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
    where = "say where you are with --price-area"
    assert f"electricity price: {where}; it does not serve meanwhile" in text
    assert text.count("factorio is running") == 3
    assert "1234 tokens made" in text
    assert "1.5 GB sent" in text
    assert "neither a card nor the processor tells" in text


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
    """What was measured and by whom, what the cards are held to; nothing is guessed."""
    assert "not measured" in shown()
    day = DayStatus(0, 0, watts=210.4, kwh=1.234, kwh_this_month=20.0, metered=("cards",))
    text = shown(today=day)
    assert "210 W now (graphics cards)" in text
    assert "1.23 kWh today, 20.0 kWh this month, while the engine ran" in text
    assert "say where you are with `gai node limits --price-area SE3`" in text
    both = msgspec.structs.replace(day, most_watts=320.0, metered=("cards", "processor"))
    assert "210 W now of 320 W at most (graphics cards, processor)" in shown(today=both)


def test_cards_are_told_as_far_as_they_tell() -> None:
    """By name, with what each draws and how hot it is."""
    cards = (CardStatus("RTX 3090", 210.4, 61.0), CardStatus("T400", None, None))
    text = shown(cards=cards)
    assert "RTX 3090, 210 W, 61 °C" in text
    assert "T400\n" in text


def test_kronor_say_whose_price_they_rest_on() -> None:
    """Only where a price was known."""
    day = DayStatus(0, 0, watts=1.0, kwh=1.0, kwh_this_month=1.0, metered=("cards",))
    day = msgspec.structs.replace(day, price_area="SE3", price_source="prices.example")
    assert "no price is known (prices.example, SE3)" in shown(today=day)
    day = msgspec.structs.replace(day, kronor=0.987, price=0.451)
    text = shown(today=day)
    assert "0.99 kr today, at spot prices without tax and fees (prices.example, SE3)" in text
    assert "0.45 kr/kWh now" in text
    cases = {"before": "kr/kWh now by another day's", "table": "kr/kWh by a table of usual prices"}
    for basis, words in cases.items():
        assert f"0.45 {words}" in shown(today=msgspec.structs.replace(day, price_basis=basis))


def test_says_whom_it_serves_and_what_its_models_take() -> None:
    """By the owner's word, and within his room."""
    text = shown(limits=Limits(share="members", disk=200 * 10**9), weights=45 * 10**9)
    assert "members; you go first" in text
    assert "45.0 GB on the disk of 200.0 GB" in text
    assert "45.0 GB on the disk" in shown(weights=45 * 10**9)


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


def test_what_is_typed_becomes_a_limit(tmp_path: Path) -> None:
    """Decimal commas too; `off` is the default again."""
    folder = NodeFolder(tmp_path)
    limits = node_limits.with_changes(
        folder,
        Limits(max_cpu=10.0),
        {"max_price": "1,5", "price_area": "SE4", "max_cpu": "off", "idle": "1h", "gpu": False},
    )
    assert limits == Limits(max_price=1.5, price_area="SE4", idle=3600.0, gpu=False)
    with pytest.raises(NotPossible, match="not a number") as raised:
        node_limits.with_changes(folder, Limits(), {"max_cpu": "half"})
    assert raised.value.template in SWEDISH


def test_a_path_names_no_program(tmp_path: Path) -> None:
    """It would never be found among what runs, and the game never noticed."""
    with pytest.raises(NotPossible, match=r"--pause-on 'Game Of\.exe'"):
        node_limits.with_changes(
            NodeFolder(tmp_path), Limits(), {"pause_on": (r"C:\Games\Game Of.exe",)}
        )


def test_where_the_pc_is_can_be_taken_back(tmp_path: Path) -> None:
    """As every other word of the owner's; a price without it is no limit."""
    folder = NodeFolder(tmp_path)
    folder.prepare()
    folder.save(RECORD)
    save_limits(tmp_path, Limits(max_price=1.5, price_area="SE4", idle=900.0))
    words = ["limits", "--price-area", "off", "--data-dir", str(tmp_path)]
    refused = CliRunner().invoke(node.app, words)
    assert "A price needs an area" in str(refused.exception)
    made = CliRunner().invoke(node.app, [*words, "--max-price", "off"])
    assert made.exception is None, made.output
    assert load_limits(tmp_path) == Limits(idle=900.0)


def test_limits_need_a_node_to_be_set_and_none_to_be_seen(tmp_path: Path) -> None:
    """Defaults are shown anywhere; a folder without a node keeps none."""
    runner = CliRunner()
    seen = runner.invoke(node.app, ["limits", "--json", "--data-dir", str(tmp_path)])
    assert msgspec.json.decode(seen.stdout, type=Limits) == Limits()
    made = runner.invoke(node.app, ["limits", "--no-gpu", "--data-dir", str(tmp_path)])
    assert made.exception is not None
    assert list(tmp_path.iterdir()) == []


def test_whom_it_serves_is_kept_before_it_starts(tmp_path: Path) -> None:
    """Beside the other limits; where nothing is said they stay as they are."""
    folder = NodeFolder(tmp_path / "node")
    node_limits.set_share(folder, None)
    assert not folder.path.exists()
    folder.prepare()
    save_limits(folder.path, Limits(idle=900.0))
    node_limits.set_share(folder, "members")
    assert load_limits(folder.path) == Limits(idle=900.0, share="members")


def test_a_smaller_room_is_made_at_once(tmp_path: Path) -> None:
    """The owner sees what left; what the node serves did not."""
    folder = NodeFolder(tmp_path)
    folder.prepare()
    folder.save(RECORD)
    gone = shelve(tmp_path, "a", 3_000_000)
    made = CliRunner().invoke(node.app, ["limits", "--disk", "1MB", "--data-dir", str(tmp_path)])
    assert made.exception is None
    assert "removed to make room: m (3 MB)" in made.output
    assert not gone.exists()
    refused = CliRunner().invoke(
        node.app, ["limits", "--keep", "no-such-model", "--data-dir", str(tmp_path)]
    )
    assert "The catalogue has no model 'no-such-model'" in str(refused.exception)
    assert load_limits(tmp_path).disk == 1_000_000


def test_room_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The limits hold all the same, and the owner hears what is in the way."""
    folder = NodeFolder(tmp_path)
    folder.prepare()
    folder.save(RECORD)
    # What the label calls a file is a folder, which no unlink removes.
    (shelve(tmp_path, "a", 3_000_000) / "inside" / "more.bin").mkdir(parents=True)
    made = CliRunner().invoke(node.app, ["limits", "--disk", "1MB", "--data-dir", str(tmp_path)])
    assert isinstance(made.exception, Failed)
    assert made.exception.message.startswith("The limits are kept, but")
    assert made.exception.advice
    assert load_limits(tmp_path).disk == 1_000_000
