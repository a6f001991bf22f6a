"""Claims: all that can be signed can be read, and nothing else can."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.wire.claims import (
    Account,
    AccountLimits,
    Claims,
    ClaimsError,
    ExpiredClaims,
    ForgedClaims,
    NotClaims,
    Operator,
    Permission,
    UntrustedIssuer,
    User,
    decode,
    encode,
)
from garage_ai.wire.nkey import KeyPair, PublicKey, Role

OPERATOR, ACCOUNT, USER = (KeyPair.generate(role) for role in Role)
OTHERS = {role: KeyPair.generate(role) for role in Role}
SIGNERS: dict[type, KeyPair] = {Operator: OPERATOR, Account: OPERATOR, User: ACCOUNT}

times = st.integers(0, 2**40)
counts = st.integers(0, 2**50)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
subjects = st.text("abcdefgh.*>-0123456789$_", min_size=1, max_size=60)
permissions = st.builds(
    Permission,
    allow=st.lists(subjects, max_size=5).map(tuple),
    deny=st.lists(subjects, max_size=5).map(tuple),
)


def public_keys(role: Role) -> st.SearchStrategy[PublicKey]:
    """Make public keys of a role."""
    return st.binary(min_size=32, max_size=32).map(lambda raw: KeyPair(role, raw).public)


operators = st.builds(
    Operator,
    version=st.just(2),
    signing_keys=st.lists(public_keys(Role.OPERATOR), max_size=3).map(tuple),
    system_account=st.none() | public_keys(Role.ACCOUNT),
)
accounts = st.builds(
    Account,
    version=st.just(2),
    limits=st.builds(
        AccountLimits,
        subs=counts,
        data=counts,
        payload=counts,
        conn=counts,
        imports=counts,
        exports=counts,
        leaf=counts,
        disallow_bearer=st.booleans(),
    ),
    signing_keys=st.lists(public_keys(Role.ACCOUNT), max_size=3).map(tuple),
    revocations=st.dictionaries(public_keys(Role.USER) | st.just("*"), times, max_size=4),
)
users = st.builds(
    User,
    version=st.just(2),
    pub=permissions,
    sub=permissions,
    subs=counts,
    data=counts,
    payload=counts,
    issuer_account=st.none() | public_keys(Role.ACCOUNT),
    allowed_connection_types=st.lists(texts, max_size=3).map(tuple),
)
SUBJECT: dict[type, KeyPair] = {Operator: OPERATOR, Account: ACCOUNT, User: USER}
claims = st.builds(
    lambda body, name, iat, exp: Claims(
        sub=SUBJECT[type(body)].public, name=name, iat=iat, exp=exp, nats=body
    ),
    operators | accounts | users,
    texts,
    times,
    st.none() | times,
)


@given(claims)
def test_what_is_signed_is_read_back(claim: Claims) -> None:
    """Every field survives, and the issuer is who signed."""
    signer = SIGNERS[type(claim.nats)]
    read = decode(encode(claim, signer), issuers=(signer.public,))
    assert read.iss == signer.public
    assert (read.sub, read.name, read.iat, read.exp, read.nats) == (
        claim.sub,
        claim.name,
        claim.iat,
        claim.exp,
        claim.nats,
    )
    assert len(read.jti) == 52


@given(claims, st.data())
def test_a_changed_character_is_noticed(claim: Claims, data: st.DataObject) -> None:
    """A JWT with any one character changed is refused, with one of our errors."""
    text = encode(claim, SIGNERS[type(claim.nats)])
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(max_codepoint=0x2FF).filter(lambda c: c != text[at]))
    with pytest.raises(ClaimsError):
        decode(text[:at] + other + text[at + 1 :], issuers=None)


@given(claims)
def test_another_signer_is_not_trusted(claim: Claims) -> None:
    """A good signature of a key that may not sign this is refused."""
    kind = type(claim.nats)
    stranger = OTHERS[SIGNERS[kind].role]
    text = encode(claim, stranger)
    with pytest.raises(UntrustedIssuer):
        decode(text, issuers=(SIGNERS[kind].public,))
    assert decode(text, issuers=None).iss == stranger.public


@given(claims, claims)
def test_a_signature_does_not_fit_other_claims(one: Claims, two: Claims) -> None:
    """Claims under another's signature are forged, unless they are the same."""
    signer = SIGNERS[type(one.nats)]
    first = encode(one, signer)
    if type(one.nats) is not type(two.nats) or one == two:
        return
    second = encode(two, signer)
    with pytest.raises(ForgedClaims):
        decode(first.rpartition(".")[0] + "." + second.rpartition(".")[2], issuers=None)


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_-]{0,80}(\.[A-Za-z0-9_-]{0,80}){0,4}"))
def test_other_text_ends_in_a_typed_error(text: str) -> None:
    """Whatever comes, no other kind of exception leaves the decoder."""
    with pytest.raises(ClaimsError):
        decode(text, issuers=None)


json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["sub", "iss", "iat", "exp", "jti", "name", "nats"]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_signed_nonsense_is_not_claims(fields: dict[str, object]) -> None:
    """Also JSON under a good signature must have the shape of claims."""
    parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, fields | {"iss": ACCOUNT.public}]
    text = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )
    signature = base64.urlsafe_b64encode(ACCOUNT.sign(text.encode())).decode().rstrip("=")
    with pytest.raises(NotClaims):
        decode(f"{text}.{signature}", issuers=None)


@given(users, st.integers(0, 2**40), st.integers(-5, 5))
def test_the_end_is_the_end(user: User, end: int, late: int) -> None:
    """A claim is good until the second before its end."""
    text = encode(Claims(sub=USER.public, iat=0, exp=end, nats=user), ACCOUNT)
    if late < 0:
        assert decode(text, issuers=None, now=end + late).exp == end
    else:
        with pytest.raises(ExpiredClaims):
            decode(text, issuers=None, now=end + late)


@given(counts.map(lambda number: -1 - number) | st.integers(2**50 + 1, 2**62))
def test_no_limit_cannot_be_signed(limit: int) -> None:
    """Minus one, which the server reads as no limit, is refused at signing."""
    user = User(
        version=2,
        pub=Permission(allow=("a",)),
        sub=Permission(allow=("a",)),
        subs=limit,
        data=1,
        payload=1,
    )
    with pytest.raises(NotClaims):
        encode(Claims(sub=USER.public, iat=0, nats=user), ACCOUNT)


@given(users, st.sampled_from([OPERATOR, USER]))
def test_a_key_of_another_role_cannot_sign_users(user: User, signer: KeyPair) -> None:
    """Only an account's key signs users."""
    with pytest.raises(NotClaims):
        encode(Claims(sub=USER.public, iat=0, nats=user), signer)
