"""A certificate that is renewed while its network runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from garage_ai.local.renewal import Renewal
from garage_ai.local.tls import Certificates, own_certificates

pytestmark = pytest.mark.anyio

HOST = "garage.example"
NOW = datetime.now(UTC)


async def test_an_own_certificate_is_made_anew_when_it_is_due(tmp_path: Path) -> None:
    """Thirty days before its end, and those that serve it are told once."""
    told: list[bytes] = []
    made = own_certificates(tmp_path, HOST, now=NOW)
    first = made.files.cert.read_bytes()
    renewal = Renewal(made, tmp_path, HOST, lambda: told.append(made.files.cert.read_bytes()))
    await renewal.look(NOW + timedelta(days=367))
    assert (told, made.files.cert.read_bytes()) == ([], first)
    for days in (369, 370):
        await renewal.look(NOW + timedelta(days=days))
    assert told == [made.files.cert.read_bytes()]
    assert told != [first]


async def test_a_given_certificate_is_its_owners_to_renew(tmp_path: Path) -> None:
    """It is left as it is; once there is another, those that serve it are told."""
    told: list[str] = []
    files = own_certificates(tmp_path, HOST, now=NOW).files
    first = files.cert.read_bytes()
    renewal = Renewal(Certificates(files), tmp_path, HOST, lambda: told.append("told"))
    await renewal.look(NOW + timedelta(days=390))
    assert (told, files.cert.read_bytes()) == ([], first)
    files.cert.write_bytes(first + first)
    for _ in range(2):
        await renewal.look()
    assert told == ["told"]


async def test_a_key_that_comes_after_its_certificate_is_told_too(tmp_path: Path) -> None:
    """Who heard of the certificate alone refused it, and would show the old one to its end."""
    told: list[str] = []
    files = own_certificates(tmp_path / "old", HOST, now=NOW).files
    new = own_certificates(tmp_path / "new", HOST, now=NOW).files
    renewal = Renewal(Certificates(files), tmp_path, HOST, lambda: told.append("told"))
    files.cert.write_bytes(new.cert.read_bytes())
    await renewal.look()
    files.key.write_bytes(new.key.read_bytes())
    for _ in range(2):
        await renewal.look()
    assert told == ["told", "told"]
