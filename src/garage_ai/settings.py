"""Every setting of the gateway, typed, with its default and its reason; read once, from `GAI_*`.

Node and client commands read theirs in `cli`; `ClientSettings` describes the latter.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from garage_ai.data_folder import default_data_dir


class _Settings(BaseSettings):
    # Set to nothing is not set: compose files and unit files leave variables empty.
    model_config = SettingsConfigDict(
        env_prefix="GAI_", env_ignore_empty=True, frozen=True, extra="ignore"
    )


def _in_full(path: Path | None) -> Path | None:
    """Put the user's home in the place of a `~`, as a shell does. Raises: ValueError."""
    try:
        return None if path is None else path.expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such user") from error


class GatewaySettings(_Settings):
    """What a gateway needs to know."""

    host: Annotated[str, Field(description="Address to listen on; loopback unless TLS is on.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="Port of the HTTP API.")] = 8000
    data_dir: Annotated[
        Path, AfterValidator(_in_full), Field(description="Folder for keys, database and logs.")
    ] = Field(default_factory=default_data_dir)
    database_url: Annotated[
        str | None,
        Field(
            description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE; "
            "the file garage.db in data_dir if unset."
        ),
    ] = None
    nats_urls: Annotated[
        str,
        Field(description="Where the gateway reaches NATS; comma-separated, in order."),
    ] = "nats://127.0.0.1:4222"
    node_nats_urls: Annotated[
        str | None,
        Field(description="What nodes are told to dial, in order; nats_urls if unset."),
    ] = None
    authority_dir: Annotated[
        Path | None,
        AfterValidator(_in_full),
        Field(description="Folder with the network's operator keys; data_dir/nats if unset."),
    ] = None
    tls_cert: Annotated[
        Path | None,
        AfterValidator(_in_full),
        Field(description="Certificate chain (PEM) for HTTPS."),
    ] = None
    tls_key: Annotated[
        Path | None, AfterValidator(_in_full), Field(description="Private key (PEM) of tls_cert.")
    ] = None
    tls_ca: Annotated[
        Path | None,
        AfterValidator(_in_full),
        Field(description="CA (PEM) that nodes pin; its fingerprint travels in node tokens."),
    ] = None
    insecure: Annotated[bool, Field(description="Allow listening beyond loopback without TLS.")] = (
        False
    )
    cors_origins: Annotated[
        str, Field(description="Origins a browser may call from, comma-separated; * for any.")
    ] = ""
    max_body: Annotated[
        int, Field(ge=1024, description="Largest request body in bytes; 8 MB holds images as data.")
    ] = 8_000_000
    max_answer: Annotated[
        int,
        Field(
            ge=1024, description="Largest answer of a node in bytes; embeddings are the largest."
        ),
    ] = 64_000_000
    queue_size: Annotated[
        int, Field(ge=0, description="Requests that may wait while every node is busy.")
    ] = 256
    queue_seconds: Annotated[float, Field(gt=0, description="Longest wait for a free node.")] = 30.0
    connect_seconds: Annotated[
        float, Field(gt=0, description="Longest wait for the gateway's own link to NATS.")
    ] = 2.0
    accepted_seconds: Annotated[
        float,
        Field(gt=0, description="Longest wait for a node to take a job; a home line is < 100 ms."),
    ] = 3.0
    first_byte_seconds: Annotated[
        float,
        Field(gt=0, description="Longest prefill of a streamed chat: a long prompt, a small card."),
    ] = 120.0
    silence_seconds: Annotated[
        float, Field(gt=0, description="Without any frame for so long a node is lost.")
    ] = 5.0
    total_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=86_400,  # a node takes no job that may run longer (frames.Open)
            description="Longest a chat may run, or a batch answer without a first word.",
        ),
    ] = 900.0
    retries: Annotated[
        int, Field(ge=0, le=10, description="Other nodes tried before the first content.")
    ] = 3
    allow_unsandboxed: Annotated[
        bool,
        Field(description="Let nodes serve without a sandbox, or one whose limits do not hold."),
    ] = False
    min_agent: Annotated[
        str | None,
        Field(
            pattern=r"^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$",
            description="Oldest agent that gets work, X.Y.Z; any if unset: all so far work.",
        ),
    ] = None
    node_jwt_days: Annotated[
        int, Field(ge=1, le=365, description="Life of a node's JWT; renewed after two thirds.")
    ] = 30
    limits_fail: Annotated[
        Literal["open", "closed"],
        Field(description="Keys with limits, the database away: closed refuses, open lets in."),
    ] = "closed"
    default_rpm: Annotated[
        int | None,
        Field(ge=0, description="Requests a minute of members' new keys; no limit if unset."),
    ] = None
    default_tpm: Annotated[
        int | None,
        Field(ge=0, description="Tokens a minute of members' new keys; no limit if unset."),
    ] = None
    default_streams: Annotated[
        int | None,
        Field(ge=0, description="Requests at a time of members' new keys; no limit if unset."),
    ] = None
    fee_permille: Annotated[
        int, Field(ge=0, le=1000, description="Thousandths of a charge that the network keeps.")
    ] = 50
    grant: Annotated[
        int,
        Field(
            ge=0,
            le=100_000_000,  # no entry of the books is larger (rules.MAX_AMOUNT)
            description="GAI to which a member who comes is topped up each month.",
        ),
    ] = 5
    escrow_permille: Annotated[
        int,
        Field(ge=0, le=1000, description="Thousandths held back of what a new node earns."),
    ] = 500
    escrow_days: Annotated[
        int, Field(ge=0, description="Days until a node can have proved itself; a whole week.")
    ] = 7
    escrow_work: Annotated[
        int,
        Field(ge=0, description="GAI that it must earn of at least three others to prove itself."),
    ] = 5
    stipend_permille: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="Thousandths of a GAI for an hour that a proved reference card is warm; "
            "less than its power when idle, beside that at work.",
        ),
    ] = 5
    stipend_mint: Annotated[
        int, Field(ge=0, description="Most GAI minted in an hour for all stipends together.")
    ] = 2
    batch_store: Annotated[
        str | None,
        Field(
            pattern=r"^s3://[^/]+(/.*)?$",
            description="s3://BUCKET/PREFIX for the files of batches, reached as AWS_ENDPOINT_URL, "
            "AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say; "
            "the folder files in data_dir if unset.",
        ),
    ] = None
    batch_max_file: Annotated[
        int, Field(ge=1024, description="Largest file of requests in bytes; a million short ones.")
    ] = 1_000_000_000
    batch_max_lines: Annotated[
        int, Field(ge=1, description="Most lines of a file, each of which is a request.")
    ] = 1_000_000
    batch_member_bytes: Annotated[
        int,
        Field(ge=1024, description="Bytes of a member's files together, results too."),
    ] = 10_000_000_000
    batch_member_files: Annotated[
        int, Field(ge=1, description="Files of a member together, results too.")
    ] = 10_000
    batch_uploads: Annotated[
        int,
        Field(
            ge=1,
            description="Files that a gateway takes in at a time; "
            "each holds up to three parts of 8 MiB on its way to a bucket.",
        ),
    ] = 32
    batch_member_uploads: Annotated[
        int,
        Field(ge=1, description="Those of one member: eight members before nobody else has one."),
    ] = 4
    batch_member_active: Annotated[
        int, Field(ge=1, description="Batches that a member may have under way at a time.")
    ] = 20
    batch_member_lines: Annotated[
        int,
        Field(
            ge=1,
            description="Unanswered lines in a member's batches from which on no other is taken or "
            "begun; two of the largest files.",
        ),
    ] = 2_000_000
    batch_file_days: Annotated[
        int, Field(ge=1, le=3650, description="Days that a file is kept if its owner says nothing.")
    ] = 30
    batch_lease_seconds: Annotated[
        float,
        Field(
            ge=1,
            description="After so long a killed gateway's items of batches go to another; "
            "each gateway renews its own three times as often.",
        ),
    ] = 30.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="What is worth a line.")
    ] = "info"


class ClientSettings(_Settings):
    """How the client commands reach a gateway."""

    gateway: Annotated[str | None, Field(description="Base URL of the gateway.")] = None
    api_key: Annotated[SecretStr | None, Field(description="Key for the gateway.")] = None


__all__ = ["ClientSettings", "GatewaySettings"]
