"""What `gai member`, `gai me` and `gai audit` say, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help.invite": (
        "Invite somebody to become a member. The link is shown this once.",
        "Bjud in någon att bli medlem. Länken visas bara den här gången.",
    ),
    "help.invites": (
        "List invites, how many came by each and which still let somebody in; or end one.",
        "Lista inbjudningar, hur många som kommit och vilka som gäller; eller avsluta en.",
    ),
    "option.end": (
        "Let nobody in by this one any more; who came by it stays.",
        "Släpp inte in någon mer genom denna; den som kommit stannar.",
    ),
    "invites.none": ("Nobody was invited yet.", "Ingen har bjudits in än."),
    "help.accept": (
        "Become a member by an invite. The key is shown this once.",
        "Bli medlem genom en inbjudan. Nyckeln visas bara den här gången.",
    ),
    "help.suspend": (
        "Let a member's keys do nothing and its nodes get no new work.",
        "Stäng av en medlems nycklar, och ge dess noder inget nytt arbete.",
    ),
    "help.resume": ("Let a suspended member in again.", "Släpp in en avstängd medlem igen."),
    "option.invite_name": (
        "What a newcomer is called who gives no other name.",
        "Vad den nya heter som inte anger något annat namn.",
    ),
    "option.uses": ("How many may come by it.", "Hur många som får komma genom den."),
    "option.days": ("How many days it is good for.", "Hur många dagar den gäller."),
    "option.own_name": ("What you are called here.", "Vad du heter här."),
    "argument.member": ("The id, as `gai member list` shows.", "Id ur `gai member list`."),
    "argument.link": (
        "The link of the invite, or the gateway's URL with the secret behind it.",
        "Inbjudans länk, eller gatewayens URL följd av hemligheten.",
    ),
    "argument.secret": (
        "The part of the link behind #, where the link is not given whole.",
        "Länkens del efter #, om inte hela länken anges.",
    ),
    "invited": (
        "Send this link to one person only; whoever has it becomes a member. Good until {until}:",
        "Skicka länken till en enda person; den som har den blir medlem. Gäller till {until}:",
    ),
    "option.own": (
        "Let it look after its member's own: keys, tokens, nodes, export, erasure.",
        "Låt den sköta det som är medlemmens: nycklar, noder, att ta med allt och att lämna.",
    ),
    "accepted": (
        "You are member {id}. Your key, shown this once; keep it where nobody else reads:",
        "Du är medlem {id}. Din nyckel, visas bara nu; spara den där ingen annan läser:",
    ),
    "accepted.next": (
        "Then: export GAI_GATEWAY={url} GAI_API_KEY=…  and  gai chat",
        "Sedan: export GAI_GATEWAY={url} GAI_API_KEY=…  och  gai chat",
    ),
    "accepted.ca": (
        "This network has a CA of its own; `gai` knows it now. For others: SSL_CERT_FILE={path}",
        "Nätet har en egen CA; `gai` känner den nu. För andra program: SSL_CERT_FILE={path}",
    ),
    "other_ca": (
        "{url} shows another CA than the one in the invite: someone may be in between.",
        "{url} visar en annan CA än den i inbjudan: någon kan finnas mellan er.",
    ),
    "other_ca.next": (
        "Ask whoever invited you for a new one, over another channel.",
        "Be den som bjöd in dig om en ny inbjudan, på en annan väg.",
    ),
    "untrusted.kept": (
        (
            "Is the address right? {path} holds the CA that your invite named. If the network has "
            "a new one, ask its administrator for its ca.pem and put it there."
        ),
        (
            "Är adressen rätt? {path} är den CA som din inbjudan angav. Har nätet fått en ny, be "
            "administratören om dess ca.pem och lägg den där."
        ),
    ),
    "accepted.again": (
        "This invite was accepted before by the same call; its key was shown then.",
        "Inbjudan är redan använd av samma anrop; nyckeln visades då.",
    ),
    "no_secret": (
        "The link has no secret: it is the part behind #.",
        "Länken saknar hemligheten: det är delen efter #.",
    ),
    "no_secret.next": (
        "Put the whole link between quotation marks.",
        "Sätt hela länken inom citattecken.",
    ),
    "suspended": ("{name} ({id}) is suspended.", "{name} ({id}) är avstängd."),
    "resumed": ("{name} ({id}) is in again.", "{name} ({id}) är med igen."),
    "state.active": ("active", "aktiv"),
    "state.suspended": ("SUSPENDED", "AVSTÄNGD"),
    "state.open": ("open", "öppen"),
    "state.used": ("used", "använd"),
    "state.revoked": ("ended", "avslutad"),
    "state.expired": ("expired", "utgången"),
    "state.erased": ("erased", "raderad"),
    "help.me": (
        "What is yours: account, keys, nodes, use; taken along or erased.",
        "Det som är ditt: konto, nycklar, noder, användning; att ta med eller radera.",
    ),
    "help.me.export": (
        "Write all that is kept about you to a file, as JSON.",
        "Skriv allt som är sparat om dig till en fil, som JSON.",
    ),
    "help.me.erase": (
        "Erase yourself from this network, for good.",
        "Radera dig ur nätet, för gott.",
    ),
    "argument.file": ("Where to; - for standard output.", "Vart; - för standard ut."),
    "option.confirm": (
        "Your name as `gai me` shows it, instead of the question.",
        "Ditt namn som `gai me` visar det, i stället för frågan.",
    ),
    "me.member": ("{name} ({id}), since {since}", "{name} ({id}), sedan {since}"),
    "me.balance": (
        "balance: {available} GAI to spend, {reserved} GAI promised to requests",
        "saldo: {available} GAI att använda, {reserved} GAI lovade till förfrågningar",
    ),
    "me.keys": ("keys that work: {count}", "nycklar som fungerar: {count}"),
    "me.nodes": ("nodes: {names}", "noder: {names}"),
    "me.nodes.none": ("nodes: none", "noder: inga"),
    "me.usage": (
        "{model}, last 31 days: requests {requests}, tokens {prompt} in, {completion} out",
        "{model}, senaste 31 dagarna: förfrågningar {requests}, token {prompt} in, {completion} ut",
    ),
    "exported": ("{size} bytes in {path}", "{size} byte i {path}"),
    "erase.ask": (
        "This ends your keys, tokens and nodes and cannot be undone. Your name, to confirm:",
        "Det avslutar dina nycklar och noder och kan inte ångras. Ditt namn, för att bekräfta:",
    ),
    "erase.ask.next": (
        "Without a terminal: gai me erase --confirm NAME",
        "Utan terminal: gai me erase --confirm NAMN",
    ),
    "erased": (
        "Erased. What was used and booked stays under {id}, by which nobody finds you.",
        "Raderat. Det som använts och bokförts står kvar under {id}, som ingen hittar dig genom.",
    ),
    "help.audit": ("The log of who did what.", "Loggen över vem som gjort vad."),
    "help.audit.list": ("Show who did what, newest first.", "Visa vem som gjort vad, nyast först."),
    "help.audit.head": (
        "Show the newest signed head of the log, to be noted somewhere else.",
        "Visa loggens senast signerade huvud, att anteckna någon annanstans.",
    ),
    "help.audit.verify": (
        "Check the log, or an export of it, for any change.",
        "Kontrollera loggen, eller en export av den, mot varje ändring.",
    ),
    "help.audit.export": (
        "Write the whole log to a file that anybody can check.",
        "Skriv hela loggen till en fil som vem som helst kan kontrollera.",
    ),
    "option.since": ("From this day or moment on.", "Från den här dagen eller stunden."),
    "option.actor": (
        "By whom: an id of a key, node or member, or `gateway`.",
        "Av vem: id för en nyckel, nod eller medlem, eller `gateway`.",
    ),
    "option.action": ("Which acts, e.g. key or key.made.", "Vilka handlingar, t.ex. key."),
    "option.limit": ("How many at most.", "Högst så många."),
    "option.public_key": (
        "The network's key for this log, as you noted it before.",
        "Nätets nyckel för loggen, som du antecknat den tidigare.",
    ),
    "option.head": (
        "A head that you noted before: its JSON, or a file with it or an export in it.",
        "Ett huvud som du antecknat tidigare: dess JSON, eller en fil med det eller en export.",
    ),
    "argument.export": (
        "An export; the gateway's log if not given.",
        "En export; gatewayens logg om den inte anges.",
    ),
    "audit.none": ("Nothing of that kind was done.", "Inget sådant har gjorts."),
    "audit.whole": (
        "Whole: {size} entries, {signed} of them signed by {key}",
        "Hel: {size} poster, {signed} av dem signerade av {key}",
    ),
    "audit.unsigned": (
        "Whole: {size} entries, none of them signed yet",
        "Hel: {size} poster, ännu ingen signerad",
    ),
    "audit.not_noted": (
        "Who holds the gateway's folder too is found by a head noted elsewhere alone: --head.",
        "Den som även har gatewayens mapp röjs bara av ett huvud antecknat annanstans: --head.",
    ),
    "audit.head": (
        "{size} entries, signed {at}; the hash of the last one:",
        "{size} poster, signerade {at}; den sistas hash:",
    ),
    "audit.head.none": ("Nothing was signed yet.", "Inget är signerat än."),
    "audit.head.next": (
        "Note it elsewhere with --json, for `gai audit verify --head`.",
        "Anteckna det annanstans med --json, för `gai audit verify --head`.",
    ),
    "audit.bad_head": ("{head} is no head: {reason}", "{head} är inget huvud: {reason}"),
    "audit.compare": (
        "Compare that key with the one you noted, or give it with --public-key.",
        "Jämför nyckeln med den du antecknat, eller ange den med --public-key.",
    ),
    "audit.broken": ("NOT whole: {count} findings", "INTE hel: {count} fynd"),
    "audit.broken.next": (
        "Keep this copy, and compare it with an older export or a backup.",
        "Spara den här kopian och jämför med en äldre export eller en säkerhetskopia.",
    ),
    "audit.bad_file": (
        "{path} is no export of a log: {reason}",
        "{path} är ingen export: {reason}",
    ),
    "file.failed": ("{path}: {reason}", "{path}: {reason}"),
    "table.seq": ("no.", "nr"),
    "table.at": ("at", "när"),
    "table.action": ("what", "vad"),
    "table.actor": ("by", "av"),
    "table.subject": ("to", "mot"),
    "table.details": ("details", "uppgifter"),
    "table.id": ("id", "id"),
    "table.name": ("name", "namn"),
    "table.state": ("state", "läge"),
    "table.uses": ("came", "kom"),
    "table.until": ("good until", "gäller till"),
    "table.created": ("created", "skapad"),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
