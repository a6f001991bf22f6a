"""What the checklist says, in English and Swedish: a sentence, and how to put it right."""

import shlex
from typing import Final

import msgspec

from garage_ai.cli.cdi_words import CDI, Said
from garage_ai.cli.words import Language, language
from garage_ai.node.preflight.models import CheckId, Finding

NAMES: Final[dict[CheckId, tuple[str, str]]] = {
    "os": ("system", "system"),
    "python": ("Python", "Python"),
    "folder": ("folder", "mapp"),
    "disk": ("disk", "disk"),
    "gpu": ("graphics card", "grafikkort"),
    "driver": ("driver", "drivrutin"),
    "compute": ("generation", "generation"),
    "vram": ("card memory", "kortminne"),
    "container": ("containers", "containrar"),
    "cdi": ("cards in containers", "kort i containrar"),
    "userns": ("user namespaces", "användarnamnrymder"),
    "subids": ("extra user ids", "extra användar-id"),
    "cgroup": ("limits", "gränser"),
    "linger": ("after log-out", "efter utloggning"),
    "clock": ("clock", "klocka"),
    "gateway": ("gateway", "gateway"),
    "nats": ("network", "nät"),
}

_COMMANDS: Final = ("sudo ", "loginctl ", "podman ")
"""What a fix begins with that is a command and no advice."""

_SUBIDS: Final = (
    "sudo usermod --add-subuids {range} --add-subgids {range} {user} && podman system migrate"
)
_DELEGATE: Final = (
    "sudo mkdir -p /etc/systemd/system/user@.service.d && printf"
    " '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee"
    " /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload"
)
_PODMAN: Final = "sudo apt install podman uidmap slirp4netns"


def _kept(setting: str) -> str:
    """Give the command that sets a switch of the kernel's, now and at each start."""
    file = f"/etc/sysctl.d/99-{setting.partition('=')[0]}.conf"
    return f"sudo sysctl -w {setting} && echo {setting} | sudo tee {file}"


CASES: Final[dict[str, Said]] = {
    "os.ok": Said("{system}, kernel {kernel}", "{system}, kärna {kernel}"),
    "os.other": Said(
        "{system} is not Linux.",
        "{system} är inte Linux.",
        "Use a PC with Linux, or Windows with WSL2.",
        "Använd en dator med Linux, eller Windows med WSL2.",
    ),
    "os.wsl": Said(
        "{system} in WSL2: which program uses the card cannot be seen from here.",
        "{system} i WSL2: vilket program som använder kortet syns inte härifrån.",
        "Give it hours, or pause it before you play: gai node limits --schedule, gai node pause",
        "Ge den tider, eller pausa den innan du spelar: gai node limits --schedule, gai node pause",
    ),
    "os.container": Said(
        "{system} in a container: the PC's other programs cannot be seen from here.",
        "{system} i en container: datorns andra program syns inte härifrån.",
        "Give it hours, or pause it before you play: gai node limits --schedule, gai node pause",
        "Ge den tider, eller pausa den innan du spelar: gai node limits --schedule, gai node pause",
    ),
    "os.old": Said(
        "{system}, kernel {kernel}: containers without root need fuse-overlayfs.",
        "{system}, kärna {kernel}: containrar utan root behöver fuse-overlayfs.",
        "sudo apt install fuse-overlayfs",
    ),
    "python.ok": Said("{version}", "{version}"),
    "python.old": Said(
        "Python {version} is too old; 3.11 is the oldest that works.",
        "Python {version} är för gammal; 3.11 är den äldsta som går.",
        "Install uv (https://docs.astral.sh/uv/) and run ./start.sh again.",
        "Installera uv (https://docs.astral.sh/uv/) och kör ./start.sh igen.",
    ),
    "python.new": Said(
        "Python {version} is newer than any this was tried with.",
        "Python {version} är nyare än någon det har provats med.",
    ),
    "folder.ok": Said("{folder}", "{folder}"),
    "folder.new": Said("{folder} will be made.", "{folder} kommer att skapas."),
    "folder.not_writable": Said(
        "{folder} cannot be written to.",
        "Det går inte att skriva i {folder}.",
        "Choose another with --data-dir.",
        "Välj en annan med --data-dir.",
    ),
    "folder.foreign": Said(
        "{folder} holds what is not of Garage AI, or is shared by all users of this PC.",
        "{folder} innehåller annat än Garage AI:s filer, eller delas av alla användare.",
        "Choose a folder of its own with --data-dir.",
        "Välj en egen mapp med --data-dir.",
    ),
    "folder.exposed": Said(
        "Others on this PC may open the node's files: {files}",
        "Andra på datorn kan öppna nodens filer: {files}",
        "gai node doctor --fix",
    ),
    "disk.ok": Said("{free} GB free", "{free} GB ledigt"),
    "disk.little": Said(
        "{free} GB free: enough for small models; a large one and its engine take up to 50.",
        "{free} GB ledigt: räcker till små modeller; en stor med sin motor tar upp till 50.",
        "Make room, or put the node on another disk with --data-dir.",
        "Gör plats, eller lägg noden på en annan disk med --data-dir.",
    ),
    "disk.full": Said(
        "Only {free} GB are free at {folder}; 2 are the least.",
        "Bara {free} GB är lediga vid {folder}; 2 är det minsta.",
        "Make room, or put the node on another disk with --data-dir.",
        "Gör plats, eller lägg noden på en annan disk med --data-dir.",
    ),
    "gpu.ok": Said("{names}", "{names}"),
    "gpu.some": Said(
        "{names}. Left alone: {problem}",
        "{names}. Används inte: {problem}",
    ),
    "gpu.unfit": Said(
        "The driver answers, and no card can be used: {problem}",
        "Drivrutinen svarar, men inget kort kan användas: {problem}",
        "Lost: restart the PC. Divided: sudo nvidia-smi -mig 0. Without memory of its own: serve "
        "on the processor, or lend a server of your own: --engine external",
        "Tappat: starta om datorn. Delat: sudo nvidia-smi -mig 0. Utan eget minne: kör på "
        "processorn, eller låna ut en egen server: --engine external",
    ),
    "gpu.none": Said(
        "There is no NVIDIA card.",
        "Det finns inget NVIDIA-kort.",
        "Serve small models on the processor, or lend a server of your own: --engine external",
        "Kör små modeller på processorn, eller låna ut en egen server: --engine external",
    ),
    "gpu.others": Said(
        "A card by {makers} is there; the engines here use NVIDIA cards only, so far.",
        "Ett kort från {makers} finns; motorerna här använder bara NVIDIA-kort än så länge.",
        "Run a server that can use it (Ollama, LM Studio) and lend that: --engine external",
        "Kör en server som kan använda det (Ollama, LM Studio) och låna ut den: --engine external",
    ),
    "gpu.no_driver": Said(
        "An NVIDIA card is there, but its driver does not answer: {problem}",
        "Ett NVIDIA-kort finns, men drivrutinen svarar inte: {problem}",
        "Ubuntu: sudo ubuntu-drivers install  Debian: sudo apt install nvidia-driver  "
        "then restart the PC",
        "Ubuntu: sudo ubuntu-drivers install  Debian: sudo apt install nvidia-driver  "
        "starta sedan om datorn",
    ),
    "driver.ok": Said("{driver}, CUDA {cuda}", "{driver}, CUDA {cuda}"),
    "driver.old": Said(
        "Driver {driver} speaks CUDA {cuda}; engines on the card need {needed}.",
        "Drivrutin {driver} talar CUDA {cuda}; motorer på kortet behöver {needed}.",
        "Install driver {newer} or newer and restart the PC.",
        "Installera drivrutin {newer} eller nyare och starta om datorn.",
    ),
    "driver.unknown": Said(
        "Driver {driver} does not say which CUDA it speaks; {needed} is needed.",
        "Drivrutin {driver} säger inte vilken CUDA den talar; {needed} behövs.",
        "nvidia-smi shows it at the top right.",
        "nvidia-smi visar det längst upp till höger.",
    ),
    "compute.ok": Said("compute capability {found}", "compute capability {found}"),
    "compute.old": Said(
        "The card has compute capability {found}; {needed} is the least.",
        "Kortet har compute capability {found}; {needed} är det minsta.",
        "Serve small models on the processor: --engine llamacpp --gpu none",
        "Kör små modeller på processorn: --engine llamacpp --gpu none",
    ),
    "compute.some_old": Said(
        "Not every card is new enough: {found}, and {needed} is the least.",
        "Alla kort är inte nya nog: {found}, och {needed} är det minsta.",
    ),
    "compute.unknown": Said(
        "The driver does not tell the card's compute capability.",
        "Drivrutinen säger inte kortets compute capability.",
        "Install driver 580 or newer and restart the PC.",
        "Installera drivrutin 580 eller nyare och starta om datorn.",
    ),
    "vram.ok": Said("{free} of {total} GiB free", "{free} av {total} GiB ledigt"),
    "vram.held": Said(
        "Other programs hold part of the card: {free} of {total} GiB are free.",
        "Andra program håller en del av kortet: {free} av {total} GiB är lediga.",
        "Close games and other AI programs before the node starts; nvidia-smi lists them.",
        "Stäng spel och andra AI-program innan noden startar; nvidia-smi visar dem.",
    ),
    "container.podman": Said("Podman {version}", "Podman {version}"),
    "container.docker": Said("Docker {version}", "Docker {version}"),
    "container.old": Said(
        "Podman {version} is too old; {needed} is the oldest that knows graphics cards.",
        "Podman {version} är för gammal; {needed} är den äldsta som känner till grafikkort.",
        "Install a newer Podman, or Docker 20.10 or newer.",
        "Installera en nyare Podman, eller Docker 20.10 eller nyare.",
    ),
    "container.old_docker": Said(
        "Docker {version} is too old; {needed} is the oldest that fences an engine in.",
        "Docker {version} är för gammal; {needed} är den äldsta som stänger in en motor.",
        f"Install a newer Docker, or Podman: {_PODMAN}",
        f"Installera en nyare Docker, eller Podman: {_PODMAN}",
    ),
    "container.not_let": Said(
        "Docker does not let {user} use it: {said}",
        "Docker låter inte {user} använda det: {said}",
        "Type: sudo usermod -aG docker {user}  then log out and in again. Who is in that group can "
        f"become root here; Podman needs no such thing: {_PODMAN}",
        "Skriv: sudo usermod -aG docker {user}  logga sedan ut och in igen. Den som är med i den "
        f"gruppen kan bli root här; Podman kräver inget sådant: {_PODMAN}",
    ),
    "container.not_running": Said(
        "Docker is installed, and its daemon is not running: {said}",
        "Docker är installerat, men dess demon är inte igång: {said}",
        "sudo systemctl enable --now docker",
    ),
    "container.broken_docker": Said(
        "Docker is installed and does not work here: {said}",
        "Docker är installerat men fungerar inte här: {said}",
        f"Put right what docker info says, or take Podman: {_PODMAN}",
        f"Rätta det som docker info säger, eller ta Podman: {_PODMAN}",
    ),
    "container.broken": Said(
        "Podman is installed and does not work here: {said}",
        "Podman är installerat men fungerar inte här: {said}",
        f"Install all that it needs: {_PODMAN}  and put right what podman info still says.",
        f"Installera allt som den behöver: {_PODMAN}  och rätta det som podman info ännu säger.",
    ),
    "container.not_there": Said(
        "{program} is what you chose for the sandbox, and it is not installed.",
        "{program} är vad du valde till sandlådan, och det är inte installerat.",
        "Install it, or take what is there: gai node run --sandbox auto",
        "Installera det, eller ta det som finns: gai node run --sandbox auto",
    ),
    "container.none": Said(
        "Neither Podman nor Docker is installed.",
        "Varken Podman eller Docker är installerat.",
        _PODMAN,
    ),
    **CDI,
    "userns.ok": Said("allowed", "tillåtna"),
    "userns.none": Said(
        "This system allows no user namespaces, so containers need root.",
        "Systemet tillåter inga användarnamnrymder, så containrar kräver root.",
        _kept("user.max_user_namespaces=28633"),
    ),
    "userns.forbidden": Said(
        "Ordinary users may not make user namespaces here.",
        "Vanliga användare får inte göra användarnamnrymder här.",
        _kept("kernel.unprivileged_userns_clone=1"),
    ),
    "userns.restricted": Said(
        "AppArmor allows user namespaces to /usr/bin/podman only, and yours is {path}.",
        "AppArmor tillåter användarnamnrymder bara för /usr/bin/podman, och din är {path}.",
        "Use the distribution's Podman: sudo apt install podman",
        "Använd distributionens Podman: sudo apt install podman",
    ),
    "subids.ok": Said("{count} for {user}", "{count} för {user}"),
    "subids.none": Said(
        "{user} has no extra user ids for containers.",
        "{user} har inga extra användar-id för containrar.",
        _SUBIDS,
    ),
    "subids.few": Said(
        "{user} has only {count} extra user ids for containers; 65536 are usual.",
        "{user} har bara {count} extra användar-id för containrar; 65536 är det vanliga.",
        _SUBIDS,
    ),
    "subids.unused": Said(
        "{user} has extra user ids, and Podman does not use them yet.",
        "{user} har extra användar-id, men Podman använder dem inte än.",
        "podman system migrate",
    ),
    "cgroup.ok": Said("cgroup v2", "cgroup v2"),
    "cgroup.docker": Said("held by Docker", "hålls av Docker"),
    "cgroup.outer": Said(
        "those of the container that all of this runs in",
        "de som gäller för containern som allt detta körs i",
    ),
    "cgroup.old": Said(
        "This system has cgroups of kind {kind}; containers without root get no limits there.",
        "Systemet har cgroups av sorten {kind}; containrar utan root får inga gränser där.",
        "Start the kernel with systemd.unified_cgroup_hierarchy=1 (in GRUB_CMDLINE_LINUX).",
        "Starta kärnan med systemd.unified_cgroup_hierarchy=1 (i GRUB_CMDLINE_LINUX).",
    ),
    "cgroup.not_given": Said(
        "systemd does not let you limit: {missing}",
        "systemd låter dig inte begränsa: {missing}",
        _DELEGATE,
        then="It holds from your next log-in; with lingering, from the next start of the PC.",
        then_sv="Det gäller från nästa inloggning; med lingering från datorns nästa start.",
    ),
    "linger.ok": Said("a service of yours goes on", "en tjänst fortsätter"),
    "linger.off": Said(
        "A node that runs as your service stops when you log out.",
        "En nod som körs som din tjänst stannar när du loggar ut.",
        "loginctl enable-linger",
    ),
    "clock.ok": Said("right", "rätt"),
    "clock.ahead": Said(
        "This clock is {seconds} s ahead of the network's.",
        "Klockan går {seconds} s före nätets.",
        "sudo timedatectl set-ntp true",
    ),
    "clock.behind": Said(
        "This clock is {seconds} s behind the network's.",
        "Klockan går {seconds} s efter nätets.",
        "sudo timedatectl set-ntp true",
    ),
    "clock.wrong": Said(
        "This clock is wrong by {seconds} s; certificates will seem out of date.",
        "Klockan går {seconds} s fel; certifikat kommer att verka ogiltiga.",
        "sudo timedatectl set-ntp true",
    ),
    "gateway.ok": Said("{gateway} answers in {ms} ms", "{gateway} svarar på {ms} ms"),
    "gateway.away": Said(
        "{gateway} does not answer: {error}",
        "{gateway} svarar inte: {error}",
        "Look at the connection; if it is well, ask who runs the network.",
        "Se efter anslutningen; är den bra, fråga den som sköter nätet.",
    ),
    "nats.ok": Said("{open}", "{open}"),
    "nats.closed": Said(
        "None of the network's addresses can be reached: {all}",
        "Ingen av nätets adresser går att nå: {all}",
        "Allow outgoing connections to these ports in your firewall.",
        "Tillåt utgående anslutningar till de portarna i brandväggen.",
    ),
}


def name_of(check: CheckId, which: Language | None = None) -> str:
    """Give what a check is about, in the owner's language."""
    english, swedish = NAMES[check]
    return swedish if (which or language()) == "sv" else english


def sentence(finding: Finding, which: Language | None = None) -> tuple[str, str]:
    """Give what was found and how to put it right, in the owner's language."""
    said = CASES[f"{finding.check}.{finding.case}"]
    swedish = (which or language()) == "sv"
    text, fix = (said.text_sv, said.fix_sv or said.fix) if swedish else (said.text, said.fix)
    return text.format(**finding.values), _filled(fix, finding)


def then_of(finding: Finding) -> str:
    """Give what a fix does not do by itself, in the owner's language; nothing for most."""
    said = CASES[f"{finding.check}.{finding.case}"]
    return said.then_sv if language() == "sv" else said.then


def command_of(finding: Finding) -> str:
    """Give the command that puts it right, where that is all there is to do; else nothing."""
    fix = CASES[f"{finding.check}.{finding.case}"].fix
    if not fix.startswith(_COMMANDS):
        return ""
    quoted = {name: shlex.quote(value) for name, value in finding.values.items()}
    return _filled(fix, msgspec.structs.replace(finding, values=quoted))


def _filled(fix: str, finding: Finding) -> str:
    for name, value in finding.values.items():
        fix = fix.replace(f"{{{name}}}", value)
    return fix


__all__ = ["CASES", "NAMES", "command_of", "name_of", "sentence", "then_of"]
