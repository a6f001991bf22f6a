"""What `gai batch` says, in English and Swedish."""

from datetime import datetime
from decimal import Decimal
from typing import Final

from garage_ai.cli.batch_progress import Progress
from garage_ai.cli.batch_shapes import Batch, Dedicated, InputError
from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "Many requests as one file, answered when there is room for them.",
        "Många förfrågningar i en fil, besvarade när det finns plats.",
    ),
    "help.submit": (
        "Submit a batch: requests as JSON lines, or a CSV file or folder with a template.",
        "Lämna in en batch: förfrågningar som JSON-rader, eller en CSV-fil eller mapp med en mall.",
    ),
    "help.get": ("Show a batch.", "Visa en batch."),
    "help.list": ("List your batches, newest first.", "Visa dina batcher, de nyaste först."),
    "help.cancel": (
        "Let nothing more of a batch begin; what is answered stays.",
        "Låt inget mer av en batch börja; det som är besvarat finns kvar.",
    ),
    "help.results": (
        "Print the answers of a batch, as JSON lines.",
        "Skriv en batchs svar, som JSON-rader.",
    ),
    "argument.file": (
        "JSON lines as OpenAI's Batch API takes them, a .csv or .tsv file, or a folder of prompts.",
        "JSON-rader som i OpenAI:s Batch-API, en .csv- eller .tsv-fil, eller en mapp med frågor.",
    ),
    "argument.batch": ("The batch's id, as `gai batch list` shows.", "Id ur `gai batch list`."),
    "option.template": (
        (
            "What each row asks, with {{column}} for its cells; a folder has {{name}} and "
            "{{prompt}}. {{prompt}} if not given."
        ),
        (
            "Vad varje rad frågar, med {{kolumn}} för cellerna; en mapp har {{name}} och "
            "{{prompt}}. Annars {{prompt}}."
        ),
    ),
    "option.system": (
        "How the model is to behave, the same for every row.",
        "Hur modellen ska bete sig, lika för varje rad.",
    ),
    "option.model": (
        "The model of every row; garage-chat if not given.",
        "Modellen för varje rad; annars garage-chat.",
    ),
    "option.max_tokens": (
        "Longest answer to a row in tokens; the shorter, the less is set aside for it.",
        "Längsta svar på en rad i token; ju kortare, desto mindre avsätts för det.",
    ),
    "option.window": (
        "Hours or days in which it is to be done, as 24h or 7d.",
        "Timmar eller dagar som det ska vara klart på, som 24h eller 7d.",
    ),
    "option.metadata": (
        ("Something to find it again by; may be given several times."),
        ("Något att känna igen den på; får anges flera gånger."),
    ),
    "option.isolation": (
        "Run it in engines that are made for it alone and removed after; it waits for a node.",
        "Kör den i motorer som görs för den ensam och tas bort efteråt; den väntar på en nod.",
    ),
    "option.dry_run": (
        "Print the requests instead of sending them; no gateway is needed.",
        "Skriv förfrågningarna i stället för att skicka dem; ingen gateway behövs.",
    ),
    "option.wait": (
        "Wait for its end and show how far it is; Ctrl-C leaves it running.",
        "Vänta på slutet och visa hur långt den har kommit; Ctrl-C låter den gå vidare.",
    ),
    "option.limit": ("Batches at most.", "Högst så många batcher."),
    "option.after": ("List from behind this batch.", "Visa från och med batchen efter denna."),
    "option.output": (
        "Write to a new file that only you can read.",
        "Skriv till en ny fil som bara du kan läsa.",
    ),
    "option.errors": (
        "The requests that got no answer, with the reasons.",
        "Förfrågningarna som inte fick svar, med orsakerna.",
    ),
    "sending": ("sending {name}, {size}", "skickar {name}, {size}"),
    "submitted": (
        "Submitted. `gai batch get --wait` with this id waits for its end:",
        "Inlämnad. `gai batch get --wait` med detta id väntar på slutet:",
    ),
    "wait.away": (
        "The gateway cannot answer for the moment; nothing is lost. {reason}",
        "Gatewayen kan inte svara just nu; ingenting går förlorat. {reason}",
    ),
    "wait.left": (
        (
            "The batch goes on by itself. Wait again: `gai batch get {id} --wait`; "
            "stop it: `gai batch cancel {id}`."
        ),
        (
            "Batchen går vidare av sig själv. Vänta igen: `gai batch get {id} --wait`; "
            "stoppa den: `gai batch cancel {id}`."
        ),
    ),
    "cancelled": (
        "{id} is {status}; `gai batch results {id}` gives what is answered by its end.",
        "{id}: {status}; `gai batch results {id}` ger det som är besvarat när den är slut.",
    ),
    "list.none": ("No batches yet.", "Inga batcher än."),
    "list.more": ("Older ones: --after {id}", "Äldre: --after {id}"),
    "results.done": ("{size} written to {path}.", "{size} skrivet till {path}."),
    "results.next": ("Answers: `gai batch results {id}`", "Svaren: `gai batch results {id}`"),
    "errors.next": (
        "Without an answer, and why: `gai batch results {id} --errors`",
        "Utan svar, och varför: `gai batch results {id} --errors`",
    ),
    # states
    "state.validating": ("being checked", "granskas"),
    "state.failed": ("refused", "underkänd"),
    "state.in_progress": ("running", "pågår"),
    "state.finalizing": ("being written", "skrivs ihop"),
    "state.completed": ("done", "klar"),
    "state.expired": ("out of time", "tiden slut"),
    "state.cancelling": ("being cancelled", "avbryts"),
    "state.cancelled": ("cancelled", "avbruten"),
    # progress
    "part.requests": ("{total} requests", "{total} förfrågningar"),
    "part.ended": ("{ended}/{total}", "{ended}/{total}"),
    "part.failed": ("{failed} without an answer", "{failed} utan svar"),
    "part.speed": ("{speed:.1f} tokens/s", "{speed:.1f} token/s"),
    "part.left": ("about {left} left", "ungefär {left} kvar"),
    "part.cost": ("{gai} GAI", "{gai} GAI"),
    # one batch
    "row.batch": ("batch", "batch"),
    "row.state": ("state", "läge"),
    "row.model": ("model", "modell"),
    "row.requests": ("requests", "förfrågningar"),
    "row.requests.text": (
        "{completed} of {total} answered, {failed} without an answer",
        "{completed} av {total} besvarade, {failed} utan svar",
    ),
    "row.tokens": ("tokens", "token"),
    "row.tokens.text": ("{prompt} in, {completion} out", "{prompt} in, {completion} ut"),
    "row.time": ("time", "tid"),
    "row.cost": ("cost", "kostnad"),
    "row.cost.text": ("{gai} GAI", "{gai} GAI"),
    "row.cost.reserved": (
        "{gai} GAI of {reserved} GAI set aside",
        "{gai} GAI av {reserved} GAI som är avsatta",
    ),
    "row.until": ("at the latest", "senast"),
    "row.dedicated": ("engine of its own", "egen motor"),
    "dedicated.ready": ("on {nodes}", "på {nodes}"),
    "dedicated.preparing": ("being made on {nodes}", "görs på {nodes}"),
    "dedicated.waiting": ("a node is being asked", "en nod tillfrågas"),
    "dedicated.no_node": (
        "none yet: no node serves the model just now",
        "ingen än: ingen nod har modellen just nu",
    ),
    "dedicated.not_possible": (
        "none yet: no node that serves the model makes engines for one batch alone",
        "ingen än: ingen nod som har modellen gör motorer för en enda batch",
    ),
    "dedicated.not_for_you": (
        "none yet: the nodes that could are in another region, or not lent to you",
        "ingen än: noderna som kunde det finns i en annan region eller är inte utlånade till dig",
    ),
    "dedicated.chat_first": (
        "none yet: the nodes that could are needed for chats, or for other batches",
        "ingen än: noderna som kunde det behövs för chatt eller för andra batcher",
    ),
    "dedicated.refused": (
        "none yet: a node was asked and did not do it",
        "ingen än: en nod tillfrågades och gjorde det inte",
    ),
    "line": ("line {line}: {message}", "rad {line}: {message}"),
    # tables
    "table.id": ("id", "id"),
    "table.state": ("state", "läge"),
    "table.model": ("model", "modell"),
    "table.ended": ("ended", "klara"),
    "table.total": ("requests", "förfrågningar"),
    "table.failed": ("unanswered", "utan svar"),
    "table.created": ("created", "skapad"),
    # errors
    "error.template": (
        "The template cannot be filled in: {reason}.",
        "Mallen går inte att fylla i: {reason}.",
    ),
    "error.template.next": (
        "Write {{column}} for a cell, and {{{{ and }}}} for braces themselves.",
        "Skriv {{kolumn}} för en cell, och {{{{ och }}}} för klamrar.",
    ),
    "error.only_tables": (
        "{option} is for CSV files and folders; these lines are requests already.",
        "{option} är för CSV-filer och mappar; de här raderna är redan förfrågningar.",
    ),
    "error.only_tables.next": (
        "Leave it out, or write it into each line.",
        "Utelämna den, eller skriv in den i varje rad.",
    ),
    "error.metadata": (
        "{value} is no pair NAME=VALUE.",
        "{value} är inget par NAMN=VÄRDE.",
    ),
    "error.file": ("{path}: {reason}.", "{path}: {reason}."),
    "error.empty": ("{path} holds no request.", "{path} innehåller ingen förfrågan."),
    "error.empty.next": (
        "It takes one line or file for each; a CSV file has the names of its columns first.",
        "Det behövs en rad eller fil för var och en; en CSV-fil börjar med kolumnernas namn.",
    ),
    "error.no_request": (
        "The first line of {path} is no request of a batch.",
        "Första raden i {path} är ingen förfrågan till en batch.",
    ),
    "error.no_request.next": (
        (
            "Each line is an object with custom_id, method, url and body; `--dry-run` "
            "with a CSV file shows some."
        ),
        (
            "Varje rad är ett objekt med custom_id, method, url och body; `--dry-run` "
            "med en CSV-fil visar några."
        ),
    ),
    "error.no_column": (
        "{path} has no column {column}; it has {columns}.",
        "{path} har ingen kolumn {column}; den har {columns}.",
    ),
    "error.no_column.next": (
        "Say what to ask with --template, for example 'Translate: {{column}}'.",
        "Säg vad som ska frågas med --template, till exempel 'Översätt: {{kolumn}}'.",
    ),
    "error.cells": (
        "{path}: line {line} has more or fewer cells than there are columns.",
        "{path}: rad {line} har fler eller färre celler än det finns kolumner.",
    ),
    "error.column_twice": (
        "{path} has two columns named {column}: rename one of them.",
        "{path} har två kolumner som heter {column}: byt namn på en av dem.",
    ),
    "error.too_long": (
        "{path} is longer than {bytes} bytes, which no request may be.",
        "{path} är längre än {bytes} byte, vilket ingen förfrågan får vara.",
    ),
    "error.name": ("The name {name} is not text in UTF-8.", "Namnet {name} är inte text i UTF-8."),
    "error.name.next": (
        "Rename the file, or take it out of the folder.",
        "Byt namn på filen, eller ta den ur mappen.",
    ),
    "error.not_utf8": ("{path} is not text in UTF-8.", "{path} är inte text i UTF-8."),
    "error.not_utf8.next": (
        "Save it anew as UTF-8, or take it out of the folder.",
        "Spara om den som UTF-8, eller ta den ur mappen.",
    ),
    "error.ended_badly": ("{id} ended otherwise: {status}.", "{id} slutade annorlunda: {status}."),
    "error.ended_badly.next": (
        "Correct what is named above and submit it again.",
        "Rätta det som nämns ovan och lämna in den igen.",
    ),
    "error.partly.next": (
        "What was answered by then: `gai batch results {id}`; the rest: the same with --errors.",
        "Det som hann besvaras: `gai batch results {id}`; resten: detsamma med --errors.",
    ),
    "error.not_ended": ("{id} has not ended yet: {status}.", "{id} är inte slut än: {status}."),
    "error.not_ended.next": (
        "Wait for it: `gai batch get {id} --wait`",
        "Vänta på den: `gai batch get {id} --wait`",
    ),
    "error.no_answers": ("{id} has no answers.", "{id} har inga svar."),
    "error.no_answers.next": (
        "`gai batch get {id}` says why.",
        "`gai batch get {id}` säger varför.",
    ),
    "error.no_errors": (
        "{id} has no request without an answer.",
        "{id} har ingen förfrågan utan svar.",
    ),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError for a message there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


def state_in_words(status: str) -> str:
    """Name a state; one that is not known stands for itself."""
    key = f"state.{status}"
    return say(key) if key in _WORDS else status


def progress_line(progress: Progress) -> str:
    """Put into a line how far a batch is."""
    parts = [state_in_words(progress.status)]
    if progress.status == "validating":
        if progress.total:
            parts.append(say("part.requests", total=progress.total))
    else:
        parts.append(say("part.ended", ended=progress.ended, total=progress.total))
    if progress.failed:
        parts.append(say("part.failed", failed=progress.failed))
    if progress.speed is not None:
        parts.append(say("part.speed", speed=progress.speed))
    if progress.charged is not None:
        parts.append(say("part.cost", gai=in_gai(progress.charged)))
    if progress.left is not None:
        parts.append(say("part.left", left=duration(progress.left)))
    return ", ".join(parts)


def error_line(error: InputError) -> str:
    """Say what is wrong with the input, and in which line."""
    if error.line is None:
        return error.message
    return say("line", line=error.line, message=error.message)


def rows_of(batch: Batch) -> list[tuple[str, str]]:
    """Put a batch into rows of a name and a text."""
    counts, usage = batch.request_counts, batch.usage
    rows = [("batch", batch.id), ("state", state_in_words(batch.status))]
    if batch.model:
        rows.append(("model", batch.model))
    if batch.gai.dedicated is not None:
        rows.append(("dedicated", _dedicated(batch.gai.dedicated)))
    told = {"completed": counts.completed, "total": counts.total, "failed": counts.failed}
    rows.append(("requests", say("row.requests.text", **told)))
    figures = {"prompt": usage.input_tokens, "completion": usage.output_tokens}
    tokens = say("row.tokens.text", **figures)
    if batch.seconds:
        speed = say("part.speed", speed=usage.output_tokens / batch.seconds)
        tokens = f"{tokens} ({speed})"
    rows.append(("tokens", tokens))
    if batch.seconds is not None:
        rows.append(("time", duration(batch.seconds)))
    if batch.gai.charged is not None:
        rows.append(("cost", _cost(batch, batch.gai.charged)))
    if batch.expires_at is not None and not batch.has_ended:
        rows.append(("until", moment(batch.expires_at)))
    return [(say(f"row.{name}"), text) for name, text in rows]


def _dedicated(told: Dedicated) -> str:
    key = f"dedicated.{told.reason or told.state}"
    if key not in _WORDS:
        return told.message or told.state
    return say(key, nodes=", ".join(told.nodes))


def _cost(batch: Batch, charged: str) -> str:
    reserved = batch.gai.reserved
    if batch.has_ended or reserved is None:
        return say("row.cost.text", gai=in_gai(charged))
    return say("row.cost.reserved", gai=in_gai(charged), reserved=in_gai(reserved))


def in_gai(nano: str) -> str:
    """Say nGAI as GAI, as exactly as they are kept and with no more digits than that."""
    return f"{Decimal(nano).scaleb(-9).normalize():f}"


def moment(seconds: int) -> str:
    """Say a moment in this PC's own time, to the minute."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """Say a time as people do: seconds below a minute, no seconds beyond an hour."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: int) -> str:
    """Say a number of bytes, in powers of ten."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} B"


__all__ = [
    "duration",
    "error_line",
    "in_gai",
    "moment",
    "progress_line",
    "rows_of",
    "say",
    "size",
    "state_in_words",
]
