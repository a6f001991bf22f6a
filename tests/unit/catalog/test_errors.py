from pathlib import Path

from garage_ai import catalog
from garage_ai.catalog import (
    CatalogError,
    DiskFull,
    NoSourceLeft,
    SourceAbsent,
    SourceBroken,
    WrongDigest,
)
from garage_ai.catalog import errors as errors_module
from garage_ai.catalog.errors import GIB


def leaves(error: type[CatalogError]) -> list[type[CatalogError]]:
    below = error.__subclasses__()
    return [leaf for each in below for leaf in leaves(each)] if below else [error]


def test_every_error_has_its_own_code() -> None:
    """Codes are what others build on: one for each error, all in the module's picture."""
    codes = [leaf.code for leaf in leaves(CatalogError)]
    told = [code for code in codes if code in (errors_module.__doc__ or "")]
    assert len(codes) == len(set(codes))
    assert told == codes


def test_disk_full_says_how_many_gib_are_missing() -> None:
    """Freeing what the message names is enough."""
    error = DiskFull(Path("/models"), needed=45 * GIB + 1, free=12 * GIB, reserve=GIB)
    assert error.missing_bytes == 34 * GIB + 1
    assert str(error).startswith("34.01 GiB are missing on the disk of /models")


def test_no_source_left_tells_every_cause() -> None:
    """The reader sees why each source failed, also when there was none."""
    assert "not these" in str(NoSourceLeft("f", (WrongDigest("not these"),)))
    assert "names no source" in str(NoSourceLeft("f", ()))


def test_what_time_may_heal_is_told_from_what_it_does_not() -> None:
    """One source whose fault may pass is enough; a file that nobody has stays away."""
    broken, absent = SourceBroken("the line is down"), SourceAbsent("there is no such page")
    assert NoSourceLeft("f", (absent, broken)).may_pass
    assert not NoSourceLeft("f", (absent, WrongDigest("not these"))).may_pass
    assert not NoSourceLeft("f", ()).may_pass
    assert DiskFull(Path("/models"), needed=2, free=1, reserve=0).may_pass
    assert not CatalogError().may_pass


def test_the_public_surface_is_complete() -> None:
    """Every error, and nothing that does not exist, is in `__all__`."""
    public = {
        name
        for name, value in vars(errors_module).items()
        if isinstance(value, type) and issubclass(value, CatalogError)
    }
    assert public <= set(catalog.__all__)
    assert all(hasattr(catalog, name) for name in catalog.__all__)
    assert len(set(catalog.__all__)) == len(catalog.__all__)
