"""What can go wrong on a node, in Swedish, by the words that it has in English."""

from typing import Final

from garage_ai.cli.card_error_words import CARDS
from garage_ai.cli.group_words import ERRORS as GROUP
from garage_ai.cli.model_error_words import MODELS
from garage_ai.cli.reason_words import in_swedish
from garage_ai.cli.setup_error_words import SETUP
from garage_ai.cli.update_words import ERRORS as UPDATE
from garage_ai.cli.vllm_error_words import VLLM
from garage_ai.cli.words import language
from garage_ai.node.errors import NodeError

_AGENT: Final[dict[str, str]] = {
    "{error}": "{error}",
    "The network no longer accepts this node ({node}): it was removed. To take part again, ask for "
    "a new token, then: gai node leave; gai node join URL TOKEN": (
        "Nätverket godtar inte längre den här noden ({node}): den har tagits bort. Be om en ny "
        "nodinbjudan för att vara med igen, och kör: gai node leave; gai node join URL TOKEN"
    ),
    "No agent is running from {folder}. Start it with: gai node run": (
        "Ingen agent arbetar från {folder}. Starta den med: gai node run"
    ),
    "The agent (pid {pid}) does not answer yet: it fetches its model or makes its engine ready. "
    "Ask again in a while.": (
        "Agenten (pid {pid}) svarar inte än: den hämtar sin modell eller gör motorn i ordning. "
        "Fråga igen om en stund."
    ),
    "The agent did not do it: {error}": "Agenten gjorde det inte: {error}",
    "No node has its home in {folder}. Enrol with: gai node join URL TOKEN": (
        "Ingen nod bor i {folder}. Gå med: gai node join URL TOKEN"
    ),
    "The catalogue has no model {name}.": "Katalogen har ingen modell {name}.",
    "{file} cannot be used: {error}": "{file} går inte att använda: {error}",
    "Another agent (pid {pid}) already serves from {folder}. Stop it first, or use another "
    "--data-dir.": (
        "En annan agent (pid {pid}) arbetar redan från {folder}. Stoppa den först, eller välj en "
        "annan --data-dir."
    ),
    "The gateway gave a JWT that cannot be used: {error}": (
        "Gatewayen gav en JWT som inte går att använda: {error}"
    ),
    "The new key is not in force yet: {file}: {words}. Make room, then try again.": (
        "Den nya nyckeln gäller inte än: {file}: {words}. Gör plats och försök igen."
    ),
    "The gateway gave a JWT for another key.": "Gatewayen gav en JWT för en annan nyckel.",
    "{base} answered {path} in a way that this version does not understand: {error}": (
        "{base} svarade {path} på ett sätt som den här versionen inte förstår: {error}"
    ),
    "{base} shows a certificate that this PC does not trust. A network with a CA of its own, or a "
    "new one, needs a new token, whole, with the part behind the dot: gai node join URL TOKEN": (
        "{base} visar ett certifikat som datorn inte litar på. Ett nätverk med egen CA, eller med "
        "en ny, kräver en ny nodinbjudan, hela, med delen efter punkten: gai node join URL TOKEN"
    ),
    "{base} shows a certificate that is not valid at {clock}, the time of this PC's clock. Set the "
    "clock if it is wrong (timedatectl); otherwise whoever runs the network has to renew it.": (
        "{base} visar ett certifikat som inte gäller {clock}, som datorns klocka visar. Ställ den "
        "om den går fel (timedatectl); annars måste den som driver nätverket förnya certifikatet."
    ),
    "{base} cannot help just now: {words}": "{base} kan inte hjälpa till just nu: {words}",
    "{base} says no: {words}": "{base} säger nej: {words}",
    "{base} did not answer in time.": "{base} svarade inte i tid.",
    "{base} is not known: no such name was found.": (
        "{base} är okänd: det finns inget sådant namn."
    ),
    "{base} cannot be reached: {words}": "{base} går inte att nå: {words}",
    "{base} does not speak TLS ({words}). Look at the port, and whether it is http:// there.": (
        "{base} talar inte TLS ({words}). Se efter porten, och om det är http:// där."
    ),
    "{text} is no address of a gateway; give https://HOST[:PORT]": (
        "{text} är ingen adress till en gateway; ange https://VÄRD[:PORT]"
    ),
    "systemd does not run this system (a container?), so there is nothing to run a service. Run "
    "`gai node run` by whatever starts programs here.": (
        "systemd kör inte det här systemet (en container?), så inget här kan köra en tjänst. "
        "Starta `gai node run` med det som startar program här."
    ),
    "This WSL runs without systemd. Put `[boot]` and `systemd=true` into /etc/wsl.conf, then in "
    "Windows: wsl --shutdown": (
        "WSL körs utan systemd. Skriv `[boot]` och `systemd=true` i /etc/wsl.conf, sedan i "
        "Windows: wsl --shutdown"
    ),
    "systemd has no session for you here, as after `su` or `sudo`. Log in as yourself, or: sudo "
    "loginctl enable-linger $USER": (
        "systemd har ingen session för dig här, som efter `su` eller `sudo`. Logga in som dig "
        "själv, eller: sudo loginctl enable-linger $USER"
    ),
    "systemctl --user {verb} fails: {words}": "systemctl --user {verb} misslyckas: {words}",
    "This node's identity is in use elsewhere, and the newer one has taken over. Stop one of the "
    "two; each PC enrols on its own.": (
        "Nodens identitet används på en annan dator, och den nyare har tagit över. Stoppa en av "
        "dem; varje dator går med för sig."
    ),
}

SWEDISH: Final[dict[str, str]] = _AGENT | CARDS | GROUP | MODELS | SETUP | UPDATE | VLLM


def in_words(error: NodeError) -> str:
    """Say in the owner's language what went wrong."""
    swedish = SWEDISH.get(error.template) if language() == "sv" else None
    if swedish is None:
        return str(error)
    # What kept an engine from use is told in the words of its reasons.
    values = {
        name: in_swedish(value) if isinstance(value, str) else value
        for name, value in error.values.items()
    }
    return swedish.format(**values)


__all__ = ["SWEDISH", "in_words"]
