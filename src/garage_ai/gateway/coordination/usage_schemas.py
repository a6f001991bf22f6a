"""What `/api/v1/usage` gives."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from garage_ai.gateway.coordination.schemas import Given, Nano
from garage_ai.storage import UsageRecord, UsageTotal


class UsageTotalGiven(Given):
    group: str | None
    requests: int
    untold: int = Field(description="Requests whose engine told no tokens.")
    prompt_tokens: int
    completion_tokens: int
    content_events: int
    bytes_out: int
    duration_s: float

    @classmethod
    def of(cls, total: UsageTotal) -> Self:
        """Show a sum."""
        return cls.model_validate(total, from_attributes=True)


class UsagePartGiven(Given):
    node: str
    digest: str
    prompt_tokens: int | None
    completion_tokens: int | None
    content_events: int
    outcome: str = Field(
        description="`ok`, `yielded` (its owner took it back), `planned` (another went on before "
        "that), `preempted` (a batch request's slot went to a chat) or an error's code."
    )
    gap_s: float | None = Field(description="Silence before its first words, where it had any.")
    counted_tokens: int | None = Field(description="Of its text, as the gateway counted them.")


class UsageRecordGiven(Given):
    request_id: str
    at: datetime
    member: str
    key_id: str
    route: str
    model: str
    digest: str | None
    node: str | None = Field(description="The one that began to answer.")
    outcome: str
    stream: bool
    prompt_tokens: int | None = Field(description="The engine's word.")
    completion_tokens: int | None = Field(description="The engine's word.")
    counted_prompt_tokens: int | None = Field(
        description="As the gateway counted them: what is billed. Null where nothing was delivered."
    )
    counted_completion_tokens: int | None
    count_source: Literal["tokenizer", "rule"] | None = Field(
        description="By the model's own tokenizer, or by a rule where none is known."
    )
    content_events: int
    bytes_out: int
    ttft_s: float | None
    duration_s: float
    attempts: int
    parts: list[UsagePartGiven] = Field(
        description="Each node's part, where a stream went on at another; empty otherwise."
    )
    charge: Nano | None = Field(description="nGAI; null where nothing was ever promised.")
    caller_id: str | None = Field(description="The client's `x-client-request-id`.")

    @classmethod
    def of(cls, record: UsageRecord) -> Self:
        """Show a record."""
        return cls.model_validate(record, from_attributes=True)


class UsageGiven(Given):
    totals: list[UsageTotalGiven]
    records: list[UsageRecordGiven] = Field(description="Newest first.")
    before: int | None = Field(description="Ask with it for older records; null at the end.")
