"""What to do about a gateway's error, by its code, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_INVITE: Final = (
    "Copy the whole link, or ask whoever invited you for a new one.",
    "Kopiera hela länken, eller be den som bjöd in dig om en ny.",
)

_ADVICE: Final[dict[str, tuple[str, str]]] = {
    "revoked_api_key": (
        "Ask whoever runs the network for a new key.",
        "Be den som driver nätet om en ny nyckel.",
    ),
    "expired_api_key": (
        "Ask whoever runs the network for more time.",
        "Be den som driver nätet om mer tid.",
    ),
    "member_suspended": (
        "Ask whoever runs the network; another key changes nothing.",
        "Fråga den som driver nätet; en annan nyckel ändrar inget.",
    ),
    "insufficient_quota": (
        "Ask for less (--max-tokens), lend a PC, or wait for next month: gai ledger balance",
        "Be om mindre (--max-tokens), låna ut en dator eller vänta en månad: gai ledger balance",
    ),
    "context_length_exceeded": (
        "Ask something shorter; in `gai chat`, /reset forgets what was said.",
        "Fråga något kortare; i `gai chat` glömmer /reset det som är sagt.",
    ),
    "last_admin_key": (
        "Make another first: gai key create --name spare --admin",
        "Gör en annan först: gai key create --name reserv --admin",
    ),
    "model_forbidden": (
        "`gai models` shows those that your key may use.",
        "`gai models` visar dem som din nyckel får använda.",
    ),
    "model_not_found": (
        "`gai models` shows what is served, `gai models catalogue` what is known.",
        "`gai models` visar vad som körs, `gai models catalogue` vad som är känt.",
    ),
    "manifest_exists": (
        "`gai models catalogue` shows the names that are taken.",
        "`gai models catalogue` visar namnen som är upptagna.",
    ),
    "invalid_manifest": (
        "`gai models describe` makes a manifest of a file or a folder.",
        "`gai models describe` gör ett manifest av en fil eller en mapp.",
    ),
    "key_not_found": ("`gai key list` shows the keys.", "`gai key list` visar nycklarna."),
    "member_not_found": (
        "`gai member list` shows the members.",
        "`gai member list` visar medlemmarna.",
    ),
    "node_not_found": ("`gai node list` shows the nodes.", "`gai node list` visar noderna."),
    "batch_not_found": ("`gai batch list` shows yours.", "`gai batch list` visar dina."),
    "batch_ended": (
        "`gai batch results BATCH` gives what was answered.",
        "`gai batch results BATCH` ger det som är besvarat.",
    ),
    "mapping_not_found": (
        "`gai litellm list` shows what is mapped.",
        "`gai litellm list` visar vad som hör till vem.",
    ),
    "insufficient_scope": (
        "Ask whoever runs the network, or use a key with that right: `gai key create --help`.",
        "Fråga den som driver nätet, eller ta en nyckel med den rätten: `gai key create --help`.",
    ),
    "invalid_transfer": (
        "`gai ledger adjust --help` says what accounts there are.",
        "`gai ledger adjust --help` säger vilka konton som finns.",
    ),
    "overdraft": (
        "`gai ledger balance ACCOUNT` shows how much there is.",
        "`gai ledger balance KONTO` visar hur mycket som finns.",
    ),
    "invalid_invite": _INVITE,
    "invite_expired": _INVITE,
    "invite_revoked": _INVITE,
    "invite_used": _INVITE,
}


def advice(code: str | None) -> str | None:
    """Say what to do about an error, in the user's language; None where nothing is known."""
    if code not in _ADVICE:
        return None
    english, swedish = _ADVICE[code]
    return swedish if language() == "sv" else english


__all__ = ["advice"]
