"""What `gai node` says of moving in and out: the service, and what leaving removes."""

from typing import Final

HOME: Final[dict[str, tuple[str, str]]] = {
    "help.service": (
        "Run the node in the background, as a service of yours (systemd).",
        "Kör noden i bakgrunden, som en tjänst av din egen (systemd).",
    ),
    "help.service.install": (
        "Make the service, or make it anew, and start it.",
        "Gör tjänsten, eller gör om den, och starta den.",
    ),
    "help.service.remove": (
        "Stop the service and remove it; the node stays enrolled.",
        "Stoppa tjänsten och ta bort den; noden förblir inskriven.",
    ),
    "help.service.status": (
        "Show whether it runs, and whether it goes on when you log out.",
        "Visa om den kör, och om den fortsätter när du loggar ut.",
    ),
    "option.start": (
        "Start it now too, or only at the next start of the PC.",
        "Starta den nu också, eller först när datorn startas nästa gång.",
    ),
    "option.service": (
        "Serve in the background, as a service; asked at a terminal if neither is said.",
        "Arbeta i bakgrunden, som en tjänst; vid en terminal frågas det om inget sägs.",
    ),
    "join.interrupted": (
        "Cut short; the same command goes on from here.",
        "Avbrutet; samma kommando fortsätter härifrån.",
    ),
    "service.ask": (
        "Run the node in the background, also after a restart of the PC?",
        "Köra noden i bakgrunden, även efter en omstart av datorn?",
    ),
    "service.installed": ("service: {unit}", "tjänst: {unit}"),
    "service.started": (
        "it runs in the background, pid {pid}",
        "den kör i bakgrunden, pid {pid}",
    ),
    "service.commands": (
        "look: gai node status   log: journalctl --user -u {unit}   stop: gai node service remove",
        "se: gai node status   logg: journalctl --user -u {unit}   stopp: gai node service remove",
    ),
    "service.removed": ("service removed: {unit}", "tjänsten borttagen: {unit}"),
    "service.none": ("there is no service {unit}", "det finns ingen tjänst {unit}"),
    "service.none.next": (
        "make one: gai node service install",
        "gör en: gai node service install",
    ),
    "service.stopped": (
        "the service has stopped for this: {unit}",
        "tjänsten har stannat för det här: {unit}",
    ),
    "service.linger": (
        "It stops when you log out. To let it go on: loginctl enable-linger",
        "Den stannar när du loggar ut. Låt den fortsätta med: loginctl enable-linger",
    ),
    "service.wsl": (
        "Windows ends this Linux, and the node in it, soon after its last window is closed.",
        "Windows avslutar det här Linux, och noden i det, strax efter att sista fönstret stängts.",
    ),
    "service.wsl.next": (
        "To let it go on, have Windows start this when you log in: wsl --exec sleep infinity",
        "Låt Windows starta det här när du loggar in, så fortsätter den: wsl --exec sleep infinity",
    ),
    "service.state": (
        "{unit}: {state}, starts with the PC: {enabled}",
        "{unit}: {state}, startar med datorn: {enabled}",
    ),
    "service.ended": (
        "it ended last with exit code {code}: journalctl --user -u {unit}",
        "den slutade senast med slutkod {code}: journalctl --user -u {unit}",
    ),
    "service.died": (
        "The service has ended with exit code {code}.",
        "Tjänsten har slutat med slutkod {code}.",
    ),
    "service.died.next": (
        "Its last words: journalctl --user -u {unit} -n 20",
        "Dess sista ord: journalctl --user -u {unit} -n 20",
    ),
    "service.loading": (
        "it is not ready yet and goes on by itself: {reason}",
        "den är inte redo än och fortsätter av sig själv: {reason}",
    ),
    "service.preparing": (
        "its engine is being made ready",
        "motorn görs i ordning",
    ),
    "agent_still_there": (
        "The agent (pid {pid}) has not stopped yet; try again in a moment.",
        "Agenten (pid {pid}) har inte stannat än; försök igen om en stund.",
    ),
    "help.leave": (
        (
            "Leave the network for good and remove what was the node: service, containers, images, "
            "models, settings. Cut short, it is ended by typing it again."
        ),
        (
            "Lämna nätet för gott och ta bort det som var noden: tjänst, containrar, avbilder, "
            "modeller, inställningar. Avbruten görs den klar om man skriver den igen."
        ),
    ),
    "option.keep_models": (
        "Keep the models that were fetched, for the next time.",
        "Behåll modellerna som hämtats, till nästa gång.",
    ),
    "option.force": (
        "Remove all here although the network cannot be told; it keeps the node in its books.",
        "Ta bort allt här fast nätet inte kan få veta det; det har kvar noden i sina böcker.",
    ),
    "left.left": ("{node} has left {gateway}", "{node} har lämnat {gateway}"),
    "left.gone_already": (
        "{node} was no part of {gateway} any more",
        "{node} hörde inte längre till {gateway}",
    ),
    "left.not_told": (
        "{gateway} was not told and still knows {node}. Ask its administrator to remove it:",
        "{gateway} fick inte veta det och har kvar {node}. Be administratören ta bort den:",
    ),
    "left.no_node": ("there is no node in {folder}", "det finns ingen nod i {folder}"),
    "left.removed": ("removed: {what}", "borttaget: {what}"),
    "left.shared": (
        "{what} stays: another node or something else on this PC uses it",
        "{what} blir kvar: en annan nod eller något annat på datorn använder den",
    ),
    "left.freed": ("{megabytes:.0f} MB freed", "{megabytes:.0f} MB frigjorda"),
    "left.kept": ("Not everything could be removed.", "Allt gick inte att ta bort."),
    "left.kept.next": (
        "Put that right, then again: gai node leave",
        "Rätta till det, sedan igen: gai node leave",
    ),
    "left.away.next": (
        (
            "Nothing was removed. Try again later, or remove all here without telling it: "
            "gai node leave --force"
        ),
        (
            "Inget är borttaget. Försök senare, eller ta bort allt här utan att den får veta det: "
            "gai node leave --force"
        ),
    ),
}

__all__ = ["HOME"]
