"""What `gai node update` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "Bring a newer version of the agent, and go back by itself if it does not serve.",
        "Hämta en nyare version av agenten, och gå själv tillbaka om den inte fungerar.",
    ),
    "option.check": (
        "Say what there is, and change nothing.",
        "Säg vad som finns, och ändra inget.",
    ),
    "option.to": (
        "A version, or the file that describes it; the newest if unsaid.",
        "En version, eller filen som beskriver den; annars den nyaste.",
    ),
    "option.rollback": (
        "Go back to the version before.",
        "Gå tillbaka till versionen innan.",
    ),
    "option.within": (
        "Seconds in which the new version must serve; 600 if unsaid.",
        "Sekunder inom vilka den nya versionen måste fungera; annars 600.",
    ),
    "option.from": (
        "Where releases are: an https address, or a folder.",
        "Var versionerna finns: en https-adress eller en mapp.",
    ),
    "option.key": (
        "Whose releases to trust, `U…`; the key that is built in if unsaid.",
        "Vems versioner som är betrodda, `U…`; annars den inbyggda nyckeln.",
    ),
    "step.fetch": ("fetching {version}", "hämtar {version}"),
    "step.install": (
        "installing {version} beside the one that runs",
        "installerar {version} bredvid den som är igång",
    ),
    "step.chosen": ("{version} is proved and chosen", "{version} är prövad och vald"),
    "step.restart": (
        "the agent finishes what runs, then starts as {version}",
        "agenten gör klart det som pågår och startar sedan som {version}",
    ),
    "serves": (
        "{version} serves; `gai node update --rollback` goes back",
        "{version} är igång; `gai node update --rollback` går tillbaka",
    ),
    "at_next_start": (
        "no agent is running; {version} is tried at its next start",
        "ingen agent är igång; {version} prövas vid nästa start",
    ),
    "newest": ("{version} is the newest", "{version} är den nyaste"),
    "check": (
        "{version} here, {latest} of {date} is the newest",
        "{version} här, {latest} från {date} är den nyaste",
    ),
    "check.failed": (
        "{version} was tried and taken back: {why}",
        "{version} prövades och togs tillbaka: {why}",
    ),
    "trial.begun": ("trying version {version}", "prövar version {version}"),
    "trial.won": ("version {version} serves", "version {version} är igång"),
    "trial.put_off": (
        "version {version} is tried once the disk has room; the one before goes on",
        "version {version} prövas när disken har plats; den innan går vidare",
    ),
    "trial.lost": (
        "version {version} is taken back, the one before goes on: {why}",
        "version {version} tas tillbaka, den innan går vidare: {why}",
    ),
}

ERRORS: Final[dict[str, str]] = {
    "This version calls itself {name}, which is no release.": (
        "Den här versionen kallar sig {name}, och det är ingen utgiven version."
    ),
    "{new} is not newer than {old}, which runs here. To go back: gai node update --rollback": (
        "{new} är inte nyare än {old}, som används här. Tillbaka: gai node update --rollback"
    ),
    "There is nothing to go back to from {old}.": (
        "Det finns inget att gå tillbaka till från {old}."
    ),
    "{version} was taken back: {why}. The one before runs.": (
        "{version} togs tillbaka: {why}. Versionen innan är igång."
    ),
    "{version} does not serve yet; see: gai node status": (
        "{version} är inte igång än; se: gai node status"
    ),
    (
        "This version has no release key built in, so there is nothing it could trust. Update "
        "as you installed it, or name the key of whoever releases: GAI_RELEASE_KEY=U…"
    ): (
        "Den här versionen har ingen inbyggd nyckel och därför inget att lita på. Uppdatera så "
        "som du installerade, eller ange utgivarens nyckel: GAI_RELEASE_KEY=U…"
    ),
    "The release is longer than {most} bytes.": "Versionen är längre än {most} byte.",
    "The release is not signed by {key}: {error}.": (
        "Versionen är inte signerad av {key}: {error}."
    ),
    "That is no release: {error}": "Det är ingen utgiven version: {error}",
    "The wheel should be called {name}.": "Paketet borde heta {name}.",
    "{wheel} is not of the size that was released.": "{wheel} har inte den storlek som gavs ut.",
    "{wheel} is not what was released: its sha256 is {found}.": (
        "{wheel} är inte vad som gavs ut: dess sha256 är {found}."
    ),
    "The lock {name} in {wheel} is not what was released.": (
        "Låsfilen {name} i {wheel} är inte vad som gavs ut."
    ),
    "The lock {name} is longer than {most} bytes.": "Låsfilen {name} är längre än {most} byte.",
    "{wheel} is no wheel: {error}": "{wheel} är inget paket: {error}",
    "{wheel} has no lock for {names}.": "{wheel} har ingen låsfil för {names}.",
    "No place with releases is known. Name a file (--to FILE.json), or the place: "
    "GAI_RELEASES=URL": (
        "Ingen plats med versioner är känd. Ange en fil (--to FIL.json) eller platsen: "
        "GAI_RELEASES=URL"
    ),
    "{address} cannot be had: {words}": "{address} kan inte hämtas: {words}",
    "{address} leads on without end.": "{address} leder vidare utan slut.",
    "{address} is not there (HTTP {answered}).": "{address} finns inte (HTTP {answered}).",
    "Releases are fetched over https only, not from {address}.": (
        "Versioner hämtas bara över https, inte från {address}."
    ),
    "{file} cannot be read: {error}": "{file} går inte att läsa: {error}",
    "{file} is longer than {most} bytes.": "{file} är längre än {most} byte.",
    "The new version calls itself {name}.": "Den nya versionen kallar sig {name}.",
    "The new version cannot be installed: {error}": (
        "Den nya versionen kan inte installeras: {error}"
    ),
    "The new version cannot be installed: {error} ({log})": (
        "Den nya versionen kan inte installeras: {error} ({log})"
    ),
    "The new version does not start: {error}": "Den nya versionen startar inte: {error}",
    "{version} needs Python {python} or newer; install it and run start.sh again.": (
        "{version} behöver Python {python} eller nyare; installera den och kör start.sh igen."
    ),
    "Another `gai node update` is at work in this folder.": (
        "En annan `gai node update` arbetar i mappen."
    ),
    "A new version is being tried in this folder just now.": (
        "En ny version prövas i mappen just nu."
    ),
}
"""What can go wrong, in Swedish, by the words that it has in English."""


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["ERRORS", "say"]
