"""What `gai db` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "The gateway's database. GAI_DATABASE_URL says which; garage.db in the data folder if not.",
        "Gatewayens databas. GAI_DATABASE_URL säger vilken; annars garage.db i datamappen.",
    ),
    "help.upgrade": (
        "Bring the database to this version's tables. A gateway does so too when it starts.",
        "För databasen till den här versionens tabeller. Det gör också en gateway som startar.",
    ),
    "help.check": (
        "Read all of the database and check its log. Exit code 1 if anything is wrong.",
        "Läs hela databasen och kontrollera dess logg. Slutkod 1 om något är fel.",
    ),
    "help.backup": (
        "Write the database and the network's keys into one file, also while gateways run.",
        "Skriv databasen och nätets nycklar till en enda fil, även medan gatewayer kör.",
    ),
    "help.restore": (
        "Put a backup where nothing is, in either kind of database. Cut off, it is done again.",
        "Lägg en säkerhetskopia där inget finns, i endera databasen. Avbröts det gör man om det.",
    ),
    "argument.target": (
        "The new file; a name with date and time here if not given.",
        "Den nya filen; annars ett namn med datum och tid här.",
    ),
    "argument.source": ("A file that `gai db backup` wrote.", "En fil från `gai db backup`."),
    "option.files": (
        "The files of batches too; they are large. Those in a bucket stay there.",
        "Även batchernas filer; de är stora. De som ligger i en bucket stannar där.",
    ),
    "upgraded": (
        "The database came from revision {before} to {after}.",
        "Databasen fördes från revision {before} till {after}.",
    ),
    "made": (
        "The tables were made, revision {after}.",
        "Tabellerna gjordes, revision {after}.",
    ),
    "current": (
        "The database is of revision {after} already.",
        "Databasen har redan revision {after}.",
    ),
    "sound": (
        "The database is sound: revision {revision}, {rows} rows in {tables} tables.",
        "Databasen är hel: revision {revision}, {rows} rader i {tables} tabeller.",
    ),
    "unsound": ("The database has {count} faults:", "Databasen har {count} fel:"),
    "unsound.next": (
        "Restore a backup into an empty folder with `gai db restore`, or upgrade if it is older.",
        "Återställ en kopia i en tom mapp med `gai db restore`, eller uppgradera om den är äldre.",
    ),
    "backed_up": (
        "{file} holds the database (revision {revision}) and {keys} files of keys. Keep it secret.",
        "{file} rymmer databasen (revision {revision}) och {keys} nyckelfiler. Håll den hemlig.",
    ),
    "backed_up.files": (
        "With it are {count} files of batches.",
        "Med den följer {count} filer till batcher.",
    ),
    "restored": (
        "The network of {made_at} stands in {folder}; `gai up` or `gai gateway` starts it.",
        "Nätet från {made_at} står i {folder}; `gai up` eller `gai gateway` startar det.",
    ),
    "error.storage": (
        "The database cannot be used ({code}): {message}",
        "Databasen går inte att använda ({code}): {message}",
    ),
    "error.storage.next": (
        "Look at GAI_DATABASE_URL and --data-dir, and whether the server runs.",
        "Se efter GAI_DATABASE_URL och --data-dir, och om servern är igång.",
    ),
    "error.setting": ("GAI_{name}: {message}", "GAI_{name}: {message}"),
    "error.file": ("{file} cannot be used: {reason}.", "{file} går inte att använda: {reason}."),
    "error.full.next": (
        "Make room and do it again; beside a backup there must be room for the database twice.",
        "Gör plats och gör om det; bredvid en kopia behövs plats för databasen två gånger.",
    ),
    "error.backup_file_taken": ("{file} is there already.", "{file} finns redan."),
    "error.backup_file_taken.next": (
        "Choose another name: a backup replaces nothing.",
        "Välj ett annat namn: en kopia ersätter ingenting.",
    ),
    "error.backup_nothing_there": (
        "There are no keys of a network in {folder}.",
        "Det finns inga nycklar till ett nät i {folder}.",
    ),
    "error.backup_nothing_there.next": (
        "Name the network's folder with --data-dir, or its keys with GAI_AUTHORITY_DIR.",
        "Ange nätets mapp med --data-dir, eller dess nycklar med GAI_AUTHORITY_DIR.",
    ),
    "error.backup_damaged": (
        "It is no backup, or not as it was written: {message}.",
        "Det är ingen säkerhetskopia, eller inte så som den skrevs: {message}.",
    ),
    "error.backup_damaged.next": (
        "Nothing was restored from it. Take another copy of it, or an older one.",
        "Inget återställdes ur den. Ta ett annat exemplar av den, eller en äldre.",
    ),
    "error.backup_too_new": (
        "A newer version of Garage AI wrote it: {message}.",
        "En nyare version av Garage AI skrev den: {message}.",
    ),
    "error.backup_too_new.next": (
        "Restore it with that version.",
        "Återställ den med den versionen.",
    ),
    "error.target_not_empty": (
        "A network is there already: {what}.",
        "Det finns redan ett nät där: {what}.",
    ),
    "error.target_not_empty.next": (
        "Restore into another folder with --data-dir, and into an empty database.",
        "Återställ i en annan mapp med --data-dir, och i en tom databas.",
    ),
    "error.half_restored": (
        "Another backup was begun in {folder} and not finished.",
        "En annan säkerhetskopia påbörjades i {folder} och blev inte färdig.",
    ),
    "error.half_restored.next": (
        "Restore that one to its end, or remove {left} and what came from it.",
        "Återställ den till slut, eller ta bort {left} och det som kom därifrån.",
    ),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
