"""Members and the model names that they claim."""

import asyncio

import pytest
from sqlalchemy import event

from garage_ai.accounts import (
    OPERATOR,
    ClaimNotFound,
    ExternalModels,
    InvalidField,
    MemberId,
    MemberNotFound,
    Members,
    external_models,
)
from garage_ai.audit.models import Action
from garage_ai.audit.service import AuditLog
from garage_ai.storage import Storage
from garage_ai.wire.ids import Digest

pytestmark = pytest.mark.anyio

ONE, TWO = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)


@pytest.fixture
def models(storage: Storage) -> ExternalModels:
    return ExternalModels(storage)


@pytest.fixture
async def anna(storage: Storage) -> MemberId:
    return (await Members(storage).add("Anna")).id


async def test_the_operator_is_a_member(storage: Storage) -> None:
    """The built-in member is there before anybody joins."""
    members = Members(storage)
    assert [member.name for member in await members.list()] == ["the operator of this network"]
    assert (await members.get(OPERATOR)).id == OPERATOR


async def test_members_are_added(storage: Storage) -> None:
    """A member gets an id and keeps its name; an unknown one is not found."""
    members = Members(storage)
    anna = await members.add("  Anna ")
    assert anna.id.startswith("mbr_")
    assert await members.get(anna.id) == anna
    with pytest.raises(MemberNotFound):
        await members.get(MemberId("mbr_nobody"))
    with pytest.raises(InvalidField):
        await members.add("")


async def test_a_free_name_is_given_at_once(models: ExternalModels) -> None:
    """The first who claims it has it, and claiming again changes nothing."""
    claim = await models.claim("llama3:8b", OPERATOR, ONE, in_catalogue=False)
    assert claim.state == "approved"
    assert await models.claim("llama3:8b", OPERATOR, ONE, in_catalogue=False) == claim


async def test_another_members_name_needs_an_admin(models: ExternalModels, anna: MemberId) -> None:
    """The second waits until an admin allows it; the first is not disturbed."""
    first = await models.claim("llama3:8b", OPERATOR, ONE, in_catalogue=False)
    assert (await models.claim("llama3:8b", anna, TWO, in_catalogue=False)).state == "pending"
    assert (await models.claim("llama3:8b", anna, TWO, in_catalogue=False)).state == "pending"
    approved = await models.approve("llama3:8b", anna)
    assert approved.state == "approved"
    assert await models.approve("llama3:8b", anna) == approved
    assert await models.list() == [first, approved]


async def test_the_catalogues_names_need_an_admin(models: ExternalModels) -> None:
    """A name of the catalogue waits; once an admin allowed it, it stays allowed."""
    claim = await models.claim("garage-chat", OPERATOR, ONE, in_catalogue=True)
    assert claim.state == "pending"
    await models.approve("garage-chat", OPERATOR)
    claim = await models.claim("garage-chat", OPERATOR, ONE, in_catalogue=True)
    assert claim.state == "approved"


async def test_a_name_that_the_catalogue_takes_is_lost(models: ExternalModels) -> None:
    """What nobody had to allow is asked again when the catalogue has the name."""
    await models.claim("qwen", OPERATOR, ONE, in_catalogue=False)
    assert (await models.claim("qwen", OPERATOR, ONE, in_catalogue=True)).state == "pending"


async def test_other_files_under_a_name_are_no_new_act(
    models: ExternalModels, storage: Storage
) -> None:
    """Two PCs of one member with other files claim it with each beat; the log is told once."""
    for digest in (ONE, TWO, ONE, TWO):
        await models.claim("qwen", OPERATOR, digest, in_catalogue=False)
    acts = [each.action for each in await AuditLog(storage).following()]
    assert acts == [Action.MODEL_CLAIMED]


async def test_a_name_claimed_again_with_the_same_files_is_not_written(
    models: ExternalModels, storage: Storage
) -> None:
    """Only a digest that is another changes the row."""
    await models.claim("qwen", OPERATOR, ONE, in_catalogue=False)
    said = list[str]()
    engine = storage._writer.sync_engine

    def note(_: object, __: object, statement: str, *___: object) -> None:
        said.append(statement.split(maxsplit=1)[0])

    event.listen(engine, "before_cursor_execute", note)
    await models.claim("qwen", OPERATOR, ONE, in_catalogue=False)
    assert "UPDATE" not in said
    claim = await models.claim("qwen", OPERATOR, TWO, in_catalogue=False)
    event.remove(engine, "before_cursor_execute", note)
    assert (said.count("UPDATE"), claim.digest) == (1, TWO)


async def test_a_withdrawn_name_is_free(models: ExternalModels, anna: MemberId) -> None:
    """After the first gave it up the next claim is approved."""
    await models.claim("qwen", OPERATOR, ONE, in_catalogue=False)
    await models.withdraw("qwen", OPERATOR)
    assert (await models.claim("qwen", anna, TWO, in_catalogue=False)).state == "approved"
    with pytest.raises(ClaimNotFound):
        await models.withdraw("qwen", OPERATOR)
    with pytest.raises(ClaimNotFound):
        await models.approve("qwen", OPERATOR)


async def test_claims_at_once_give_one_owner(
    models: ExternalModels, anna: MemberId, database: str
) -> None:
    """Two members claim a free name through two engines: one has it, one waits."""
    other = await Storage.open(database)
    claims = await asyncio.gather(
        models.claim("qwen", OPERATOR, ONE, in_catalogue=False),
        ExternalModels(other).claim("qwen", anna, TWO, in_catalogue=False),
    )
    await other.close()
    assert sorted(claim.state for claim in claims) == ["approved", "pending"]


async def test_a_members_claims_are_bounded(
    models: ExternalModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node may tell any names it likes, without end; those that were claimed stay."""
    monkeypatch.setattr(external_models, "MOST_NAMES", 2)
    for name in ("one", "two"):
        await models.claim(name, OPERATOR, ONE, in_catalogue=False)
    with pytest.raises(InvalidField):
        await models.claim("three", OPERATOR, ONE, in_catalogue=False)
    assert (await models.claim("two", OPERATOR, TWO, in_catalogue=False)).state == "approved"
    assert [claim.name for claim in await models.list()] == ["one", "two"]


async def test_a_claim_needs_a_member_and_a_name(models: ExternalModels) -> None:
    """Nobody cannot claim, and nothing cannot be claimed."""
    with pytest.raises(MemberNotFound):
        await models.claim("qwen", MemberId("mbr_nobody"), ONE, in_catalogue=False)
    with pytest.raises(InvalidField):
        await models.claim("\n", OPERATOR, ONE, in_catalogue=False)
