"""What must be there before the first process starts: folders, ports, certificates, keys."""

import socket

from garage_ai.local.errors import Unfit
from garage_ai.local.folders import Folders
from garage_ai.local.nats_server import NatsServer, NatsServerError, find_program
from garage_ai.local.places import EVERYWHERE, Place, UpOptions, bind_host
from garage_ai.local.ports import check_free, free_run
from garage_ai.local.tls import (
    Certificates,
    TlsError,
    check_trusted,
    given_certificates,
    own_certificates,
)
from garage_ai.network.authority import Authority
from garage_ai.network.authority_errors import AuthorityError
from garage_ai.wire.secret_files import SecretFileError, make_private_folder


def prepare(folders: Folders) -> None:
    """Make the folders, for their owner alone. Raises: Unfit."""
    try:
        for folder in (folders.data, folders.run, folders.logs):
            make_private_folder(folder)
    except OSError as error:
        raise Unfit(f"{folders.data} cannot be used: {error.strerror}") from error


def settle(options: UpOptions, folders: Folders) -> tuple[Place, NatsServer]:
    """Decide on ports, make keys and certificates that are missing.

    Raises: PortTaken, Unfit.
    """
    bind = bind_host(options)
    port, nats_port = _ports(options, bind)
    try:
        # Looked for first: without it there is nothing to prepare.
        program = find_program()
        certificates = _certificates(options, folders)
        place = Place(bind, port, nats_port, _name(options, bind), certificates)
        server = NatsServer(
            Authority.open_or_create(folders.nats),
            folders.nats,
            folders.logs,
            host=bind,
            port=nats_port,
            tls=certificates.files if certificates else None,
            insecure=options.insecure,
            program=program,
        )
    except (AuthorityError, NatsServerError, TlsError, SecretFileError) as error:
        raise Unfit(str(error)) from error
    except OSError as error:
        raise Unfit(f"{error.filename or folders.data}: {error.strerror}") from error
    return place, server


def _ports(options: UpOptions, bind: str) -> tuple[int, int]:
    try:
        # Ours are held by nobody yet: three in a row keep chosen ones from colliding.
        nats_port = options.nats_port or free_run(bind, 2)
        port = options.port or free_run(bind, 1)
        while port in (nats_port, nats_port + 1):
            port = free_run(bind, 1)
        check_free(bind, port, "--port")
        check_free(bind, nats_port, "--nats-port")
        check_free(bind, nats_port + 1, "--nats-port")
    except OSError as error:
        raise Unfit(f"cannot listen on {bind}: {error.strerror}") from error
    return port, nats_port


def _certificates(options: UpOptions, folders: Folders) -> Certificates | None:
    if not options.public:
        return None
    if options.cert is None or options.key is None:
        return own_certificates(folders.tls, options.public)
    given = given_certificates(options.cert.absolute(), options.key.absolute(), options.public)
    check_trusted(given.files, options.public)
    _check_resolves(options.public)
    return given


def _check_resolves(host: str) -> None:
    """Find out whether this machine knows the name that the certificate is for. Raises: Unfit."""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise Unfit(
            f"{host} is not known here ({error.strerror}), but our own processes dial that name, "
            f"which is the certificate's; a line '127.0.0.1 {host}' in /etc/hosts is enough"
        ) from error


def _name(options: UpOptions, bind: str) -> str:
    """Say by which name others reach this machine."""
    if options.public:
        return options.public
    return _own_address() if bind == EVERYWHERE else bind


def _own_address() -> str:
    """Give the address this machine has towards others; loopback when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: connecting a datagram socket only looks up the route (TEST-NET-1).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
    return address


__all__ = ["prepare", "settle"]
