"""What `gai group plan` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help.plan": (
        (
            "Say how given rigs would run a published model together, or why they cannot; nothing "
            "is loaded, and none of them has to be there."
        ),
        (
            "Visa hur givna datorer skulle köra en publicerad modell tillsammans, eller varför "
            "det inte går; inget läses in, och ingen av dem behöver finnas."
        ),
    ),
    "argument.model": (
        "a published model, or how its name begins: Qwen3-Next",
        "en publicerad modell, eller hur namnet börjar: Qwen3-Next",
    ),
    "option.rig": (
        "The cards of a PC, by GiB or by name, once for each PC: 16,16 or 'RTX 3090,RTX 3090'.",
        (
            "En dators kort, med GiB eller namn, en gång för varje dator: 16,16 eller 'RTX "
            "3090,RTX 3090'."
        ),
    ),
    "option.gbit": (
        "Gbit/s between any two of the PCs, as measured or as their cable is sold.",
        "Gbit/s mellan vilka två av datorerna som helst, uppmätt eller som kabeln säljs.",
    ),
    "option.rtt_ms": (
        "Round trip between any two of the PCs, in milliseconds.",
        "Fram och åter mellan vilka två av datorerna som helst, i millisekunder.",
    ),
    "option.form": (
        "Plan for this quantisation alone.",
        "Räkna bara på den här kvantiseringen.",
    ),
    "option.context": (
        "Tokens of context to hope for; 32768 if not given.",
        "Kontext i token att hoppas på; annars 32768.",
    ),
    "option.sequences": (
        "Requests at a time to hope for; 8 if not given.",
        "Samtidiga förfrågningar att hoppas på; annars 8.",
    ),
    "no_such_model": (
        "{model!r} is not the name of one known model.",
        "{model!r} är inte namnet på en känd modell.",
    ),
    "no_such_model.next": (
        "Choose one of: {names}",
        "Välj en av: {names}",
    ),
    "no_such_form": (
        "There is no quantisation {form!r}.",
        "Kvantiseringen {form!r} finns inte.",
    ),
    "no_such_form.next": (
        "Choose one of: {names}",
        "Välj en av: {names}",
    ),
    "no_such_card": (
        "There is no card {card!r} in the table; known: {known}.",
        "Kortet {card!r} finns inte i tabellen; kända: {known}.",
    ),
    "no_such_card.next": (
        "Give its memory in GiB instead: --rig 12,12",
        "Ange minnet i GiB i stället: --rig 12,12",
    ),
    "no_such_size": (
        "A card has 1 to 1024 GiB, not {size}.",
        "Ett kort har 1 till 1024 GiB, inte {size}.",
    ),
    "empty_rig": (
        "A rig without cards.",
        "En dator utan kort.",
    ),
    "empty_rig.next": (
        "Name its cards with commas between: --rig 16,16",
        "Räkna upp korten med komma emellan: --rig 16,16",
    ),
    "half_a_link": (
        "--gbit and --rtt-ms belong together.",
        "--gbit och --rtt-ms hör ihop.",
    ),
    "half_a_link.next": (
        "Measure both, or try: --gbit 1 --rtt-ms 0.3",
        "Mät båda, eller prova: --gbit 1 --rtt-ms 0.3",
    ),
    "fits": (
        "{model} as {form} on {rigs}: tensor parallel {tensor}, pipeline {pipeline}",
        "{model} som {form} på {rigs}: tensorparallell {tensor}, pipeline {pipeline}",
    ),
    "size": (
        "{context} tokens of context, {sequences} requests at once",
        "{context} token kontext, {sequences} förfrågningar samtidigt",
    ),
    "pace": (
        (
            "about {alone:.0f} tokens/s for one answer, {together:.0f} for all together; of a "
            "token {reading_ms} ms are reading, {starting_ms} starting kernels, {exchange_ms} "
            "waiting for other cards"
        ),
        (
            "ungefär {alone:.0f} token/s för ett svar, {together:.0f} för alla tillsammans; av en "
            "token är {reading_ms} ms läsning, {starting_ms} start av beräkningar, {exchange_ms} "
            "väntan på andra kort"
        ),
    ),
    "refused": (
        "{model} does not run on this group:",
        "{model} går inte på den här gruppen:",
    ),
    "left_out": (
        "{rig}: a PC lends cards of one kind, here {kind}; not used are {cards}",
        "{rig}: en dator lånar ut kort av ett slag, här {kind}; oanvända är {cards}",
    ),
    "estimate": (
        (
            "Computed from published figures, not measured: memory may differ by a GiB, speed by "
            "half. A card given by its GiB is taken for the slowest known of that size."
        ),
        (
            "Beräknat ur publicerade uppgifter, inte mätt: minnet kan skilja en GiB, farten det "
            "halva. Ett kort som anges med GiB räknas som det långsammaste kända av den "
            "storleken."
        ),
    ),
    "no_card": (
        "the group has no card; add a rig that has one",
        "gruppen har inget kort; lägg till en dator som har ett",
    ),
    "no_form": (
        "it comes in no form that vLLM runs over several cards; see gai models --fits for one PC",
        (
            "den finns inte i någon form som vLLM kör över flera kort; se gai models --fits för "
            "en dator"
        ),
    ),
    "card_too_old": (
        (
            "{rig}: {card} has compute capability {compute}, {form} needs {wanted}; leave it out "
            "or choose another form"
        ),
        (
            "{rig}: {card} har beräkningsförmåga {compute}, {form} behöver {wanted}; utelämna det "
            "eller välj en annan form"
        ),
    ),
    "unequal_cards": (
        (
            "{rigs}: tensor parallel needs equal cards, and these differ: {cards}; put equal ones "
            "together"
        ),
        "{rigs}: tensorparallellt kräver lika kort, och de här är olika: {cards}; sätt ihop lika",
    ),
    "heads_indivisible": (
        (
            "{heads} {what} heads cannot be divided among {tensor} cards; use a number that "
            "divides them"
        ),
        "{heads} {what} kan inte delas på {tensor} kort; ta ett antal som delar dem",
    ),
    "heads.attention": (
        "attention",
        "attentionhuvuden",
    ),
    "heads.key": (
        "key",
        "nyckelhuvuden",
    ),
    "heads.linear": (
        "linear-attention",
        "linjära attentionhuvuden",
    ),
    "experts_too_narrow": (
        (
            "a width of {width} cannot be cut into {tensor} parts of whole blocks of {block}, "
            "which {form} needs; use fewer cards in a set"
        ),
        (
            "bredden {width} kan inte delas i {tensor} delar av hela block om {block}, som {form} "
            "kräver; ta färre kort tillsammans"
        ),
    ),
    "too_many_stages": (
        "{pipeline} stages are more than its {layers} layers; use fewer cards",
        "{pipeline} steg är fler än dess {layers} lager; ta färre kort",
    ),
    "processors_in_a_row": (
        (
            "vLLM has no pipeline on processors, and this needs {pipeline} stages; join them with "
            "a cable of 10 Gbit/s"
        ),
        (
            "vLLM har ingen pipeline på processorer, och det här kräver {pipeline} steg; koppla "
            "ihop dem med en kabel för 10 Gbit/s"
        ),
    ),
    "no_such_set": (
        (
            "no set of {tensor} cards can be had of {cards} in {rigs} rigs, equally many from "
            "each; ask for another number"
        ),
        (
            "{tensor} kort tillsammans går inte att få av {cards} i {rigs} datorer, lika många ur "
            "varje; be om ett annat antal"
        ),
    ),
    "link_unmeasured": (
        "nothing is known of what is between {one} and {other}; give --gbit and --rtt-ms",
        "inget är känt om vad som finns mellan {one} och {other}; ange --gbit och --rtt-ms",
    ),
    "trip_too_long": (
        "{one} to {other} and back takes {rtt_ms} ms, {limit_ms} is the limit; join them by cable",
        (
            "{one} till {other} och tillbaka tar {rtt_ms} ms, gränsen är {limit_ms}; koppla ihop "
            "dem med kabel"
        ),
    ),
    "link_too_narrow": (
        (
            "tensor parallel over {one} and {other} needs {limit_gbit} Gbit/s, there are {gbit}; "
            "a pipeline does with less"
        ),
        (
            "tensorparallellt över {one} och {other} kräver {limit_gbit} Gbit/s, det finns "
            "{gbit}; en pipeline klarar sig med mindre"
        ),
    ),
    "memory_short": (
        (
            "{form}: the weights alone are {weights} GiB; on {cards} cards (rigs {rigs}, tensor "
            "parallel {tensor}, pipeline {pipeline}) the fullest card needs {needed} GiB and has "
            "{room}: short by {short} GiB on each; add cards or choose a smaller model"
        ),
        (
            "{form}: bara vikterna är {weights} GiB; på {cards} kort (datorer {rigs}, "
            "tensorparallell {tensor}, pipeline {pipeline}) behöver det fullaste kortet {needed} "
            "GiB och har {room}: det fattas {short} GiB på varje; lägg till kort eller välj en "
            "mindre modell"
        ),
    ),
    "column.rig": (
        "rig",
        "dator",
    ),
    "column.card": (
        "card",
        "kort",
    ),
    "column.stage": (
        "stage",
        "steg",
    ),
    "column.part": (
        "part",
        "del",
    ),
    "column.layers": (
        "layers",
        "lager",
    ),
    "column.weights": (
        "weights",
        "vikter",
    ),
    "column.cache": (
        "cache",
        "cache",
    ),
    "column.other": (
        "other",
        "övrigt",
    ),
    "column.room": (
        "of GiB",
        "av GiB",
    ),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
