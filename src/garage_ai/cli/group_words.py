"""What `gai group` says, and what goes wrong in groups, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "Rig groups: PCs on one LAN that run one model together.",
        "Grupper: datorer i ett hemnät som kör en modell tillsammans.",
    ),
    "help.create": (
        "Begin a group with this PC. Prints the invitation for the others.",
        "Börja en grupp med den här datorn. Skriver inbjudan till de andra.",
    ),
    "help.join": (
        "Join a group. The invitation is read from stdin.",
        "Gå med i en grupp. Inbjudan läses från stdin.",
    ),
    "help.invite": (
        "Print the invitation to this PC's group.",
        "Skriv inbjudan till den här datorns grupp.",
    ),
    "help.leave": (
        "Leave the group; the PC lends on its own from the agent's next start.",
        "Lämna gruppen; datorn lånas ut ensam från agentens nästa start.",
    ),
    "argument.name": ("What the group is called.", "Vad gruppen heter."),
    "option.listen": (
        "This PC's own address in the LAN.",
        "Den här datorns egen adress i hemnätet.",
    ),
    "option.peer": (
        "Another PC's address; once for each.",
        "En annan dators adress; en gång för varje.",
    ),
    "option.find": (
        "Find the other PCs by multicast DNS; needs the extra `lan`.",
        "Hitta de andra datorerna med multicast-DNS; kräver tillägget `lan`.",
    ),
    "created.find": (
        "In group {name}. On each other PC: gai group join --find --listen ADDRESS",
        "Med i gruppen {name}. På varje annan: gai group join --find --listen ADRESS",
    ),
    "created": (
        (
            "In group {name}. On each other PC, with --peer for each of the rest too: gai group "
            "join --listen ADDRESS --peer {address}"
        ),
        (
            "Med i gruppen {name}. På varje annan, med --peer också för var och en av de övriga: "
            "gai group join --listen ADRESS --peer {address}"
        ),
    ),
    "secret": (
        "It asks for the line below. Whoever has that line is in the group: keep it secret.",
        "Den frågar efter raden nedan. Den som har raden är med i gruppen: håll den hemlig.",
    ),
    "joined": (
        (
            "In group {name}, from the agent's next start. Once, as root: gai node doctor --fix "
            "--data-dir {folder}"
        ),
        (
            "Med i gruppen {name}, från agentens nästa start. En gång, som root: gai node doctor "
            "--fix --data-dir {folder}"
        ),
    ),
    "left": ("This PC is in no group.", "Datorn är inte med i någon grupp."),
    "left.runs": (
        "Out of the group from the agent's next start; until then it takes part: start it anew.",
        "Utanför gruppen från agentens nästa start; till dess är den med: starta om den.",
    ),
    "left.then": (
        "The group's own network stays here. Then, as root: gai group leave --data-dir {folder}",
        "Gruppens eget nät är kvar. Därefter, som root: gai group leave --data-dir {folder}",
    ),
    "left.tunnel": (
        "The group's own network is still here. As root: gai group leave --data-dir {folder}",
        "Gruppens eget nät finns kvar här. Som root: gai group leave --data-dir {folder}",
    ),
    "paste": (
        "Paste the invitation, then press Enter:",
        "Klistra in inbjudan och tryck på Enter:",
    ),
    "status.group": ("group", "grupp"),
    "status.rig": ("rig", "dator"),
    "status.failed": ("failed", "misslyckades"),
    "status.failed.team": (
        "{rigs}, time after time; for some minutes other gangs are tried, where there are any",
        "{rigs}, gång på gång; några minuter prövas andra sätt, om det finns några",
    ),
    "status.turned_away": ("turned away", "avvisad"),
    "status.led": ("{phase}, led by {leader}", "{phase}, leds av {leader}"),
    "status.part": ("part", "del"),
    "status.earns": ("{parts} of {whole} of what it earns", "{parts} av {whole} av det den tjänar"),
    "status.unsigned": (
        "{parts} of {whole} of what it earns, not signed yet",
        "{parts} av {whole} av det den tjänar, inte signerat än",
    ),
    "status.lends": ("lends", "lånas ut"),
    "status.keeps": ("is kept by its owner now", "behålls av ägaren nu"),
    "status.way": ("{rtt_ms:g} ms, {gbit:g} Gbit/s", "{rtt_ms:g} ms, {gbit:g} Gbit/s"),
    "status.unmeasured": ("not measured yet", "inte mätt än"),
    "status.phase.apart": ("each on its own", "var för sig"),
    "status.phase.reserving": ("asking the others", "frågar de andra"),
    "status.phase.reserved": ("asked to take part", "ombedd att vara med"),
    "status.phase.starting": ("starting together", "startar tillsammans"),
    "status.phase.working": ("taking part", "är med"),
    "status.phase.serving": ("serving together", "svarar tillsammans"),
    "status.phase.ending": ("letting go", "släpper taget"),
}

ERRORS: Final[dict[str, str]] = {
    "{text!r} is no address in a LAN; give one as 192.168.1.20 or 192.168.1.20:4244.": (
        "{text!r} är ingen adress i ett hemnät; ange en som 192.168.1.20 eller 192.168.1.20:4244."
    ),
    "A group's name has 1 to 40 letters, digits, - and _.": (
        "En grupps namn har 1 till 40 bokstäver (a till z), siffror, - och _."
    ),
    "This node is in the group {name} already. Its invitation is printed by: gai group invite. "
    "Before it can be in another, leave that one: gai group leave": (
        "Noden är redan med i gruppen {name}. Dess inbjudan skrivs ut av: gai group invite. Innan "
        "den kan vara med i en annan, lämna den: gai group leave"
    ),
    "That is no invitation to a group; it is one line that gai group made.": (
        "Det är ingen inbjudan till en grupp; den är en rad som gai group har gjort."
    ),
    "This node belongs to no group: {error}. Join one with: gai group join": (
        "Noden är inte med i någon grupp: {error}. Gå med i en med: gai group join"
    ),
    "The group cannot be heard on {host}:{port}: {error}. Give an address of this PC: gai group "
    "join --listen ADDRESS": (
        "Gruppen kan inte höras på {host}:{port}: {error}. Ange en adress som datorn har: gai "
        "group join --listen ADRESS"
    ),
    "A group runs vLLM: add --engine vllm, or leave with: gai group leave": (
        "En grupp kör vLLM: lägg till --engine vllm, eller lämna gruppen med: gai group leave"
    ),
    "An engine in a group needs a network of its own, which Podman gives it only when the agent is "
    "root: run it as root, or, for development, with --sandbox none.": (
        "En motor i en grupp behöver ett eget nät, och det ger Podman den bara när agenten är "
        "root: kör den som root, eller, för utveckling, med --sandbox none."
    ),
    "The group's own network is not set up on this PC ({words}). As root: gai node doctor --fix "
    "--data-dir FOLDER": (
        "Gruppens eget nät är inte inrättat på den här datorn ({words}). Som root: gai node doctor "
        "--fix --data-dir MAPP"
    ),
    "The group's network needs programs that are not installed here: {programs}. Install "
    "wireguard-tools, and wireguard-go where the kernel has no WireGuard.": (
        "Gruppens nät behöver program som inte finns här: {programs}. Installera wireguard-tools, "
        "och wireguard-go där kärnan inte har WireGuard."
    ),
    "Another node of this PC is in a group without a sandbox, through {name}, and a PC can have "
    "one such network. Take that one out: gai group leave": (
        "En annan nod på datorn är med i en grupp utan sandlåda, genom {name}, och en dator kan ha "
        "ett sådant nät. Ta ut den: gai group leave"
    ),
    "The group's network cannot be set up: `{argv}` says: {words}": (
        "Gruppens nät kan inte inrättas: `{argv}` säger: {words}"
    ),
    "wireguard-go needs {device}: {error}. Try: modprobe tun": (
        "wireguard-go behöver {device}: {error}. Pröva: modprobe tun"
    ),
    "{device} is closed to the node's owner, for whom wireguard-go opens it: chmod 0666 {device}": (
        "{device} är stängd för nodens ägare, för vilken wireguard-go öppnar den: chmod 0666 "
        "{device}"
    ),
    "Finding the other PCs needs the package zeroconf, which is not installed: install the extra "
    "`lan`, or name each with --peer.": (
        "För att hitta de andra datorerna krävs paketet zeroconf, som inte är installerat: "
        "installera tillägget `lan`, eller nämn var och en med --peer."
    ),
    "The LAN cannot be asked for the group's other PCs at {host}: {error}. Name them with "
    "--peer.": (
        "Hemnätet kan inte tillfrågas om gruppens andra datorer på {host}: {error}. Nämn dem med "
        "--peer."
    ),
    "What another rig says of its end of the group's network makes no sense.": (
        "Det en annan dator säger om sin ände av gruppens nät stämmer inte."
    ),
    "another rig sent what is not understood: {why}": (
        "en annan dator sände något som inte går att förstå: {why}"
    ),
    "a message of another rig is not what it sent": (
        "ett meddelande från en annan dator är inte det som den sände"
    ),
    "who is there does not speak as a rig does": "den som svarar talar inte som en grupps dator",
    "{node} speaks version {theirs} of a group's language, this rig {ours}: update the older one": (
        "{node} talar version {theirs} av gruppens språk, den här {ours}: uppdatera den äldre"
    ),
    "this rig has dialled itself": "datorn har ringt upp sig själv",
    "{node} does not hold this group's secret": "{node} har inte gruppens hemlighet",
    "{node} went while it was measured": "{node} försvann medan den mättes",
    "who was there did not stay: perhaps its secret is another": (
        "den som svarade stannade inte: kanske har den en annan hemlighet"
    ),
    "another rig sent {size} bytes at once": "en annan dator sände {size} byte på en gång",
}
"""What goes wrong, in Swedish, by the words that it has in English."""


def say(key: str, **values: object) -> str:
    """Give a sentence in the user's language."""
    text = _WORDS[key][language() == "sv"]
    return text.format(**values) if values else text


__all__ = ["ERRORS", "say"]
