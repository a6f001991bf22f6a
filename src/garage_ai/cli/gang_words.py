"""Why a gang is not at work, in Swedish, by the codes of `node/group/reasons.py`."""

from typing import Final

SWEDISH: Final[dict[str, str]] = {
    "paused": "ägaren har tagit tillbaka datorn",
    "not_lent": "ägaren lånar inte ut den nu",
    "looking": "den ser efter vad korten rymmer",
    "rig_lost": "{node} försvann",
    "rank_ended": "dess del har slutat",
    "rank_late": "en del svarade inte i tid",
    "rank_of": "{node}: {words}",
    "agent_failed": "agenten misslyckades",
    "led_elsewhere": "en annan dator leder",
    "other_leads": "väntar på {node}, som leder",
    "later_gang": "det fanns en senare samkörning",
    "engaged": "den är med i en annan samkörning",
    "other_model": "den har en annan modell",
    "grouped": "i grupp: den räknar åt {node}, som svarar för gruppen",
    "of_group": "gruppen {node}: {words}",
    "apart": "söker de andra datorerna",
    "reserving": "frågar de andra datorerna",
    "reserved": "ombedd att vara med",
    "starting": "startar tillsammans",
    "working": "är med",
    "serving": "svarar tillsammans",
    "ending": "släpper korten",
    "no_tunnel": (
        "gruppens eget nät är inte inrättat på {words}: där, som root: gai node doctor "
        "--fix --data-dir MAPP"
    ),
    "rigs_missing": "{n} datorer behövs, och {m} är här",
    "no_card": "gruppen har inget kort",
    "no_form": "modellen finns inte i någon form som gruppers motor kör",
    "card_too_old": "ett kort i {node} är för gammalt för {words}",
    "unequal_cards": "korten i {words} är inte lika",
    "heads_indivisible": "{n} huvuden kan inte delas på {m} kort",
    "experts_too_narrow": "bredden {n} kan inte delas i {m} delar av hela block om {k}",
    "too_many_stages": "{n} steg är fler än modellens {m} lager",
    "processors_in_a_row": "vLLM har ingen pipeline på processorer, och det här kräver {n} steg",
    "no_such_set": "{k} kort tillsammans går inte att få av {n} i {m} datorer, lika många ur varje",
    "link_unmeasured": "{node} och {other} har inte mätt vad som finns mellan dem",
    "trip_too_long": "{node} till {other} och tillbaka tar {n} ms, mer än {m}",
    "link_too_narrow": "{node} och {other} har {n} Gbit/s mellan sig, mindre än {m}",
    "memory_short": "{n} kort har {m} GiB för lite var för vad modellen behöver",
}

__all__ = ["SWEDISH"]
