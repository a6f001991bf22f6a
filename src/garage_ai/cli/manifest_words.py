"""What `gai models` says of the network's catalogue, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help.add": (
        "Add a model to the network's catalogue: known, counted and priced from then on.",
        "Lägg till en modell i nätets katalog: känd, räknad och prissatt från och med då.",
    ),
    "help.remove": (
        "Take a model out of the catalogue. Nodes go on serving it, and earn nothing by it.",
        "Ta bort en modell ur katalogen. Noder kör den vidare, men tjänar inget på den.",
    ),
    "help.catalogue": (
        "List the models that the network knows, served now or not.",
        "Lista modellerna som nätet känner till, körda just nu eller inte.",
    ),
    "help.describe": (
        "Make the manifest of a GGUF file or a folder as Hugging Face has them, for `add`.",
        "Gör manifestet för en GGUF-fil eller en mapp som Hugging Faces, att ge till `add`.",
    ),
    "argument.file": (
        "A manifest, as `gai models describe` writes one; - reads it from stdin.",
        "Ett manifest, som `gai models describe` skriver det; - läser från stdin.",
    ),
    "argument.name": ("The model's name.", "Modellens namn."),
    "argument.path": (
        "The model on this PC: a .gguf file, or a folder with config.json and .safetensors.",
        "Modellen på den här datorn: en .gguf-fil, eller en mapp med config.json och .safetensors.",
    ),
    "option.name": (
        "What requests call it; the file's or folder's own name if unset.",
        "Vad den heter i anrop; filens eller mappens eget namn om inget sägs.",
    ),
    "option.hub": (
        "A repository of Hugging Face that has the same files, and a commit. Several may be given.",
        "Ett arkiv på Hugging Face som har samma filer, och en commit. Flera kan anges.",
    ),
    "option.url": (
        "An https address below which the files lie. Several may be given.",
        "En https-adress under vilken filerna ligger. Flera kan anges.",
    ),
    "option.licence": (
        "The licence, where the files do not say it or say it wrongly.",
        "Licensen, när filerna inte säger den eller säger fel.",
    ),
    "added": ("{name} is in the catalogue: {digest}", "{name} finns i katalogen: {digest}"),
    "removed": (
        "{name} is no longer in the catalogue; nodes that serve it earn nothing by it.",
        "{name} finns inte längre i katalogen; noder som kör den tjänar inget på den.",
    ),
    "no_json": ("{file} holds no JSON object.", "{file} innehåller inget JSON-objekt."),
    "no_json.next": (
        "`gai models describe PATH` writes what belongs in it.",
        "`gai models describe SÖKVÄG` skriver det som ska stå där.",
    ),
    "too_large": (
        "{file} is too large to be a manifest.",
        "{file} är för stor för att vara ett manifest.",
    ),
    "bad_source": (
        "{source} is neither ORG/NAME@REVISION nor an https:// address without ? and #.",
        "{source} är varken ORG/NAMN@REVISION eller en https://-adress utan ? och #.",
    ),
    "no_sources": (
        "Nodes cannot fetch it yet, so it cannot be added: name a source, --hub or --url.",
        "Noder kan inte hämta den än, så den kan inte läggas till: ange --hub eller --url.",
    ),
    "branch": (
        "{source} names no commit: if the branch moves on, nodes refuse its other files.",
        "{source} anger ingen commit: om grenen flyttas vägrar noder dess andra filer.",
    ),
    "uncounted": (
        "The gateway cannot count this file's kind of tokens yet: nodes would earn nothing by it.",
        "Gatewayen kan ännu inte räkna filens sorts token: noder skulle inte tjäna något på den.",
    ),
    "not_described": (
        "{path} cannot be described: {reason}.",
        "{path} går inte att beskriva: {reason}.",
    ),
    "not_described.next": (
        "A model is a whole .gguf file, or a folder with config.json and .safetensors files.",
        "En modell är en hel .gguf-fil, eller en mapp med config.json och .safetensors-filer.",
    ),
    "reading": ("reading {file} {share} %", "läser {file} {share} %"),
    "shipped": ("comes with the gateway", "följer med gatewayen"),
    "table.name": ("model", "modell"),
    "table.size": ("size", "storlek"),
    "table.quantisation": ("quantisation", "kvantisering"),
    "table.licence": ("licence", "licens"),
    "table.digest": ("digest", "digest"),
    "table.sources": ("sources", "källor"),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
