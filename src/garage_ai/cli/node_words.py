"""What `gai node` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.node_help_words import HELP
from garage_ai.cli.node_home_words import HOME
from garage_ai.cli.node_limit_words import LIMITS
from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    **HELP,
    **HOME,
    **LIMITS,
    "admitted": (
        "{node} ({name}) may serve without a whole sandbox",
        "{node} ({name}) får arbeta utan hel sandlåda",
    ),
    "removed": (
        "{node} is removed and cut off; it can only come back with a new token",
        "{node} är borttagen och avskuren; den kommer bara tillbaka med en ny nodinbjudan",
    ),
    "removed.soon": (
        "{node} is removed; a NATS server that is away cuts it off when it is back",
        "{node} är borttagen; en NATS-server som är borta skär av den när den är tillbaka",
    ),
    "names.none": (
        "No member serves a model under a name of its own.",
        "Ingen medlem kör en modell under ett eget namn.",
    ),
    "name.pending": ("WAITS", "VÄNTAR"),
    "name.approved": ("approved", "godkänt"),
    "column.name": ("name", "namn"),
    "column.member": ("member", "medlem"),
    "column.state": ("state", "läge"),
    "approved": (
        "{member}'s nodes may serve under {name}, from their next sign of life on",
        "{member}:s noder får arbeta under {name}, från sitt nästa livstecken",
    ),
    "forfeited": (
        "{node}: {gai} GAI now belong to the pool; the node has to prove itself anew",
        "{node}: {gai} GAI tillhör nu poolen; noden får visa vad den går för på nytt",
    ),
    "image.built": ("built {image} on {base}", "byggde {image} på {base}"),
    "image.chosen": ("vLLM runs from {image}", "vLLM kör från {image}"),
    "image.pull": (
        "fetching {image}: many gigabytes, once",
        "hämtar {image}: många gigabyte, en gång",
    ),
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
    "check.no_python": (
        "The probe needs Python, and llama.cpp's image for cards has none.",
        "Provet behöver Python, och det finns inte i llama.cpp:s avbild för kort.",
    ),
    "check.no_python.next": (
        "`gai node sandbox` shows the command; what fences it in is the same on the processor.",
        "`gai node sandbox` visar kommandot; det som stänger in är detsamma på processorn.",
    ),
    "check.failed": ("The sandbox does not hold here.", "Sandlådan håller inte här."),
    "check.failed.next": (
        "Do not lend this PC until it does; please report what is shown.",
        "Låna inte ut datorn förrän den gör det; rapportera gärna det som visas.",
    ),
    "title": ("Garage AI node, folder {folder}", "Garage AI-nod, mapp {folder}"),
    "step.preflight": ("looking at this PC", "ser efter hur datorn är"),
    "step.check": ("checking the engine", "kontrollerar motorn"),
    "step.identity": ("reading the identity", "läser identiteten"),
    "step.pick": (
        "choosing the best of the network's models for",
        "väljer nätets bästa modell för",
    ),
    "step.ask": ("asking the network what it is made of:", "frågar nätet vad den består av:"),
    "step.enrol": ("enrolling", "skriver in noden"),
    "step.sandbox": ("preparing the sandbox", "förbereder sandlådan"),
    "step.image": (
        "fetching the engine's image, many gigabytes, once:",
        "hämtar motorns avbild, många gigabyte, en gång:",
    ),
    "step.model": ("preparing the model", "förbereder modellen"),
    "step.line": ("measuring the line to", "mäter linjen till"),
    "step.network": ("connecting to the network", "ansluter till nätet"),
    "done.preflight": ("this PC: nothing is missing", "datorn: inget saknas"),
    "done.check": ("engine: {detail}", "motor: {detail}"),
    "done.identity": ("identity: {detail}", "identitet: {detail}"),
    "done.pick": ("the model for this PC: {detail}", "modellen för datorn: {detail}"),
    "unlisted": (
        "The network's list of models could not be read; {model} is served.",
        "Nätets lista över modeller gick inte att läsa; {model} körs.",
    ),
    "unlisted.next": (
        "It stays so until you name another with --model, or join again.",
        "Så blir det tills du anger en annan med --model, eller går med igen.",
    ),
    "done.ask": ("the network describes {detail}", "nätet beskriver {detail}"),
    "done.enrol": ("enrolled as {detail}", "inskriven som {detail}"),
    "done.sandbox": ("sandbox: {detail}", "sandlåda: {detail}"),
    "done.image": ("image: {detail}", "avbild: {detail}"),
    "done.model": ("model: {detail}", "modell: {detail}"),
    "done.line": ("line to {detail}", "linjen till {detail}"),
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
    "exposed.unencrypted": (
        "WITHOUT TLS: anyone on the way can read the token and what is asked, and change it.",
        "UTAN TLS: den som finns på vägen kan läsa nodinbjudan och det som frågas, och ändra det.",
    ),
    "exposed.unencrypted.next": (
        "Only for a network of your own. Elsewhere ask for an address with https://",
        "Bara för ett eget nät. Be annars om en adress med https://",
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
    "state.dedicated": (
        "serving one batch alone with {models}; Ctrl-C stops",
        "arbetar bara för en batch med {models}; Ctrl-C stoppar",
    ),
    "state.loading": ("the engine is not ready: {reason}", "motorn är inte redo: {reason}"),
    "state.draining": ("taking nothing new: {reason}", "tar inget nytt: {reason}"),
    "state.paused": ("not serving: {reason}", "arbetar inte: {reason}"),
    "paused": (
        "paused; `gai node resume` takes work again",
        "pausad; `gai node resume` tar emot arbete igen",
    ),
    "resumed": (
        "not paused any more; no agent is running, so it holds from the next: gai node run",
        "inte pausad längre; ingen agent är igång, så det gäller från nästa: gai node run",
    ),
    "stopping": (
        "finishing {running} requests, {seconds:.0f} s at most; Ctrl-C again stops at once",
        "gör klart {running} förfrågningar, högst {seconds:.0f} s; Ctrl-C igen stoppar genast",
    ),
    "stopped": ("stopped", "stoppad"),
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
    "doctor.tunnel": ("the group's network is there: {name}", "gruppens nät finns: {name}"),
    "doctor.tunnel_unit": (
        "it comes back at each start of the PC: {unit}",
        "det kommer tillbaka vid varje start av datorn: {unit}",
    ),
    "doctor.tunnel_passing": (
        "no systemd starts this system: run this again after each restart",
        "ingen systemd startar det här systemet: kör detta igen efter varje omstart",
    ),
    "doctor.offer": ("Run it now?", "Köra det nu?"),
    "doctor.not_run": ("it could not be run: {error}", "det gick inte att köra: {error}"),
    "doctor.command_failed": ("it ended with {code}", "det slutade med {code}"),
    "doctor.again": ("And now:", "Och nu:"),
    "doctor.fixed": ("closed to others: {path}", "stängd för andra: {path}"),
    "token.made": (
        "good for one PC, until {until}; on that PC:  ./start.sh join {url} TOKEN",
        "gäller för en dator, till {until}; på den datorn:  ./start.sh join {url} TOKEN",
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
    "status.smaller": ("smaller", "mindre"),
    "status.memory": ("memory", "minne"),
    "status.measured": (
        "{size} at most, measured here",
        "högst {size}, mätt här",
    ),
    "status.speed": ("{speed:.1f} tokens/s", "{speed:.1f} token/s"),
    "status.month": ("this month", "den här månaden"),
    "status.sent": ("{sent} sent", "{sent} skickat"),
    "status.card": ("graphics card", "grafikkort"),
    "status.power": ("power", "effekt"),
    "status.power.unknown": (
        "not measured: neither a card nor the processor tells what it draws",
        "inte uppmätt: varken något kort eller processorn berättar vad den drar",
    ),
    "status.watts": ("{watts:.0f} W now", "{watts:.0f} W nu"),
    "status.watts.most": (
        "{watts:.0f} W now of {most:.0f} W at most",
        "{watts:.0f} W nu av högst {most:.0f} W",
    ),
    "status.meter.cards": ("graphics cards", "grafikkort"),
    "status.meter.processor": ("processor", "processor"),
    "status.energy": ("electricity", "el"),
    "status.kwh": (
        "{kwh:.2f} kWh today, {month:.1f} kWh this month, while the engine ran",
        "{kwh:.2f} kWh i dag, {month:.1f} kWh den här månaden, medan motorn körde",
    ),
    "status.cost": ("cost", "kostnad"),
    "status.kronor": (
        "{kronor:.2f} kr today, at spot prices without tax and fees ({source}, {area})",
        "{kronor:.2f} kr i dag, till spotpris utan skatt och avgifter ({source}, {area})",
    ),
    "status.price": ("{price:.2f} kr/kWh now", "{price:.2f} kr/kWh nu"),
    "status.price.before": (
        "{price:.2f} kr/kWh now by another day's prices, since today's are not to be had",
        "{price:.2f} kr/kWh nu efter en annan dags priser, eftersom dagens inte går att få",
    ),
    "status.price.table": (
        "{price:.2f} kr/kWh by a table of usual prices, since none are to be had",
        "{price:.2f} kr/kWh efter en tabell över vanliga priser, eftersom inga går att få",
    ),
    "status.price.unknown": (
        "no price is known ({source}, {area})",
        "inget pris är känt ({source}, {area})",
    ),
    "status.no_area": (
        "not counted: say where you are with `gai node limits --price-area SE3`",
        "räknas inte: säg var du är med `gai node limits --price-area SE3`",
    ),
    "status.disk": ("models", "modeller"),
    "status.disk.used": ("{used} on the disk", "{used} på disken"),
    "status.disk.of": ("{used} on the disk of {limit}", "{used} på disken av {limit}"),
    "status.share": ("serves", "arbetar för"),
    "status.share.own": ("your own requests alone", "bara dina egna förfrågningar"),
    "status.share.members": ("members; you go first", "medlemmar; du går först"),
    "status.share.all": ("everybody; you go first", "alla; du går först"),
    "status.pause": ("pause", "paus"),
    "status.pause.row": ("{since} to {until}: {reason}", "{since} till {until}: {reason}"),
    "status.pause.now": ("now", "nu"),
    "status.engine": ("engine", "motor"),
    "status.in_engine": ("in the engine", "i motorn"),
    "status.load": (
        "{running} at work, {waiting} waiting, {cache} % of the cache in use",
        "{running} i arbete, {waiting} väntar, {cache} % av cachen används",
    ),
    "done.device": ("computes on {where}", "räknar på {where}"),
    "status.device": ("computes on", "räknar på"),
    "status.device.cards": ("{cards}, all {of} layers", "{cards}, alla {of} lager"),
    "status.device.part": (
        "{cards}, {layers} of {of} layers, the rest on the processor: {times:.0f} times slower",
        "{cards}, {layers} av {of} lager, resten på processorn: {times:.0f} gånger långsammare",
    ),
    "status.device.processor": ("the processor", "processorn"),
    "status.sandbox": ("sandbox", "sandlåda"),
    "status.unlimited": ("{kind}, limits not enforced", "{kind}, gränser upprätthålls inte"),
    "status.image": ("image", "avbild"),
    "status.image_of": ("built of", "byggd av"),
    "status.image_base": ("built on", "byggd på"),
    "refused": ("the network gives it no work: {why}", "nätet ger den inget arbete: {why}"),
    "refused.no_more": ("the network gives this node work again", "nätet ger noden arbete igen"),
    "refused.agent_too_old": (
        "this agent is too old. Update it: gai node update",
        "agenten är för gammal. Uppdatera den: gai node update",
    ),
    "refused.member_suspended": (
        "The operator of this network has suspended you; the node gets no work.",
        "Nätets ansvariga har stängt av dig; noden får inget arbete.",
    ),
    "refused.sandbox_needed": (
        "the engine has no whole sandbox. gai node run --sandbox auto, or ask an administrator",
        "motorn har ingen hel sandlåda. gai node run --sandbox auto, eller fråga en administratör",
    ),
    "refused.image_not_approved": (
        "the engine's image waits for an administrator: gai image approve DIGEST",
        "motorns avbild väntar på en administratör: gai image approve DIGEST",
    ),
    "refused.rig_refused": (
        "another rig of its group is refused; the notice says which, and why",
        "en annan dator i gruppen nekas; meddelandet säger vilken, och varför",
    ),
    "status.model": ("model", "modell"),
    "status.trend": ("measured", "mätt"),
    "status.running": ("running", "pågår"),
    "status.since": ("since start", "sedan start"),
    "status.job": ("for one job", "för ett jobb"),
    "status.job.text": (
        "a container for {job} alone; it is removed after it, within an hour",
        "en container för enbart {job}; den tas bort efteråt, inom en timme",
    ),
    "status.link": ("network", "nät"),
    "status.notice": ("notice", "meddelande"),
    "status.version": ("version", "version"),
    "status.totals": (
        "{answered} answered, {failed} failed, {cancelled} cancelled, {refused} refused",
        "{answered} besvarade, {failed} misslyckade, {cancelled} avbrutna, {refused} avböjda",
    ),
    # What follows an error of a code, where its own words do not say what to do.
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
    "next.card_unusable": (
        "Put it right (gai node doctor says how), or serve on the processor: --gpu none",
        "Rätta till det (gai node doctor säger hur), eller kör på processorn: --gpu none",
    ),
    "next.bad_release": (
        "Do not install it; tell whoever released it.",
        "Installera den inte; berätta för den som gav ut den.",
    ),
    "next.taken_back": (
        "Nothing is lost; try again with the next version.",
        "Inget är förlorat; den gamla versionen är igång. Försök igen med nästa.",
    ),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


def has(key: str) -> bool:
    """Tell whether there is such a message."""
    return key in _WORDS


__all__ = ["has", "say"]
