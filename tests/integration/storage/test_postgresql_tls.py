"""PostgreSQL over TLS: encrypted where the URL asks for it, refused where it is another server."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.processes import free_ports
from sqlalchemy import text
from tests.parts.postgresql import USER, Cluster

from garage_ai.storage import DatabaseUnreachable, Storage, StorageError

pytestmark = [pytest.mark.anyio, pytest.mark.system]


def certificate(folder: Path, name: str) -> Path:
    """Make a key and a certificate for `localhost` that vouches for itself."""
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    who = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *who, *files],
        check=True,
        capture_output=True,
    )
    return folder / f"{name}.crt"


@pytest.fixture
def place(killable_tls: Cluster) -> str:
    return f"postgresql://{USER}@localhost:{killable_tls.port}/{killable_tls.create()}"


@pytest.fixture
def killable_tls(tmp_path: Path) -> Iterator[Cluster]:
    port = free_ports()
    made = certificate(tmp_path, "server")
    cluster = Cluster.make(
        listen_addresses="localhost",
        port=str(port),
        ssl="on",
        ssl_cert_file="server.crt",
        ssl_key_file="server.key",
        put=(made, made.with_suffix(".key")),
    )
    try:
        yield cluster
    finally:
        cluster.stop()


async def is_encrypted(url: str) -> bool:
    storage = await Storage.open(url)
    try:
        async with storage.read() as connection:
            asked = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            return bool(await connection.scalar(asked))
    finally:
        await storage.close()


async def test_tls_by_the_url(place: str, tmp_path: Path) -> None:
    """Whoever asks for it gets it; whoever names a CA gets no other server than its own."""
    assert await is_encrypted(f"{place}?sslmode=require")
    assert not await is_encrypted(f"{place}?sslmode=disable")
    trusted = f"sslrootcert={tmp_path / 'server.crt'}"
    assert await is_encrypted(f"{place}?sslmode=verify-full&{trusted}")
    stranger = f"sslrootcert={certificate(tmp_path, 'stranger')}"
    with pytest.raises(DatabaseUnreachable):
        await is_encrypted(f"{place}?sslmode=verify-full&{stranger}")
    other_name = place.replace("localhost", "127.0.0.1")
    with pytest.raises(StorageError):
        await is_encrypted(f"{other_name}?sslmode=verify-full&{trusted}")
