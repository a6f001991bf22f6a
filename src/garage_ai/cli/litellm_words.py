"""What `gai litellm` and `gai usage reconcile` say, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "Run LiteLLM's proxy in front of the gateway, in an environment of its own.",
        "Kör LiteLLM:s proxy framför gatewayen, i en egen miljö.",
    ),
    "help.config": (
        "Print LiteLLM's configuration, or write it and the callback into a folder.",
        "Skriv ut LiteLLM:s inställningar, eller lägg dem och tillägget i en mapp.",
    ),
    "help.map": (
        "Say whose calls those of a LiteLLM key, user or team are; what waits is booked now.",
        "Säg vems anropen från en nyckel, användare eller grupp i LiteLLM är; väntande bokas nu.",
    ),
    "help.list": ("List whose calls are whose.", "Visa vems anrop som är vems."),
    "help.unmap": (
        "Take a mapping away; what was booked stays booked.",
        "Ta bort en koppling; det som är bokat förblir bokat.",
    ),
    "help.reconcile": (
        "Compare LiteLLM's usage with the gateway's, call by call. Exit code 1 with differences.",
        "Jämför LiteLLM:s användning med gatewayens, anrop för anrop. Slutkod 1 vid skillnader.",
    ),
    "option.host": (
        "Address to listen on; other machines reach it only with another than 127.0.0.1.",
        "Adress att lyssna på; andra datorer når den bara med en annan än 127.0.0.1.",
    ),
    "option.port": ("Port of the proxy.", "Proxyns port."),
    "option.insecure": (
        "Let other machines reach it without TLS.",
        "Låt andra datorer nå den utan TLS.",
    ),
    "option.environment": (
        "Folder for LiteLLM's own packages, 750 MB.",
        "Mapp för LiteLLM:s egna paket, 750 MB.",
    ),
    "option.restart": (
        "Start LiteLLM again when the gateway has a model or a price that it does not know.",
        "Starta om LiteLLM när gatewayen har en modell eller ett pris som den inte känner.",
    ),
    "option.output": (
        "Folder for config.yaml and the callback; without it the configuration is printed.",
        "Mapp för config.yaml och tillägget; utan den skrivs inställningarna ut.",
    ),
    "option.prompt_price": (
        "nGAI per 1,000 prompt tokens, for models whose price the gateway does not tell.",
        "nGAI per 1 000 token in, för modeller vars pris gatewayen inte säger.",
    ),
    "option.completion_price": (
        "nGAI per 1,000 completion tokens, for the same models.",
        "nGAI per 1 000 token ut, för samma modeller.",
    ),
    "option.since": (
        "From this moment on, as 2026-11-23 or 2026-11-23T15:00:00Z.",
        "Från och med då, som 2026-11-23 eller 2026-11-23T15:00:00Z.",
    ),
    "option.until": (
        "Up to this moment; a minute ago if not given, since LiteLLM's calls come in groups.",
        "Till och med då; annars för en minut sedan, eftersom LiteLLM:s anrop kommer i grupper.",
    ),
    "argument.kind": (
        "key (its hash), alias (of a key), user or team; the first that fits decides.",
        "key (nyckelns hash), alias (nyckelns), user eller team; det första som passar avgör.",
    ),
    "argument.value": ("What LiteLLM calls it.", "Vad LiteLLM kallar den."),
    "argument.member": ("The member who pays.", "Medlemmen som betalar."),
    "table.kind": ("kind", "sort"),
    "table.value": ("in LiteLLM", "i LiteLLM"),
    "table.member": ("member", "medlem"),
    "table.created": ("since", "sedan"),
    "table.at": ("at", "när"),
    "table.call": ("call", "anrop"),
    "table.request": ("request", "förfrågan"),
    "table.litellm": ("LiteLLM", "LiteLLM"),
    "table.gateway": ("gateway", "gateway"),
    "map.none": (
        "Nothing is mapped: all calls are the proxy's own.",
        "Inget är kopplat: alla anrop är proxyns egna.",
    ),
    "map.done": (
        "Calls of {kind} {value} are {member}'s.",
        "Anrop från {kind} {value} är {member}:s.",
    ),
    "map.gone": (
        "Calls of {kind} {value} are the proxy's own from now on.",
        "Anrop från {kind} {value} är proxyns egna från och med nu.",
    ),
    "written": (
        "Wrote {files} into {folder}.",
        "Skrev {files} i {folder}.",
    ),
    "written.next": (
        (
            "LiteLLM wants GAI_GATEWAY, GAI_API_KEY (gai key create --name litellm --usage), "
            "LITELLM_MASTER_KEY and LITELLM_LOCAL_MODEL_COST_MAP=True in its environment."
        ),
        (
            "LiteLLM vill ha GAI_GATEWAY, GAI_API_KEY (gai key create --name litellm --usage), "
            "LITELLM_MASTER_KEY och LITELLM_LOCAL_MODEL_COST_MAP=True i sin miljö."
        ),
    ),
    "making": (
        "LiteLLM {version} gets an environment of its own in {folder}: {count} packages, 750 MB.",
        "LiteLLM {version} får en egen miljö i {folder}: {count} paket, 750 MB.",
    ),
    "making.progress": ("{done} of {count} packages", "{done} av {count} paket"),
    "made": ("made in {seconds:.0f} s", "gjord på {seconds:.0f} s"),
    "master.made": (
        "The master key is in {file}; only you may read it.",
        "Huvudnyckeln finns i {file}; bara du får läsa den.",
    ),
    "gateway_key.made": (
        "The proxy has a key of its own, {id}, of the member {member}: what it uses is that one's.",
        "Proxyn har en egen nyckel, {id}, som medlemmen {member}: det den använder är dennes.",
    ),
    "starting": (
        "LiteLLM starts; it takes a quarter of a minute or more",
        "LiteLLM startar; det tar en kvarts minut eller mer",
    ),
    "ready": (
        "ready {url}/v1 after {seconds:.0f} s; Ctrl-C stops it. Key: {file}",
        "ready {url}/v1 efter {seconds:.0f} s; Ctrl-C stoppar. Nyckel: {file}",
    ),
    "models.new": (
        "The gateway now serves {names} too: LiteLLM is started again to offer it.",
        "Gatewayen har nu {names} också: LiteLLM startas om för att ha det.",
    ),
    "models.new.kept": (
        "The gateway now serves {names} too; a new start of `gai litellm` offers it.",
        "Gatewayen har nu {names} också; en ny start av `gai litellm` har det.",
    ),
    "prices.new": (
        "The gateway has other prices for {names}: LiteLLM is started again to count by them.",
        "Gatewayen har andra priser för {names}: LiteLLM startas om för att räkna med dem.",
    ),
    "prices.new.kept": (
        "The gateway has other prices for {names}; a new start of `gai litellm` counts by them.",
        "Gatewayen har andra priser för {names}; en ny start av `gai litellm` räknar med dem.",
    ),
    "stopping": (
        "stopping; calls under way get up to {seconds:.0f} s (again to stop at once)",
        "stannar; pågående anrop får upp till {seconds:.0f} s (en gång till stoppar genast)",
    ),
    "stopped": ("stopped", "stoppat"),
    "error.litellm_lock_missing": (
        "This installation does not have the list of LiteLLM's packages.",
        "Den här installationen saknar listan över LiteLLM:s paket.",
    ),
    "error.litellm_lock_missing.next": (
        "Install garage-ai again, or run LiteLLM yourself with `gai litellm config`.",
        "Installera garage-ai igen, eller kör LiteLLM själv med `gai litellm config`.",
    ),
    "error.litellm_not_installed": (
        "LiteLLM's environment cannot be made: {message}.",
        "LiteLLM:s miljö kan inte göras: {message}.",
    ),
    "error.litellm_not_installed.next": (
        "Look at network and disk (750 MB), then try again; it begins anew.",
        "Se efter nät och disk (750 MB) och försök igen; det börjar om från början.",
    ),
    "error.litellm_bad_version": ("{message}.", "{message}."),
    "error.litellm_bad_version.next": (
        "Bring Garage AI up to date; it names a version that is safe.",
        "Uppdatera Garage AI; den anger en version som är säker.",
    ),
    "error.ended": (
        "LiteLLM ended ({status}); its last words:",
        "LiteLLM avslutades ({status}); det sista den skrev:",
    ),
    "error.slow": (
        "LiteLLM was not ready within {seconds:.0f} s; its last words:",
        "LiteLLM var inte redo inom {seconds:.0f} s; det sista den skrev:",
    ),
    "error.log.next": ("The whole log: {log}", "Hela loggen: {log}"),
    "error.open": (
        "{host} can be reached from other machines, and LiteLLM has no TLS here.",
        "{host} nås från andra datorer, och LiteLLM har ingen TLS här.",
    ),
    "error.open.next": (
        "Put a proxy with TLS in front of 127.0.0.1, or say --insecure if you know this network.",
        "Ställ en proxy med TLS framför 127.0.0.1, eller säg --insecure om du känner nätet.",
    ),
    "error.key_file": (
        "{file} cannot be used: {reason}.",
        "{file} går inte att använda: {reason}.",
    ),
    "error.key_file.next": (
        "Put it right, or remove it: another is made.",
        "Rätta till den eller ta bort den: en ny görs.",
    ),
    "error.usage_scope": (
        "The key may not tell of usage: LiteLLM's calls would reach no books.",
        "Nyckeln får inte berätta om användning: LiteLLM:s anrop skulle inte bokföras.",
    ),
    "error.usage_scope.next": (
        "Take a key that `gai key create --name litellm --usage` made, or an administrator's.",
        "Ta en nyckel som `gai key create --name litellm --usage` gjort, eller en administratörs.",
    ),
    "compared": (
        (
            "{calls} calls compared: {equal} equal, {near} ended early and within the tolerance, "
            "{unserved} that only LiteLLM answered or refused, {unknown} whose end no one knows, "
            "{different} that differ"
        ),
        (
            "{calls} anrop jämförda: {equal} lika, {near} avbrutna och inom toleransen, "
            "{unserved} som bara LiteLLM svarade på eller nekade, {unknown} vars slut ingen vet, "
            "{different} som skiljer sig"
        ),
    ),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
