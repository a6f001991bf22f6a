"""What is said of words that were typed in the wrong place or shape, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "misplaced": (
        "{option} stands before `{name}`, where it would not count.",
        "{option} står före `{name}`, där den inte gäller.",
    ),
    "misplaced.next": (
        "Options stand behind the command that they are for; `{command} --help` lists its own.",
        "Val står efter det kommando de gäller; `{command} --help` listar dess egna.",
    ),
    "no_home": (
        "{folder} cannot be found: there is no such user here.",
        "{folder} går inte att hitta: det finns ingen sådan användare här.",
    ),
    "no_home.next": (
        "`~/NAME` lies in your own home, `./~NAME` in the folder you are in.",
        "`~/NAMN` ligger i din hemmapp, `./~NAMN` i mappen du står i.",
    ),
    "not_up": (
        "No network runs from {folder}.",
        "Inget nät körs från {folder}.",
    ),
    "not_up.next": (
        "Start it with `gai up --data-dir {folder}`, or name a gateway with --gateway URL.",
        "Starta det med `gai up --data-dir {folder}`, eller ange en gateway med --gateway URL.",
    ),
    "not_yours": (
        "{folder} is another user's: what runs from it cannot be seen.",
        "{folder} är en annan användares: vad som körs därifrån går inte att se.",
    ),
    "not_yours.next": (
        "Ask as that user: sudo -u USER gai … --data-dir {folder}",
        "Fråga som den användaren: sudo -u ANVÄNDARE gai … --data-dir {folder}",
    ),
    "gai_is": ("Here `gai` is {path}", "Här är `gai` {path}"),
    "only_here": (
        "Other PCs do not reach that address; start the network with --public HOST for them.",
        "Andra datorer når inte den adressen; starta nätet med --public VÄRD för dem.",
    ),
    "moment": (
        "{value} is no time; write it as 2026-12-01 or 2026-12-01T08:00",
        "{value} är ingen tid; skriv den som 2026-12-01 eller 2026-12-01T08:00",
    ),
    "not_utf8": (
        "What comes on stdin is not text in UTF-8.",
        "Det som kommer på stdin är inte text i UTF-8.",
    ),
    "not_utf8.next": (
        "Convert it first, such as with: iconv -f latin1 -t utf-8",
        "Gör om det först, till exempel med: iconv -f latin1 -t utf-8",
    ),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
