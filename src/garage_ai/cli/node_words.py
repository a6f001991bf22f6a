"""What `gai node` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.node_help_words import HELP
from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = HELP | {
    "admitted": (
        "{node} ({name}) may serve without a whole sandbox",
        "{node} ({name}) får arbeta utan hel sandlåda",
    ),
    "image.built": ("built {image} on {base}", "byggde {image} på {base}"),
    "sandbox.none": (
        "This node's engine has no sandbox.",
        "Den här nodens motor har ingen sandlåda.",
    ),
    "sandbox.none.next": (
        "Give it one: gai node run --sandbox auto",
        "Ge den en: gai node run --sandbox auto",
    ),
    "check.held": ("holds", "håller"),
    "check.open": ("OPEN", "ÖPPEN"),
    "check.failed": ("The sandbox does not hold here.", "Sandlådan håller inte här."),
    "check.failed.next": (
        "Do not lend this PC until it does; please report what is shown.",
        "Låna inte ut datorn förrän den gör det; rapportera gärna det som visas.",
    ),
    "limits.pause_on": (
        "Program that comes first; once for each. Replaces the list; `off` empties it.",
        "Program som går före; en gång för varje. Ersätter listan; `off` tömmer den.",
    ),
    "limits.gamemode": (
        "Stop for games that use GameMode.",
        "Stoppa för spel som använder GameMode.",
    ),
    "limits.gpu": (
        "Stop when another program takes the graphics card.",
        "Stoppa när ett annat program tar grafikkortet.",
    ),
    "limits.gpu_memory": (
        "Memory of the card that another program may use, such as 1.5GB.",
        "Minne på kortet som ett annat program får använda, till exempel 1.5GB.",
    ),
    "limits.gpu_use": (
        "Percent of the card that another program may use.",
        "Procent av kortet som ett annat program får använda.",
    ),
    "limits.max_cpu": (
        "Percent of the processor that other programs may use, or off.",
        "Procent av processorn som andra program får använda, eller off.",
    ),
    "limits.max_temperature": (
        "Degrees at which to stop, or off.",
        "Grader att stoppa vid, eller off.",
    ),
    "limits.on_battery": ("Serve on battery too.", "Arbeta även på batteri."),
    "limits.on_metered": (
        "Serve over a metered connection too.",
        "Arbeta även över en anslutning som kostar per mängd.",
    ),
    "limits.schedule": (
        "Hours in which to serve, such as 'mon-fri 22:00-07:00; sat,sun 00:00-24:00', or off.",
        "Tider att arbeta, till exempel 'mån-fre 22:00-07:00; lör,sön 00:00-24:00', eller off.",
    ),
    "limits.idle": (
        "Serve only when nobody has used the PC for so long, such as 15m, or off.",
        "Arbeta bara när ingen har använt datorn på så länge, till exempel 15m, eller off.",
    ),
    "limits.max_price": (
        "Kronor per kWh, spot price without tax and fees, above which to stop, or off.",
        "Kronor per kWh, spotpris utan skatt och avgifter, att stoppa över, eller off.",
    ),
    "limits.price_area": ("SE1, SE2, SE3 or SE4.", "SE1, SE2, SE3 eller SE4."),
    "limits.max_upload": (
        "Data to send in a month, such as 50GB, or off.",
        "Data att skicka under en månad, till exempel 50GB, eller off.",
    ),
    "limits.drain": (
        "Time for what runs when the reason is not urgent, such as 20s.",
        "Tid för det som pågår när skälet inte brådskar, till exempel 20s.",
    ),
    "limits.resume_after": (
        "How long all must be clear before the node serves again, such as 20s.",
        "Hur länge allt ska vara lugnt innan noden arbetar igen, till exempel 20s.",
    ),
    "limits.none": ("no limit", "ingen gräns"),
    "limits.yes": ("yes", "ja"),
    "limits.no": ("no", "nej"),
    "limits.later": (
        "no agent is running; the limits hold from its next start",
        "ingen agent är igång; gränserna gäller från nästa start",
    ),
    "title": ("Garage AI node, folder {folder}", "Garage AI-nod, mapp {folder}"),
    "step.preflight": ("looking at this PC", "ser efter hur datorn är"),
    "step.check": ("checking the engine", "kontrollerar motorn"),
    "step.identity": ("reading the identity", "läser identiteten"),
    "step.enrol": ("enrolling", "skriver in noden"),
    "step.sandbox": ("preparing the sandbox", "förbereder sandlådan"),
    "step.model": ("preparing the model", "förbereder modellen"),
    "step.network": ("connecting to the network", "ansluter till nätet"),
    "done.preflight": ("this PC: nothing is missing", "datorn: inget saknas"),
    "done.check": ("engine: {detail}", "motor: {detail}"),
    "done.identity": ("identity: {detail}", "identitet: {detail}"),
    "done.enrol": ("enrolled as {detail}", "inskriven som {detail}"),
    "done.sandbox": ("sandbox: {detail}", "sandlåda: {detail}"),
    "done.model": ("model: {detail}", "modell: {detail}"),
    "done.network": ("connected to {detail}", "ansluten till {detail}"),
    "exposed.unsandboxed": (
        "WITHOUT A SANDBOX: the engine has your rights, your files and your network here.",
        "UTAN SANDLÅDA: motorn har dina rättigheter, dina filer och ditt nätverk här.",
    ),
    "exposed.unsandboxed.next": (
        "For development; a network refuses it unless an administrator lets it in. --sandbox auto",
        "För utveckling; nät avvisar den om inte en administratör släpper in den. --sandbox auto",
    ),
    "exposed.unlimited": (
        "This host does not enforce the sandbox's limits on memory and processes.",
        "Den här datorn upprätthåller inte sandlådans gränser för minne och processer.",
    ),
    "exposed.unlimited.next": (
        "A network refuses it unless an administrator lets it in. Fix: boot with cgroup v2.",
        "Nät avvisar den om inte en administratör släpper in den. Åtgärd: starta med cgroup v2.",
    ),
    "fetch.checking": ("checking", "kontrollerar"),
    "fetch.waiting": ("waiting for", "väntar på"),
    "fetch.fetching": ("fetching", "hämtar"),
    "link.down": (
        "the link to the network is down, trying again: {error}",
        "förbindelsen med nätet är bruten, försöker igen: {error}",
    ),
    "state.joining": ("not serving yet: {reason}", "arbetar inte än: {reason}"),
    "state.ready": ("serving {models}; Ctrl-C stops", "erbjuder {models}; Ctrl-C stoppar"),
    "state.loading": ("the engine is not ready: {reason}", "motorn är inte redo: {reason}"),
    "state.draining": ("taking nothing new: {reason}", "tar inget nytt: {reason}"),
    "state.paused": ("not serving: {reason}", "arbetar inte: {reason}"),
    "paused": (
        "paused; `gai node resume` takes work again",
        "pausad; `gai node resume` tar emot arbete igen",
    ),
    "stopping": (
        "finishing {running} requests, {seconds:.0f} s at most; Ctrl-C again stops at once",
        "gör klart {running} förfrågningar, högst {seconds:.0f} s; Ctrl-C igen stoppar genast",
    ),
    "stopped": ("stopped", "stoppad"),
    "left": (
        "{node} has left {gateway}; its identity is removed",
        "{node} har lämnat {gateway}; identiteten är borttagen",
    ),
    "rotated": (
        "{node} has a new key, {key}; the old one is refused from now on",
        "{node} har en ny nyckel, {key}; den gamla avvisas från och med nu",
    ),
    "rotate.waiting": (
        "the agent finishes {running} requests first; Ctrl-C leaves the rest to it",
        "agenten gör klart {running} förfrågningar först; Ctrl-C överlåter resten åt den",
    ),
    "rotate.under_way": (
        "The agent has not changed its key yet; it goes on, and `gai node rotate` tells how.",
        "Agenten har inte bytt nyckel än; den fortsätter, och `gai node rotate` berättar hur.",
    ),
    "bench.level": ("streams at a time: {streams}", "strömmar samtidigt: {streams}"),
    "bench.streams": ("streams", "strömmar"),
    "bench.decode": ("tokens/s", "token/s"),
    "bench.prefill": ("prompt tokens/s", "prompttoken/s"),
    "bench.ttft": ("first token", "första token"),
    "bench.worst": ("at worst", "som sämst"),
    "bench.failed": ("failed", "misslyckade"),
    "bench.load": ("ready after {seconds:.1f} s", "redo efter {seconds:.1f} s"),
    "bench.round_trip": (
        "to the gateway and back: {ms:.1f} ms",
        "till gatewayen och åter: {ms:.1f} ms",
    ),
    "bench.drift": (
        "{change:+.0%} since the last time at {streams} streams: {before:.1f} then, {now:.1f} now",
        "{change:+.0%} sedan förra gången vid {streams} strömmar: {before:.1f} då, {now:.1f} nu",
    ),
    "bench.sent": (
        "kept, signed and sent to {gateway}",
        "sparat, signerat och skickat till {gateway}",
    ),
    "bench.unsent": ("kept, but not sent: {reason}", "sparat, men inte skickat: {reason}"),
    "doctor.ok": (
        "This PC has all that {engine} needs.",
        "Datorn har allt som {engine} behöver.",
    ),
    "doctor.failed": (
        "{n} of these must be put right before {engine} can serve here.",
        "{n} av dem måste rättas till innan {engine} kan köras här.",
    ),
    "doctor.fixed": ("closed to others: {path}", "stängd för andra: {path}"),
    "token.made": (
        "good for one node; on its PC:  gai node join {url} TOKEN",
        "gäller för en nod; på den datorn:  gai node join {url} TOKEN",
    ),
    "status.node": ("node", "nod"),
    "status.state": ("state", "läge"),
    "status.why": ("why", "varför"),
    "status.serving": (
        "it serves: nothing that is watched speaks against it",
        "den arbetar: inget som bevakas talar emot",
    ),
    "status.not_serving": (
        "it does not serve since {since}: {reason}",
        "den arbetar inte sedan {since}: {reason}",
    ),
    "status.finishing": (
        "it finishes what runs, since {since}: {reason}",
        "den gör klart det som pågår, sedan {since}: {reason}",
    ),
    "status.unknown": ("not known", "inte känt"),
    "status.unknown.open": (
        "{signal}: {why}; it serves all the same",
        "{signal}: {why}; den arbetar ändå",
    ),
    "status.unknown.closed": (
        "{signal}: {why}; it does not serve meanwhile",
        "{signal}: {why}; den arbetar inte så länge",
    ),
    "status.today": ("today", "i dag"),
    "status.tokens": ("{tokens} tokens made", "{tokens} token gjorda"),
    "status.speed": ("{speed:.1f} tokens/s", "{speed:.1f} token/s"),
    "status.month": ("this month", "den här månaden"),
    "status.sent": ("{sent} sent", "{sent} skickat"),
    "status.power": ("power", "effekt"),
    "status.power.unknown": (
        "not known: no card tells what it draws",
        "inte känd: inget kort berättar vad det drar",
    ),
    "status.power.measured": (
        "{watts:.0f} W now, {kwh:.2f} kWh today (graphics cards alone, measured)",
        "{watts:.0f} W nu, {kwh:.2f} kWh i dag (bara grafikkorten, uppmätt)",
    ),
    "status.kronor": (
        "{kronor:.2f} kr (spot price of the hours it was known for)",
        "{kronor:.2f} kr (spotpris för de timmar det var känt)",
    ),
    "status.pause": ("pause", "paus"),
    "status.pause.row": ("{since} to {until}: {reason}", "{since} till {until}: {reason}"),
    "status.pause.now": ("now", "nu"),
    "status.engine": ("engine", "motor"),
    "status.in_engine": ("in the engine", "i motorn"),
    "status.load": (
        "{running} at work, {waiting} waiting, {cache} % of the cache in use",
        "{running} i arbete, {waiting} väntar, {cache} % av cachen används",
    ),
    "status.sandbox": ("sandbox", "sandlåda"),
    "status.unlimited": ("{kind}, limits not enforced", "{kind}, gränser upprätthålls inte"),
    "status.model": ("model", "modell"),
    "status.running": ("running", "pågår"),
    "status.since": ("since start", "sedan start"),
    "status.link": ("network", "nät"),
    "status.notice": ("notice", "meddelande"),
    "status.version": ("version", "version"),
    "status.totals": (
        "{answered} answered, {failed} failed, {cancelled} cancelled, {refused} refused",
        "{answered} besvarade, {failed} misslyckade, {cancelled} avbrutna, {refused} avböjda",
    ),
    "agent_still_there": (
        "The agent (pid {pid}) has not stopped yet; try again in a moment.",
        "Agenten (pid {pid}) har inte stannat än; försök igen om en stund.",
    ),
    # What follows an error of a code, in the owner's language; the error itself is in English.
    "next.superseded": (
        "",
        "En nyare kopia av nodens identitet har tagit över. Skriv in varje dator för sig.",
    ),
    "next.removed": (
        "",
        "Noden är borttagen ur nätet. Be om en ny inbjudan för att vara med igen.",
    ),
    "next.not_enrolled": (
        "",
        "Mappen har ingen nod. Skriv in datorn med: gai node join URL INBJUDAN",
    ),
    "next.already_running": ("", "En annan agent arbetar redan från mappen."),
    "next.engine_missing": (
        (
            "vLLM lives in an environment of its own: python3 -m venv ~/vllm, then "
            "~/vllm/bin/pip install vllm, then --vllm-python ~/vllm/bin/python"
        ),
        (
            "vLLM saknas. Den har en egen miljö: python3 -m venv ~/vllm, sedan "
            "~/vllm/bin/pip install vllm, sedan --vllm-python ~/vllm/bin/python"
        ),
    ),
    "next.engine_unfit": (
        "Update it with that Python: PYTHON -m pip install --upgrade vllm",
        (
            "Den vLLM som finns duger inte. Uppdatera med samma Python: "
            "PYTHON -m pip install --upgrade vllm"
        ),
    ),
    "next.no_agent": ("", "Ingen agent är igång. Starta den med: gai node run"),
    "next.no_runtime": (
        "",
        "Motorn behöver podman eller docker: sudo apt install podman uidmap slirp4netns",
    ),
    "next.runtime_too_old": (
        "",
        "Podman måste vara minst 4.1 och Docker minst 20.10. Installera en nyare.",
    ),
    "next.runtime_broken": (
        "",
        "Programmet fungerar inte för dig. Kör `podman info` eller `docker info` och rätta felet.",
    ),
    "next.no_user_ids": (
        "",
        "Du saknar underordnade id:n; kommandot ovan ger dig dem.",
    ),
    "next.no_seccomp": (
        "",
        "Systemanrop filtreras inte här. Slå på seccomp med standardprofilen.",
    ),
    "next.no_image": (
        "",
        "Motorns avbild saknas. Bygg den med: gai node image [--base AVBILD]",
    ),
    "next.gateway_away": ("", "Gatewayen svarar inte. Kontrollera adressen och försök igen."),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


def has(key: str) -> bool:
    """Tell whether there is such a message."""
    return key in _WORDS


__all__ = ["has", "say"]
