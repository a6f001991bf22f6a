"""Why a node does not serve, in one plain sentence, in English and Swedish."""

from typing import Final

import msgspec


class Sentence(msgspec.Struct, frozen=True):
    """The same sentence in both languages; both empty where there is nothing to say."""

    en: str = ""
    sv: str = ""


NOTHING: Final = Sentence()

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "owner": ("paused by its owner", "pausad av ägaren"),
    "owner.until": ("paused by its owner until {until}", "pausad av ägaren till {until}"),
    "game": ("{name} is running", "{name} körs"),
    "gamemode": ("a game is running (GameMode)", "ett spel körs (GameMode)"),
    "gpu.memory": (
        "{name} uses {memory} of the graphics card",
        "{name} använder {memory} av grafikkortet",
    ),
    "gpu.use": (
        "{name} keeps the graphics card {use:.0f} % busy",
        "{name} belastar grafikkortet till {use:.0f} %",
    ),
    "cpu": (
        "other programs use {use:.0f} % of the processor, more than {limit:.0f} %",
        "andra program använder {use:.0f} % av processorn, mer än {limit:.0f} %",
    ),
    "battery": ("the PC runs on battery", "datorn går på batteri"),
    "temperature": (
        "the PC is hotter than {limit:.0f} °C",
        "datorn är varmare än {limit:.0f} °C",
    ),
    "metered": ("the network connection is metered", "nätanslutningen kostar per mängd"),
    "schedule": (
        "it is outside the hours {schedule}",
        "klockan är utanför tiderna {schedule}",
    ),
    "price": (
        "electricity costs {price:.2f} kr/kWh in {area}, more than {limit:.2f}",
        "elen kostar {price:.2f} kr/kWh i {area}, mer än {limit:.2f}",
    ),
    "price.before": (
        "electricity cost {price:.2f} kr/kWh in {area} at this hour {day}, more than {limit:.2f}",
        "elen kostade {price:.2f} kr/kWh i {area} vid den här tiden {day}, mer än {limit:.2f}",
    ),
    "price.table": (
        "by a table electricity costs {price:.2f} kr/kWh in {area}, more than {limit:.2f}",
        "enligt en tabell kostar elen {price:.2f} kr/kWh i {area}, mer än {limit:.2f}",
    ),
    "upload": (
        "{sent} have been sent this month, and {limit} are allowed",
        "{sent} har skickats den här månaden, och {limit} är tillåtet",
    ),
    "energy.day": (
        "lending has drawn {used:.1f} kWh today, and {limit:g} are allowed",
        "utlåningen har dragit {used:.1f} kWh i dag, och {limit:g} är tillåtet",
    ),
    "energy.month": (
        "lending has drawn {used:.1f} kWh this month, and {limit:g} are allowed",
        "utlåningen har dragit {used:.1f} kWh den här månaden, och {limit:g} är tillåtet",
    ),
    "no_power": (
        "neither a card nor the processor tells what it draws",
        "varken något kort eller processorn berättar vad den drar",
    ),
    "idle": (
        "somebody has used the PC within {limit}",
        "någon har använt datorn inom {limit}",
    ),
    "over": (
        "waiting {seconds:.0f} s to be sure that it is over: {why}",
        "väntar {seconds:.0f} s för att vara säker på att det är över: {why}",
    ),
    # What cannot be read.
    "unread": ("not read yet", "inte läst än"),
    "stale": ("not read for {seconds:.0f} s", "inte läst på {seconds:.0f} s"),
    "broken": ("cannot be read: {detail}", "kan inte läsas: {detail}"),
    "blind": (
        "cannot tell about {signal}, which you set a limit for ({why})",
        "vet inget om {signal}, som du har satt en gräns för ({why})",
    ),
    "unsure": (
        "cannot tell whether it is over: {signal} ({why})",
        "vet inte om det är över: {signal} ({why})",
    ),
    "gpu.none": (
        "no NVIDIA card that could be asked",
        "inget NVIDIA-kort som kan tillfrågas",
    ),
    "gpu.wsl": (
        "WSL2 gives no figures for each process",
        "WSL2 ger inga siffror för varje process",
    ),
    "wsl": (
        "Windows' own programs cannot be seen from WSL2",
        "Windows egna program syns inte från WSL2",
    ),
    "idle.wsl": (
        "whether somebody uses Windows cannot be seen from WSL2",
        "om någon använder Windows syns inte från WSL2",
    ),
    "container": (
        "the PC's other programs cannot be seen from a container",
        "datorns andra program syns inte från en container",
    ),
    "own_server": (
        "the server is your own, and its use cannot be told from a game's",
        "servern är din egen, och det går inte att skilja den från ett spel",
    ),
    "no_bus": ("the desktop's bus was not reached", "skrivbordets buss gick inte att nå"),
    "no_busctl": ("busctl is not installed", "busctl är inte installerat"),
    "no_answer": ("nobody answers for {name}", "ingen svarar för {name}"),
    "not_told": ("the system does not tell", "systemet säger inget"),
    "no_area": (
        "say where you are with --price-area",
        "säg var du är med --price-area",
    ),
}

SIGNALS: Final[dict[str, tuple[str, str]]] = {
    "owner": ("pause", "paus"),
    "game": ("named programs", "namngivna program"),
    "gamemode": ("GameMode", "GameMode"),
    "gpu": ("graphics card", "grafikkort"),
    "cpu": ("processor", "processor"),
    "battery": ("battery", "batteri"),
    "temperature": ("temperature", "temperatur"),
    "metered": ("metered network", "nät som kostar per mängd"),
    "schedule": ("hours", "tider"),
    "price": ("electricity price", "elpris"),
    "upload": ("upload", "uppladdning"),
    "energy": ("electricity drawn", "förbrukad el"),
    "idle": ("use of the PC", "användning av datorn"),
}


def sentence(key: str, /, **values: object) -> Sentence:
    """Put a sentence together; a value that is a sentence or signal goes in language by language.

    Raises: KeyError.
    """
    english, swedish = _WORDS[key]
    return Sentence(
        english.format(**{name: _in(value, 0) for name, value in values.items()}),
        swedish.format(**{name: _in(value, 1) for name, value in values.items()}),
    )


def _in(value: object, language: int) -> object:
    if isinstance(value, Sentence):
        return value.sv if language else value.en
    if isinstance(value, tuple):
        return value[language]
    return value


__all__ = ["NOTHING", "SIGNALS", "Sentence", "sentence"]
