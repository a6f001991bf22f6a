"""What `gai ledger` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "The books: what accounts have, and how that came about.",
        "Bokföringen: vad konton har, och hur det blev så.",
    ),
    "help.balance": ("Show what an account has.", "Visa vad ett konto har."),
    "help.statement": (
        "List the entries of an account, newest first.",
        "Lista ett kontos poster, de nyaste först.",
    ),
    "help.verify": (
        "Check the whole books; exit 1 if something is wrong.",
        "Granska hela bokföringen; avslutar med 1 om något är fel.",
    ),
    "help.rebuild": (
        "Make balances again from the entries, in the database itself; best while no gateway runs.",
        "Gör om saldona ur posterna, i själva databasen; helst när ingen gateway kör.",
    ),
    "rebuilt.none": (
        "All balances are as the entries make them.",
        "Alla saldon är som posterna gör dem.",
    ),
    "rebuilt": (
        "{count} balances were wrong and were made again; `gai ledger verify` checks the rest.",
        "{count} saldon var fel och gjordes om; `gai ledger verify` granskar resten.",
    ),
    "help.export": (
        "Write entries: for bean-check, as a table, or as JSON.",
        "Skriv poster: för bean-check, som tabell eller som JSON.",
    ),
    "argument.exported": (
        "The account; all of them if not given, with a member's key the own one.",
        "Kontot; alla om inget anges, med en medlems nyckel det egna.",
    ),
    "help.adjust": (
        "Put something right by an entry of its own, with a reason.",
        "Rätta något med en egen post, med en anledning.",
    ),
    "argument.account": (
        "member:ID, escrow:NODE, pool, fee, issuance or adjustments; the own one if not given.",
        "member:ID, escrow:NOD, pool, fee, issuance eller adjustments; det egna om inget anges.",
    ),
    "argument.adjusted": (
        "The account: member:ID, escrow:NODE, pool, fee or issuance.",
        "Kontot: member:ID, escrow:NOD, pool, fee eller issuance.",
    ),
    "argument.amount": (
        "GAI for the account; below zero takes from it.",
        "GAI till kontot; under noll tar från det.",
    ),
    "option.limit": ("Entries at most.", "Högst så många poster."),
    "option.before": ("Only entries older than this number.", "Bara poster före det här numret."),
    "option.format": ("beancount, csv or json.", "beancount, csv eller json."),
    "option.reason": ("Why, for whoever reads the books.", "Varför, för den som läser böckerna."),
    "option.key": (
        "Asking again with the same key enters nothing twice.",
        "Samma nyckel en gång till för inte in något två gånger.",
    ),
    "balance": (
        "{account}: {available} GAI to spend, {reserved} GAI promised to requests",
        "{account}: {available} GAI att använda, {reserved} GAI lovade till förfrågningar",
    ),
    "statement.none": ("No entries yet.", "Inga poster än."),
    "statement.more": ("Older ones: --before {before}", "Äldre: --before {before}"),
    "verify.sound": (
        "The books are sound: {transfers} entries, {accounts} accounts.",
        "Bokföringen stämmer: {transfers} poster, {accounts} konton.",
    ),
    "verify.faults": ("{faults} faults in the books:", "{faults} fel i bokföringen:"),
    "verify.adjusted": (
        "{count} adjustments made {amount} GAI; `gai ledger statement adjustments` says why.",
        "{count} rättelser gav {amount} GAI; `gai ledger statement adjustments` visar varför.",
    ),
    "verify.unaccounted": (
        "{leases} gateways ended without settling: at most {amount} GAI went unbilled.",
        "{leases} gateways slutade utan att göra upp: högst {amount} GAI debiterades inte.",
    ),
    "adjusted": ("{id}: {amount} GAI for {account}", "{id}: {amount} GAI till {account}"),
    "amount.wrong": (
        "An amount is a number of GAI with at most nine decimals, and not nought.",
        "Ett belopp är ett antal GAI med högst nio decimaler, och inte noll.",
    ),
    "table.account": ("account", "konto"),
    "table.was": ("GAI was", "GAI var"),
    "table.is": ("GAI is", "GAI är"),
    "table.reserved_was": ("promised was", "lovat var"),
    "table.reserved": ("promised is", "lovat är"),
    "table.at": ("when", "när"),
    "table.kind": ("kind", "slag"),
    "table.gai": ("GAI", "GAI"),
    "table.other": ("from or to", "från eller till"),
    "table.note": ("request or reason", "förfrågan eller anledning"),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
