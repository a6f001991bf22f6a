"""What the command line says, in English and Swedish.

Swedish where LC_ALL, LC_MESSAGES or LANG (the first that is set) begins with `sv`.
"""

import os
from functools import cache
from typing import Final, Literal

Language = Literal["en", "sv"]

_WORDS: Final[dict[str, tuple[str, str]]] = {
    # help
    "help.gai": (
        "A community-owned AI network made of gaming PCs.",
        "Ett AI-nät av speldatorer, ägt av dem som är med.",
    ),
    "help.version": ("Show the version and leave.", "Visa versionen och sluta."),
    "help.debug": (
        "Show where in the program an error comes from (or GAI_DEBUG=1).",
        "Visa var i programmet ett fel uppstår (eller GAI_DEBUG=1).",
    ),
    "help.up": (
        "Start a whole network here. NATS, gateway and a node with a small model.",
        "Starta ett helt nät här. NATS, gateway och en nod med en liten modell.",
    ),
    "help.gateway": (
        "Run the gateway alone. GAI_* settings say which NATS and which database.",
        "Kör bara gatewayen. GAI_*-inställningar säger vilken NATS och vilken databas.",
    ),
    "help.node": ("Lend this PC to a network.", "Låna ut den här datorn till ett nät."),
    "help.key": ("Keys for the API.", "Nycklar till API:et."),
    "help.key.create": (
        "Make a key. Its secret is shown this once.",
        "Gör en nyckel. Hemligheten visas bara den här gången.",
    ),
    "help.key.list": ("List all keys.", "Visa alla nycklar."),
    "help.key.revoke": ("Revoke a key, at once.", "Spärra en nyckel, genast."),
    "help.member": (
        "Members: who owns keys, tokens and nodes.",
        "Medlemmar: vilka som äger nycklar, nodinbjudningar och noder.",
    ),
    "help.member.create": (
        "Make a member. Its id goes into --member.",
        "Gör en medlem. Dess id anges med --member.",
    ),
    "help.member.list": ("List all members.", "Visa alla medlemmar."),
    "help.models": ("List the models being served.", "Visa modellerna som körs just nu."),
    "help.usage": ("Show what was used.", "Visa vad som har använts."),
    "help.chat": (
        "Talk to the network. With a text, or text from a pipe, ask once.",
        "Tala med nätet. Med en text, eller text från ett rör, fråga en gång.",
    ),
    "help.option.gateway": (
        "Base URL of the gateway; the one running here if not given.",
        "Gatewayens bas-URL; den som kör här om den inte anges.",
    ),
    "help.option.key": ("Key for the gateway.", "Nyckel till gatewayen."),
    "help.option.json": ("Print JSON for programs.", "Skriv JSON för program."),
    "help.option.data_dir": (
        "Folder for everything that is kept; ~/.local/share/garage-ai if not given.",
        "Mapp för allt som sparas; annars ~/.local/share/garage-ai.",
    ),
    "help.option.host": (
        "Address to listen on (127.0.0.1; 0.0.0.0 with --public).",
        "Adress att lyssna på (127.0.0.1; 0.0.0.0 med --public).",
    ),
    "help.option.bind": ("Address to listen on (127.0.0.1).", "Adress att lyssna på (127.0.0.1)."),
    "help.option.port": ("Port of the API; 0 for any free one.", "API:ets port; 0 för en ledig."),
    "help.option.bind_port": ("Port of the API (8000).", "API:ets port (8000)."),
    "help.option.nats_port": (
        "Port of NATS; WebSocket is on the next one; 0 for free ones.",
        "NATS port; WebSocket ligger på nästa; 0 för lediga.",
    ),
    "help.option.no_node": (
        "Start no node here; volunteers bring the models.",
        "Starta ingen nod här; andra har med sig modellerna.",
    ),
    "help.option.public": (
        "Serve other machines under this host name or address, with TLS.",
        "Betjäna andra datorer under det här namnet eller den här adressen, med TLS.",
    ),
    "help.option.cert": (
        "Certificate chain (PEM) for --public; without it, the network's own CA.",
        "Certifikatkedja (PEM) till --public; annars nätets egen CA.",
    ),
    "help.option.cert_key": ("Key (PEM) of --cert.", "Nyckel (PEM) till --cert."),
    "help.option.insecure": ("Allow other machines without TLS.", "Tillåt andra datorer utan TLS."),
    "help.option.name": ("What the key is for.", "Vad nyckeln är till."),
    "help.option.member_name": ("What the member is called.", "Vad medlemmen heter."),
    "help.option.member": (
        "Whose it is, an id as `gai member list` shows; the operator's if not given.",
        "Vems den är, ett id ur `gai member list`; annars nätets egen.",
    ),
    "help.option.key_region": (
        "County that its requests stay in, such as SE-AB; may be given several times.",
        "Län som dess förfrågningar stannar i, som SE-AB; får anges flera gånger.",
    ),
    "help.option.admin": (
        "Let it manage keys, nodes and tokens too.",
        "Låt den sköta nycklar, noder och nodinbjudningar också.",
    ),
    "help.option.usage": (
        "Let it tell what others used: for a LiteLLM proxy in front.",
        "Låt den berätta vad andra använt: för en LiteLLM-proxy framför.",
    ),
    "help.option.key_id": ("The key's id, as `gai key list` shows.", "Id ur `gai key list`."),
    "help.option.by": ("What to add up by.", "Vad summorna delas efter."),
    "help.option.since": (
        "From this moment on, as 2026-11-23 or 2026-11-23T15:00:00Z; else the last 31 days.",
        "Från och med då, som 2026-11-23 eller 2026-11-23T15:00:00Z; annars senaste 31 dagarna.",
    ),
    "help.option.model": ("The model; garage-chat if not given.", "Modellen; annars garage-chat."),
    "help.option.text": ("What to ask.", "Frågan."),
    "help.option.system": ("How the model is to behave.", "Hur modellen ska bete sig."),
    "help.option.max_tokens": (
        "Longest answer in tokens; as long as the model likes if not given.",
        "Längsta svar i token; annars så långt som modellen vill.",
    ),
    # steps of `gai up`
    "step.keys": ("keys and ports", "nycklar och portar"),
    "step.nats": ("NATS server", "NATS-server"),
    "step.gateway": ("gateway", "gateway"),
    "step.node": ("node, enrolled", "nod, inskriven"),
    "step.model": ("model, loaded", "modell, inläst"),
    "up.title": (
        "Garage AI starts in {folder}",
        "Garage AI startar i {folder}",
    ),
    "child.nats": ("NATS server", "NATS-servern"),
    "child.gateway": ("gateway", "gatewayen"),
    "child.node": ("node", "noden"),
    "up.leftovers": (
        "ended what an earlier start had left: {names}",
        "avslutade det som en tidigare start lämnat kvar: {names}",
    ),
    "up.ended": (
        "{name} ended ({how}); starting it again in {delay:.1f} s",
        "{name} avslutades ({how}); startas igen om {delay:.1f} s",
    ),
    "up.worry": (
        "{name} has failed {failures} times in a row ({how}); trying on, see {log}",
        "{name} har fallit {failures} gånger i rad ({how}); försöker vidare, se {log}",
    ),
    "up.back": ("{name} is back", "{name} är tillbaka"),
    "up.signal": ("signal {number}", "signal {number}"),
    "up.exit": ("exit code {number}", "slutkod {number}"),
    "up.ready.model": (
        "ready {model} answers after {seconds:.1f} s; Ctrl-C stops everything",
        "ready {model} svarar efter {seconds:.1f} s; Ctrl-C stoppar allt",
    ),
    "up.ready": (
        "ready for nodes after {seconds:.1f} s: `gai node token`; Ctrl-C stops everything",
        "ready för noder efter {seconds:.1f} s: `gai node token`; Ctrl-C stoppar allt",
    ),
    "up.url": ("URL     ", "URL       "),
    "up.api": ("base URL", "bas-URL   "),
    "up.key": ("key     ", "nyckel    "),
    "up.key.kept": ("(in {path})", "(i {path})"),
    "up.try": ("try it:", "prova:"),
    "up.hello": ("Say hello in five words.", "Skriv hej med fem ord."),
    "up.leaving": (
        "stopping; answers under way get up to {seconds:.0f} s (again to stop at once)",
        "stannar; pågående svar får upp till {seconds:.0f} s (en gång till stoppar genast)",
    ),
    "up.left": ("stopped", "stoppat"),
    # errors: what is wrong, and what to do next
    "error.already_up": (
        "Garage AI already runs from {folder}: process {pid}, {url}.",
        "Garage AI körs redan från {folder}: process {pid}, {url}.",
    ),
    "error.already_up.next": (
        "Use that one, stop it with `kill {pid}`, or choose another folder with --data-dir.",
        "Använd den, stoppa den med `kill {pid}` eller välj en annan mapp med --data-dir.",
    ),
    "error.already_up.unknown": (
        "Another `gai up` is starting or stopping in {folder}.",
        "En annan `gai up` startar eller stannar i {folder}.",
    ),
    "error.already_up.unknown.next": (
        "Wait a moment and try again, or choose another folder with --data-dir.",
        "Vänta en stund och försök igen, eller välj en annan mapp med --data-dir.",
    ),
    "error.port_taken": (
        "Port {port} is taken by {program} (process {pid}).",
        "Port {port} är upptagen av {program} (process {pid}).",
    ),
    "error.port_taken.unknown": (
        "Port {port} is taken by another program, which the system does not name to this user.",
        "Port {port} är upptagen av ett annat program, som systemet inte namnger för dig.",
    ),
    "error.port_taken.unknown.next": (
        "Choose another port with {option} (0 for any free one).",
        "Välj en annan port med {option} (0 för en ledig).",
    ),
    "error.port_taken.next": (
        "Stop that program, or choose another port with {option} (0 for any free one).",
        "Stoppa det programmet eller välj en annan port med {option} (0 för en ledig).",
    ),
    "error.child_failed": (
        "The {name} does not start (exit code {exit_code}); its last words:",
        "{name} startar inte (slutkod {exit_code}); det sista den skrev:",
    ),
    "error.not_ready": (
        "The {name} was not ready within {seconds:.0f} s; its last words:",
        "{name} var inte redo inom {seconds:.0f} s; det sista den skrev:",
    ),
    "error.child_failed.next": ("The whole log: {log}", "Hela loggen: {log}"),
    "error.not_ready.next": ("The whole log: {log}", "Hela loggen: {log}"),
    "error.tls_needed": (
        "{host} can be reached from other machines, and there is no TLS.",
        "{host} nås från andra datorer, och det finns ingen TLS.",
    ),
    "error.tls_needed.next": (
        "Say `--public HOST` to serve with TLS, or `--insecure` if you know this network well.",
        "Säg `--public VÄRD` för TLS, eller `--insecure` om du känner nätet väl.",
    ),
    "error.plain": ("{message}.", "{message}."),
    "error.not_installed": (
        "This part of Garage AI is not installed: {module} is missing.",
        "Den här delen av Garage AI är inte installerad: {module} saknas.",
    ),
    "error.not_installed.next": (
        "Install it with `pip install 'garage-ai[local]'`, or start with ./start.sh.",
        "Installera den med `pip install 'garage-ai[local]'`, eller starta med ./start.sh.",
    ),
    "error.no_gateway": (
        "No gateway is known.",
        "Ingen gateway är känd.",
    ),
    "error.no_gateway.next": (
        "Start one with `gai up`, or name one: --gateway URL (GAI_GATEWAY), or its --data-dir DIR.",
        "Starta en med `gai up`, eller ange en: --gateway URL (GAI_GATEWAY) eller --data-dir DIR.",
    ),
    "error.bad_url": (
        "{url} is not the URL of a gateway.",
        "{url} är inte en gateways URL.",
    ),
    "error.bad_url.next": (
        "Give it as http://HOST:PORT or https://HOST, without /v1.",
        "Skriv den som http://VÄRD:PORT eller https://VÄRD, utan /v1.",
    ),
    "error.no_key": ("There is no key for {url}.", "Det finns ingen nyckel till {url}."),
    "error.no_key.next": (
        "Give one: --api-key KEY (GAI_API_KEY). Whoever runs the network makes it: gai key create",
        "Ange en: --api-key NYCKEL (GAI_API_KEY). Den som driver nätet gör den: gai key create",
    ),
    "error.bad_key": (
        "The key holds letters that no key has.",
        "Nyckeln innehåller tecken som ingen nyckel har.",
    ),
    "error.bad_key.next": (
        "Copy it again, without quotes around it.",
        "Kopiera den igen, utan citattecken runt om.",
    ),
    "error.unreachable": (
        "The gateway at {url} cannot be reached: {reason}.",
        "Gatewayen på {url} går inte att nå: {reason}.",
    ),
    "error.unreachable.next": (
        "Is it running? `gai up` starts one here; otherwise look at the address.",
        "Är den igång? `gai up` startar en här; se annars efter adressen.",
    ),
    "error.untrusted": (
        "The certificate of {url} is not trusted: {reason}.",
        "Certifikatet för {url} är inte betrott: {reason}.",
    ),
    "error.untrusted.next": (
        "Is the address right? Point SSL_CERT_FILE to the CA of that gateway if it has its own.",
        "Är adressen rätt? Låt SSL_CERT_FILE peka på gatewayens CA om den har en egen.",
    ),
    "error.refused": ("The gateway refused: {message}", "Gatewayen nekade: {message}"),
    "error.refused.next": (
        "Copy the whole key again, or ask whoever runs the network: `gai key list` shows them all.",
        "Kopiera hela nyckeln igen, eller fråga den som driver nätet: `gai key list` visar alla.",
    ),
    "error.answered": (
        "The gateway answered with an error: {message}",
        "Gatewayen svarade med ett fel: {message}",
    ),
    "error.wait.next": (
        "Try again in {wait}.",
        "Försök igen om {wait}.",
    ),
    "error.not_ours": (
        "{url} answered something that no Garage AI gateway says.",
        "{url} svarade något som ingen Garage AI-gateway säger.",
    ),
    "error.broken_off": (
        "The answer broke off: {message}",
        "Svaret bröts: {message}",
    ),
    "error.unexpected": (
        "Something went wrong inside gai: {message}",
        "Något gick fel inuti gai: {message}",
    ),
    "error.unexpected.next": (
        "Run it again with GAI_DEBUG=1 and report what it prints.",
        "Kör igen med GAI_DEBUG=1 och rapportera det som skrivs.",
    ),
    "error.no_folder": ("{folder} cannot be used: {reason}.", "{folder} duger inte: {reason}."),
    "error.no_tls": ("There is no TLS at {url}: {reason}.", "{url} talar inte TLS: {reason}."),
    "error.no_tls.next": (
        "Look at the port, and whether the address begins with http:// or https://.",
        "Se efter porten, och om adressen börjar med http:// eller https://.",
    ),
    # tables
    "table.id": ("id", "id"),
    "table.name": ("name", "namn"),
    "table.scopes": ("scopes", "rättigheter"),
    "table.created": ("created", "skapad"),
    "table.used": ("last used", "senast använd"),
    "table.state": ("state", "läge"),
    "table.model": ("model", "modell"),
    "table.kind": ("kind", "sort"),
    "table.context": ("context", "kontext"),
    "table.nodes": ("nodes", "noder"),
    "table.requests": ("requests", "förfrågningar"),
    "table.prompt": ("tokens in", "token in"),
    "table.completion": ("tokens out", "token ut"),
    "table.key": ("key", "nyckel"),
    "table.node": ("node", "nod"),
    "table.day": ("day", "dag"),
    "table.digest": ("digest", "digest"),
    "key.active": ("active", "gäller"),
    "key.revoked": ("revoked", "spärrad"),
    "key.created": (
        "Key {id} for {name}. It is shown this once:",
        "Nyckel {id} för {name}. Den visas bara den här gången:",
    ),
    "key.revoked.done": ("Key {id} is revoked.", "Nyckel {id} är spärrad."),
    "member.created": ("The id of member {name}:", "Medlemmen {name} har id:"),
    "models.none": (
        "No model is being served; a node that joins brings one.",
        "Ingen modell finns just nu; en nod som ansluter har med sig en.",
    ),
    "usage.none": ("Nothing has been used yet.", "Ingenting har använts än."),
    "never": ("never", "aldrig"),
    # chat
    "chat.hello": ("{model} at {url}", "{model} på {url}"),
    "chat.help": (
        "/reset forgets, /model NAME switches, /quit leaves; end a line with \\ to go on",
        "/reset glömmer, /model NAMN byter, /quit lämnar; sluta en rad med \\ för att fortsätta",
    ),
    "chat.prompt": ("you> ", "du> "),
    "chat.more": ("...> ", "...> "),
    "chat.reset": ("forgotten", "glömt"),
    "chat.model": ("now talking to {model}", "talar nu med {model}"),
    "chat.model.which": ("talking to {model}", "talar med {model}"),
    "chat.unknown": (
        "no such command: {command} (/reset, /model NAME, /quit)",
        "inget sådant kommando: {command} (/reset, /model NAMN, /quit)",
    ),
    "chat.stopped": ("stopped", "avbrutet"),
    "chat.leave": ("/quit or Ctrl-D leaves", "/quit eller Ctrl-D lämnar"),
    "chat.speed": (
        "{tokens} tokens, {speed:.1f} tokens/s, first after {first:.2f} s",
        "{tokens} token, {speed:.1f} token/s, första efter {first:.2f} s",
    ),
    "chat.speed.short": (
        "{tokens} tokens, first after {first:.2f} s",
        "{tokens} token, första efter {first:.2f} s",
    ),
    "chat.no_text": ("There is nothing to ask.", "Det finns inget att fråga."),
    "chat.nothing": ("an empty answer", "ett tomt svar"),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError for a message there is none of."""
    return in_language(language(), key, **values)


def in_language(which: Language, key: str, /, **values: object) -> str:
    """Give a message in one language. Raises: KeyError."""
    english, swedish = _WORDS[key]
    return (swedish if which == "sv" else english).format(**values)


def has(key: str) -> bool:
    """Tell whether there is such a message."""
    return key in _WORDS


def keys() -> tuple[str, ...]:
    """Give the names of all messages."""
    return tuple(_WORDS)


@cache
def language() -> Language:
    """Give the owner's language; decided once."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name)
        if value:
            return "sv" if value.lower().startswith("sv") else "en"
    return "en"


__all__ = ["Language", "has", "in_language", "keys", "language", "say"]
