"""What of a request becomes a prompt, and what it counts where no engine can be asked."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from garage_ai.catalog import KNOWN_CUTS, Vocabulary
from garage_ai.ledger.counting.bpe import HABITS, adds_bos, tokenizer_of
from garage_ai.ledger.counting.counter import Counter
from garage_ai.ledger.counting.errors import (
    TemplateFailed,
    TokenizerAbsent,
    TokenizerBroken,
    TokenizerUnknown,
)
from garage_ai.ledger.counting.kept import load
from garage_ai.ledger.counting.orders import Ask, Count, Refused, Replies, packed
from garage_ai.ledger.counting.pieces import PIECE, added_up, is_large, pieces_of
from garage_ai.ledger.counting.requests import MEDIUM_TOKENS, TURN_TOKENS, read_asked
from garage_ai.ledger.counting.rule import count_by_rule
from garage_ai.ledger.counting.templates import MAX_TEMPLATE, Template
from garage_ai.wire.frames import Route

PLAIN = "{{ bos_token }}{% for m in messages %} {{ m.role }} {{ m.content }}{% endfor %}"
PARTS = "{% for m in messages %}{% for p in m.content %} {{ p.type }}{% endfor %}{% endfor %}"


def words() -> Tokenizer:
    """Count words; `begin` is put before a prompt."""
    tokenizer = Tokenizer(WordLevel({"x": 0, "begin": 1}, unk_token="x"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("begin $0", special_tokens=[("begin", 1)])
    return tokenizer


def vllm(template: str | None = PLAIN) -> Counter:
    """Count as vLLM does."""
    return Counter(words(), "vllm", Template(template) if template else None)


def llama(template: str | None = PLAIN, *, adds: bool = False) -> Counter:
    """Count as llama.cpp does."""
    made = Template(template, bos="begin") if template else None
    return Counter(words(), "llama.cpp", made, bos="begin", adds_bos=adds)


def body(**fields: object) -> bytes:
    """Write a request."""
    return json.dumps({"model": "m", **fields}).encode()


def chat(*turns: tuple[str, object], **fields: object) -> bytes:
    """Write a chat."""
    messages = [{"role": role, "content": content} for role, content in turns]
    return body(messages=messages, **fields)


def test_engines_handle_a_chat_in_their_own_ways() -> None:
    """llama.cpp goes on with a last turn of the model's, and knows no developers."""
    begun = chat(("developer", "a"), ("user", "b"), ("assistant", " c d"))
    assert vllm().count("chat", begun, ()).prompt == 7
    assert llama().count("chat", begun, ()).prompt == 1 + 2 + 2 + 2
    read = read_asked("chat", begun, engine="llama.cpp", template=PLAIN)
    assert read.chat is not None
    assert [turn["role"] for turn in read.chat.messages] == ["system", "user"]


def test_a_first_token_is_counted_once() -> None:
    """A template may write it, and the engine does not put it there again."""
    assert llama(adds=True).count("chat", chat(("user", "b")), ()).prompt == 3
    assert llama(PLAIN[15:], adds=True).count("chat", chat(("user", "b")), ()).prompt == 3
    assert llama(adds=True).count("completions", body(prompt=["a b", "c"]), ()).prompt == 5
    assert vllm().count("completions", body(prompt=["a b", "c"]), ()).prompt == 5


def test_parts_reach_a_template_that_reads_them() -> None:
    """Another gets their texts, each on a line."""
    parts = [{"type": "text", "text": "a b"}, {"type": "text", "text": "c"}]
    assert llama(PARTS).count("chat", chat(("user", parts)), ()).prompt == 2
    assert llama(PLAIN).count("chat", chat(("user", parts)), ()).prompt == 1 + 4


def test_media_are_counted_by_the_piece() -> None:
    """Engines differ in them, so no engine's figure is judged by that."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9999}}
    asked = chat(("user", [{"type": "text", "text": "a"}, image, image]))
    assert llama().count("chat", asked, ()) == Count(3 + 2 * MEDIUM_TOKENS, (), exact=False)
    assert count_by_rule("chat", asked, ()) == Count(1 + 2 * MEDIUM_TOKENS, (), exact=False)


@pytest.mark.parametrize("template", [None, "{{ raise_exception('no') }}", "{{ 1 // 0 }}"])
def test_without_a_template_texts_are_counted(template: str | None) -> None:
    """With something for each turn; and not held against the engine."""
    counted = vllm(template).count("chat", chat(("user", "a b"), ("assistant", "c")), ["d e"])
    assert counted == Count(3 + 3 * TURN_TOKENS, (2,), exact=False)


def test_tools_of_a_template_that_knows_none() -> None:
    """The engine leaves them out; whether it does is not judged."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked = chat(("user", "a"), tools=tools)
    assert llama().count("chat", asked, ()) == Count(3, (), exact=False)


def test_an_echo_is_no_answer() -> None:
    """The prompt comes back, and is not billed twice."""
    counted = vllm().count("completions", body(prompt="a b", echo=True), ["a b c"])
    assert counted.each == (1,)


@pytest.mark.parametrize("fields", [{"n": 2}, {"stop": "x"}, {"stop": ["x"]}, {"echo": True}])
def test_figures_of_other_shapes_are_not_judged(fields: dict[str, object]) -> None:
    """Of several answers engines tell one's tokens, and what a stop string cuts off is theirs."""
    assert not vllm().count("completions", body(prompt="a", **fields), ["b"]).exact
    assert vllm().count("completions", body(prompt="a"), ["b"]).exact


def test_numbered_tokens_are_as_many_as_they_are() -> None:
    """Nothing is made of them."""
    assert vllm().count("completions", body(prompt=[1, 2, 3]), ()).prompt == 3
    assert vllm().count("embeddings", body(input=[[1, 2], [3]]), ()).prompt == 3
    assert count_by_rule("embeddings", body(input=[[1, 2], [3]]), ()).prompt == 3


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b'{"messages":3}', b"\xff", b'{"messages":[{"tool_calls":5}]}'],
)
def test_a_body_that_cannot_be_read_is_counted_by_its_bytes(data: bytes) -> None:
    """The gateway lets none through; still nothing is free."""
    assert count_by_rule("chat", data, ["åäö"]) == Count(-(-len(data) // 4), (2,), exact=False)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.getcwd() }}",
        "{{ raise_exception('no') }}",
        "{% include '/etc/passwd' %}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ nothing.at.all }}",
    ],
)
def test_a_template_gets_at_nothing(source: str) -> None:
    """The sandbox refuses it, by one error."""
    with pytest.raises(TemplateFailed):
        Template(source).render([{"role": "user"}])


@pytest.mark.parametrize("source", ["{% if %}", "x" * (MAX_TEMPLATE + 1), "{{" * 1000])
def test_a_template_that_does_not_compile(source: str) -> None:
    """It is refused when it is loaded."""
    with pytest.raises(TemplateFailed):
        Template(source)


def vocabulary(**changes: object) -> Vocabulary:
    """A vocabulary of few words."""
    fields: dict[str, object] = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": ("<s>", "a", "b", "ab"),
        "types": (3, 1, 1, 1),
        "merges": ("a b",),
        "bos": "<s>",
        "eos": "",
        "adds_bos": None,
        "adds_eos": None,
        "template": None,
        "tokenizer_digest": None,
        "template_digest": None,
    }
    return Vocabulary(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_vocabulary_becomes_a_tokenizer() -> None:
    """Pairs merge, and special tokens are one each."""
    tokenizer = tokenizer_of(vocabulary())
    assert tokenizer.encode("aba<s>ab", add_special_tokens=False).ids == [3, 1, 0, 3]
    assert not adds_bos(vocabulary())
    assert adds_bos(vocabulary(pre="llama-bpe"))
    assert not adds_bos(vocabulary(pre="llama-bpe", adds_bos=False))


@pytest.mark.parametrize("changes", [{"pre": "new"}, {"pre": ""}, {"model": "llama"}])
def test_what_was_never_compared_is_refused(changes: dict[str, object]) -> None:
    """A tokenizer that is nearly right makes a bill that is nearly right."""
    with pytest.raises(TokenizerUnknown):
        tokenizer_of(vocabulary(**changes))
    assert set(HABITS) == KNOWN_CUTS


def test_a_vocabulary_that_contradicts_itself_is_refused() -> None:
    """Its pairs make tokens that it does not have."""
    with pytest.raises(TokenizerBroken):
        tokenizer_of(vocabulary(merges=("a x",)))


def test_the_files_of_a_repository(tmp_path: Path) -> None:
    """Its tokenizer, and its template in either place."""
    with pytest.raises(TokenizerAbsent):
        load(tmp_path)
    words().save(str(tmp_path / "tokenizer.json"))
    assert load(tmp_path).template is None
    config = {
        "bos_token": {"content": "begin"},
        "chat_template": [{"name": "default", "template": PLAIN}],
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load(tmp_path).count("chat", chat(("user", "a")), ()) == Count(3, (), exact=True)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert load(tmp_path).count("chat", chat(("user", "a")), ()).prompt == 1
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerBroken):
        load(tmp_path)


def test_replies_come_in_any_pieces() -> None:
    """A pipe knows no packets."""
    sent: list[Count | Refused] = [
        Count(3, (1, 2), exact=True),
        Refused("tokenizer_absent"),
        Count(0, (), exact=False),
    ]
    data = b"".join([packed(reply) for reply in sent])
    replies = Replies()
    assert [r for at in range(len(data)) for r in replies.feed(data[at : at + 1])] == sent
    assert list(Replies().feed(data)) == sent


LONG = "x " * (PIECE // 5)  # two of them fit into a piece, three do not


@pytest.mark.parametrize("counter", [vllm(), llama(adds=True)], ids=["vllm", "llama.cpp"])
@pytest.mark.parametrize(
    ("route", "fields", "texts", "pieces"),
    [
        ("embeddings", {"input": [LONG] * 5}, (), 3),
        ("embeddings", {"input": [LONG * 3, "x", "", LONG]}, (), 2),
        ("completions", {"prompt": [LONG] * 4, "max_tokens": 2, "n": 2}, ("x x x",) * 7, 3),
        ("completions", {"prompt": [LONG] * 4, "stop": "x"}, ("x x x", ""), 3),
        ("completions", {"prompt": [LONG] * 4, "echo": True}, (LONG + "x",) * 4, 1),
        ("completions", {"prompt": LONG * 4}, ("x",), 1),
        ("completions", {"prompt": [LONG] * 2, "user": LONG}, (), 2),
        ("embeddings", {"input": [[1] * PIECE, [2]]}, (), 1),
    ],
)
def test_pieces_add_up_to_the_whole(
    counter: Counter,
    route: Route,
    fields: dict[str, object],
    texts: tuple[str, ...],
    pieces: int,
) -> None:
    """A request is cut between its texts, where that does not change its count."""
    whole = Ask("d", route, body(**fields), texts)
    assert is_large(whole)
    cut = pieces_of(whole)
    assert len(cut) == pieces
    counts = [counter.count(each.route, each.body, each.texts) for each in cut]
    assert added_up(counts, whole) == counter.count(whole.route, whole.body, whole.texts)


def test_what_is_no_request_is_one_piece() -> None:
    """The process that counts says why; and neither a chat nor what is small is cut at all."""
    broken = Ask("d", "embeddings", b"[" * (PIECE + 1), ())
    assert pieces_of(broken) == [broken]
    assert not is_large(Ask("d", "chat", chat(("user", LONG * 3)), ()))
    assert not is_large(Ask("d", "embeddings", body(input=["x", "x"]), ()))
