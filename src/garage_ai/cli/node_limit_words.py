"""What `gai node limits` says, in English and Swedish."""

from typing import Final

LIMITS: Final[dict[str, tuple[str, str]]] = {
    "limits.share": (
        "Whose requests to serve: your own, those of members, or all (at first). Yours go first.",
        "Vems frågor noden svarar på: dina, medlemmars eller allas (från början). Dina går först.",
    ),
    "limits.dedicated": (
        "Let one batch have the node for itself, in a container made for it, for an hour at most.",
        "Låt en batch ha noden för sig själv, i en container som görs för den, i högst en timme.",
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
        "Memory of the card that another program may use; 1.6GB at first.",
        "Minne på kortet som ett annat program får använda; 1.6GB från början.",
    ),
    "limits.gpu_use": (
        "Percent of the card that another program may use; 50 at first.",
        "Procent av kortet som ett annat program får använda; 50 från början.",
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
    "limits.price_area": (
        "SE1, SE2, SE3 or SE4: kronor are counted then; prices are asked for once a day. Or off.",
        "SE1, SE2, SE3 eller SE4: då räknas kronor; priser hämtas en gång om dagen. Eller off.",
    ),
    "limits.max_kwh_day": (
        "Electricity that lending may draw in a day, in kWh, or off.",
        "El som utlåningen får dra under en dag, i kWh, eller off.",
    ),
    "limits.max_kwh_month": (
        "Electricity that lending may draw in a month, in kWh, or off.",
        "El som utlåningen får dra under en månad, i kWh, eller off.",
    ),
    "limits.disk": (
        "Room for fetched models, such as 200GB; what was not used longest goes first. Or off.",
        "Plats för hämtade modeller, till exempel 200GB; äldst använda tas bort först. Eller off.",
    ),
    "limits.keep": (
        "Model that is never removed; once for each. Replaces the list; `off` empties it.",
        "Modell som aldrig tas bort; en gång för varje. Ersätter listan; `off` tömmer den.",
    ),
    "limits.max_upload": (
        "Data to send in a month, such as 50GB, or off.",
        "Data att skicka under en månad, till exempel 50GB, eller off.",
    ),
    "limits.drain": (
        "Time for what runs when the reason is not urgent; 20s at first.",
        "Tid för det som pågår när skälet inte brådskar; 20s från början.",
    ),
    "limits.resume_after": (
        "How long all must be clear before the node serves again; 20s at first.",
        "Hur länge allt ska vara lugnt innan noden arbetar igen; 20s från början.",
    ),
    "limits.none": ("no limit", "ingen gräns"),
    "limits.yes": ("yes", "ja"),
    "limits.no": ("no", "nej"),
    "limits.later": (
        "no agent is running; the limits hold from its next start",
        "ingen agent är igång; gränserna gäller från nästa start",
    ),
    "limits.not_tidied": (
        "The limits are kept, but there is no room made for them: {reason}.",
        "Gränserna är sparade, men inget är borttaget för att ge plats: {reason}.",
    ),
    "limits.not_tidied.next": (
        "Put that right, then give the same command again.",
        "Rätta till det, och ge sedan samma kommando igen.",
    ),
    "limits.removed": (
        "removed to make room: {name} ({size})",
        "borttagen för att ge plats: {name} ({size})",
    ),
}

__all__ = ["LIMITS"]
