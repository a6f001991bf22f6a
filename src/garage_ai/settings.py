"""Every setting, typed, with its default and its reason; read once, from `GAI_*`.

`GAI_GATEWAY` and `GAI_API_KEY` belong to the client commands and are read by the command line.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from garage_ai.data_folder import default_data_dir


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="GAI_", frozen=True, extra="ignore")


class GatewaySettings(_Settings):
    """What a gateway needs to know."""

    host: Annotated[str, Field(description="Address to listen on; loopback unless TLS is on.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="Port of the HTTP API.")] = 8000
    data_dir: Annotated[Path, Field(description="Folder for keys, database and logs.")] = Field(
        default_factory=default_data_dir
    )
    database_url: Annotated[
        str | None,
        Field(description="sqlite:///FILE; the file garage.db in data_dir if unset."),
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
        Field(description="Folder with the network's operator keys; data_dir/nats if unset."),
    ] = None
    public_url: Annotated[
        str | None, Field(description="The gateway's base URL as others reach it.")
    ] = None
    tls_cert: Annotated[Path | None, Field(description="Certificate chain (PEM) for HTTPS.")] = None
    tls_key: Annotated[Path | None, Field(description="Private key (PEM) of tls_cert.")] = None
    tls_ca: Annotated[
        Path | None,
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
        float, Field(gt=0, description="Longest prefill of a stream: a long prompt, a small card.")
    ] = 120.0
    silence_seconds: Annotated[
        float, Field(gt=0, description="Without any frame for so long a node is lost.")
    ] = 5.0
    total_seconds: Annotated[float, Field(gt=0, description="Longest a request may run.")] = 900.0
    retries: Annotated[
        int, Field(ge=0, le=10, description="Other nodes tried before the first content.")
    ] = 3
    allow_unsandboxed: Annotated[
        bool,
        Field(description="Let nodes serve without a sandbox, or one whose limits do not hold."),
    ] = False
    node_jwt_days: Annotated[
        int, Field(ge=1, le=365, description="Life of a node's JWT; renewed after two thirds.")
    ] = 30
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="What is worth a line.")
    ] = "info"


class ClientSettings(_Settings):
    """How the client commands reach a gateway."""

    gateway: Annotated[str | None, Field(description="Base URL of the gateway.")] = None
    api_key: Annotated[SecretStr | None, Field(description="Key for the gateway.")] = None


__all__ = ["ClientSettings", "GatewaySettings", "default_data_dir"]
