"""What keeps a network's model from this PC, in Swedish, by the words that it has in English."""

from typing import Final

MODELS: Final[dict[str, str]] = {
    "What {source} says of {name} cannot be used: {error}": (
        "Det som {source} säger om {name} går inte att använda: {error}"
    ),
    "{source} says more of {name} than is read: over {size} KiB.": (
        "{source} säger mer om {name} än som läses: över {size} KiB."
    ),
    "{source} was asked for {name} and tells of {other}.": (
        "{source} fick frågan om {name} och berättar om {other}."
    ),
    "{source} calls {name} {told}, but what it says of it is {found}.": (
        "{source} kallar {name} {told}, men det som sägs om den är {found}."
    ),
    "{name} of {source} has a file of a kind that is never fetched: {file}": (
        "{name} från {source} har en fil av ett slag som aldrig hämtas: {file}"
    ),
    "{source} names no place from which {name} can be fetched: neither an https:// address nor "
    "Hugging Face.": (
        "{source} anger ingen plats som {name} går att hämta från: varken en https://-adress "
        "eller Hugging Face."
    ),
    "{name} is no .gguf file, which llama.cpp needs; serve it with --engine vllm.": (
        "{name} är ingen .gguf-fil, som llama.cpp behöver; kör den med --engine vllm."
    ),
    "{base} describes no model {name}. A file or folder of your own is given by its path.": (
        "{base} beskriver ingen modell {name}. En egen fil eller mapp anges med sin sökväg."
    ),
    "{base} describes no model {name}, but {known}. A file or folder of your own is given by its "
    "path.": (
        "{base} beskriver ingen modell {name}, men {known}. En egen fil eller mapp anges med sin "
        "sökväg."
    ),
    "{name} is not here just now: is its disk mounted?": (
        "{name} finns inte här just nu: är dess disk monterad?"
    ),
    "{name} is neither a model's name nor a folder here with a config.json.": (
        "{name} är varken en modells namn eller en mapp här med en config.json."
    ),
    "{name} is neither a model's name nor a .gguf file here.": (
        "{name} är varken en modells namn eller en .gguf-fil här."
    ),
}

__all__ = ["MODELS"]
