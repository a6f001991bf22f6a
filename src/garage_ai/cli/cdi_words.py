"""What the checklist says of cards in containers, in English and Swedish."""

from typing import Final, NamedTuple


class Said(NamedTuple):
    """A case in both languages; `fix` is empty where nothing is to be done.

    One that is a command has no `fix_sv`; `then` is what it does not do by itself.
    """

    text: str
    text_sv: str
    fix: str = ""
    fix_sv: str = ""
    then: str = ""
    then_sv: str = ""


_CDI: Final = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
_NO_GIDS: Final = "no-additional-gids-for-device-nodes"
_REFRESH: Final = "sudo systemctl restart nvidia-cdi-refresh.service"
"""Has NVIDIA's own service write its description anew."""

_ENVIRONMENT: Final = "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env"
_UNREAD: Final = (
    "{path} cannot be read by Podman {version}: it gives the card groups of its own (CDI 0.7).",
    "{path} kan inte läsas av Podman {version}: den ger kortet egna grupper (CDI 0.7).",
)
_WAKE: Final = "sudo nvidia-modprobe -u -c=0"
_NO_UVM: Final = (
    "/dev/nvidia-uvm, without which CUDA finds no card, is not there yet or not in {path}.",
    "/dev/nvidia-uvm, som CUDA inte hittar något kort utan, finns inte än eller inte i {path}.",
)

CDI: Final[dict[str, Said]] = {
    "cdi.ok": Said("{path}, driver {spec}", "{path}, drivrutin {spec}"),
    "cdi.undated": Said("{path}", "{path}"),
    "cdi.toolkit": Said(
        "by Docker, with NVIDIA's container toolkit",
        "genom Docker, med NVIDIA:s container toolkit",
    ),
    "cdi.toolkit_missing": Said(
        "Docker cannot give a container the card: NVIDIA's container toolkit is not installed.",
        "Docker kan inte ge en container kortet: NVIDIA:s container toolkit är inte installerat.",
        "Install nvidia-container-toolkit, then: sudo systemctl restart docker",
        "Installera nvidia-container-toolkit, sedan: sudo systemctl restart docker",
    ),
    "cdi.none": Said(
        "Containers are not told of the card: there is no CDI description of it.",
        "Containrar får inte veta om kortet: det saknas en CDI-beskrivning av det.",
        f"Install nvidia-container-toolkit, then: {_CDI}",
        f"Installera nvidia-container-toolkit, sedan: {_CDI}",
    ),
    "cdi.stale": Said(
        "{path} describes driver {spec}, and {driver} is running.",
        "{path} beskriver drivrutin {spec}, och {driver} körs.",
        _CDI,
    ),
    "cdi.unnamed": Said(
        "{path} does not name the cards by their UUIDs.",
        "{path} namnger inte korten med deras UUID.",
        f"{_CDI} --device-name-strategy=index --device-name-strategy=uuid",
    ),
    "cdi.no_uvm": Said(*_NO_UVM, f"{_WAKE} && {_CDI}"),
    "cdi.no_uvm_refreshed": Said(*_NO_UVM, f"{_WAKE} && {_REFRESH}"),
    "cdi.unread": Said(*_UNREAD, f"{_CDI} --feature-flags={_NO_GIDS}"),
    "cdi.unread_refreshed": Said(
        *_UNREAD,
        "sudo mkdir -p /etc/nvidia-container-toolkit && echo"
        f" NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS={_NO_GIDS} | sudo tee -a {_ENVIRONMENT}"
        f" && {_REFRESH}",
    ),
}

__all__ = ["CDI", "Said"]
