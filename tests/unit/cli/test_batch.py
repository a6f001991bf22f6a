"""`gai batch`: its templates, its tables, how far a batch is, its words."""

import json
import os
import string
from pathlib import Path

import pytest

from garage_ai.cli import batch_words
from garage_ai.cli.batch_input import MAX_PROMPT, make_lines, open_lines
from garage_ai.cli.batch_progress import WINDOW_SECONDS, Pace, Progress
from garage_ai.cli.batch_shapes import Batch, Counts, More, Tokens
from garage_ai.cli.batch_template import BadTemplate, Form, Template
from garage_ai.cli.errors import Failed

PROMPT = Form(Template.of("{prompt}"), "m")


def requests(path: Path, form: Form = PROMPT) -> list[tuple[str, str]]:
    """Make requests of a table, and give their ids with what they ask."""
    with make_lines(path, form) as given:
        lines = [json.loads(line) for line in given.file]
    return [(each["custom_id"], each["body"]["messages"][-1]["content"]) for each in lines]


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_template_is_filled_in() -> None:
    """Columns of any name; braces twice are braces; what a cell holds is no template."""
    template = Template.of("{{x}} {a b}: {å}!")
    assert template.fields == {"a b", "å"}
    assert template.fill({"a b": "{å}", "å": "1"}) == "{x} {å}: 1!"


@pytest.mark.parametrize("text", ["{", "}", "{}", "{a", "{a:>9}", "{a!r}"])
def test_what_is_no_template(text: str) -> None:
    """Nothing of Python's formats but names."""
    with pytest.raises(BadTemplate):
        Template.of(text)


def test_a_cell_gives_nothing_but_its_text() -> None:
    """A name with dots is the name of a column, never a way into an object."""
    with pytest.raises(KeyError):
        Template.of("{prompt.__class__}").fill({"prompt": "x"})


def test_a_request_is_one_line_of_openais() -> None:
    """System first; a length only where one was said."""
    form = Form(Template.of("{q}"), "tiny", "Be brief.", 7)
    line = form.line("r1", {"q": "two\nlines"})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "custom_id": "r1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "two\nlines"},
            ],
            "max_tokens": 7,
        },
    }
    assert "max_tokens" not in json.loads(PROMPT.line("r1", {"prompt": ""}))["body"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prompt\na\nb\n", [("row-1", "a"), ("row-2", "b")]),
        ('prompt,x\r\n"a, ""b""\r\nc",1\r\n', [("row-1", 'a, "b"\r\nc')]),
        ("id;prompt\n7;a,b\n", [("7", "a,b")]),
        ("custom_id\tid\tprompt\nx\t1\ta\n", [("x", "a")]),
        ("\ufeffprompt\nå\n\nä", [("row-1", "å"), ("row-2", "ä")]),
    ],
)
def test_rows_of_a_table(tmp_path: Path, text: str, expected: list[tuple[str, str]]) -> None:
    """Comma, semicolon or tab; an id of their own or their number; as spreadsheets write them."""
    assert requests(table(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no request"),
        ("prompt\n", "holds no request"),
        ("question\nx\n", "no column prompt; it has question"),
        ("prompt\na,b\n", "line 2 has more or fewer cells"),
        ("id,prompt\n1,a\n2\n", "line 3 has more or fewer cells"),
        ("prompt,town,town\na,b,c\n", "two columns named town"),
        ('prompt\n"a\n', "unexpected end of data"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, says: str) -> None:
    """It is said what is wrong, and where."""
    with pytest.raises(Failed, match=says):
        requests(table(tmp_path, text))


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    """It is named, not guessed at."""
    with pytest.raises(Failed, match="not text in UTF-8"):
        requests(table(tmp_path, "prompt\nå\n", "latin-1"))


def test_a_folder_is_a_table(tmp_path: Path) -> None:
    """Each file once, in the order of their names, found again by them; hidden ones are not."""
    for name, text in {"b.txt": "two", "a.md": "\ufeffone", ".c": "no"}.items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "folder").mkdir()
    form = Form(Template.of("{name}: {prompt}"), "m")
    assert requests(tmp_path, form) == [("a.md", "a: one"), ("b.txt", "b: two")]


def test_a_name_in_another_encoding(tmp_path: Path) -> None:
    """An archive from an old PC may hold one: it is named, as far as it can be read."""
    (tmp_path / os.fsdecode(b"br\xe4v.txt")).write_text("hej", "utf-8")
    with pytest.raises(Failed, match="The name br\ufffdv\\.txt is not text in UTF-8"):
        requests(tmp_path)


def test_what_a_folder_may_not_hold(tmp_path: Path) -> None:
    """A picture, or a file beyond all bounds, is named."""
    path = tmp_path / "p"
    for data in (b"\xff\xd8", b"x" * (MAX_PROMPT + 1)):
        path.write_bytes(data)
        with pytest.raises(Failed, match=str(path)):
            requests(tmp_path)


def test_lines_stay_as_they_are(tmp_path: Path) -> None:
    """Where they go is read from the first request, behind empty lines."""
    path = tmp_path / "in.jsonl"
    text = b'\n{"url": "/v1/embeddings", "more": 1}\nwhat comes then is read by the gateway\n'
    path.write_bytes(text)
    with open_lines(path) as given:
        assert (given.name, given.endpoint, given.file.read()) == (
            "in.jsonl",
            "/v1/embeddings",
            text,
        )


@pytest.mark.parametrize("data", [b"", b"\n \n", b"hello\n", b"[]\n", b'{"url": 1}\n', b"\xff\n"])
def test_lines_that_are_none(tmp_path: Path, data: bytes) -> None:
    """A text file is not taken for a batch."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    with pytest.raises(Failed, match=r"no request"), open_lines(path):
        pass


def at(ended: int, tokens: int = 0, status: str = "in_progress", total: int = 100) -> Batch:
    counts = Counts(total, ended - ended // 10, ended // 10)
    return Batch(id="b", status=status, request_counts=counts, usage=Tokens(5, tokens))


def test_speed_and_time_left() -> None:
    """Out of what was seen: nothing at the first look, nor while nothing ends."""
    pace = Pace()
    assert (pace.take(at(0), 100.0).speed, pace.take(at(0), 101.0).left) == (None, None)
    seen = pace.take(at(20, 600), 110.0)
    assert (seen.ended, seen.failed, seen.speed, seen.left) == (20, 2, 60.0, 40.0)


def test_speed_is_that_of_the_last_minute() -> None:
    """A slow beginning is forgotten, once enough has ended since."""
    pace = Pace()
    pace.take(at(0), 0.0)
    pace.take(at(1, 10), 1000.0)
    pace.take(at(2, 20), 1000.0 + WINDOW_SECONDS)
    seen = pace.take(at(52, 3020), 1000.0 + WINDOW_SECONDS + 50)
    assert (seen.speed, seen.left) == (3010 / 110, 48 * 110 / 51)


def test_slow_batches_are_measured_longer() -> None:
    """Where a request takes minutes, a minute tells nothing."""
    pace = Pace()
    for number in range(5):
        seen = pace.take(at(number, number * 10), number * 300.0)
    assert (seen.speed, seen.left) == (40 / 1200, 96 * 300.0)


@pytest.mark.parametrize("status", ["validating", "finalizing", "completed", "cancelling"])
def test_what_does_not_run_has_no_speed(status: str) -> None:
    """Nothing is promised of what answers nothing."""
    pace = Pace()
    pace.take(at(0), 0.0)
    seen = pace.take(at(50, 500, status), 10.0)
    assert (seen.status, seen.speed, seen.left) == (status, None, None)


def test_a_line_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not known is not said."""
    whole = Progress("in_progress", 1000, 120, 3, 85.21, 3725.0, "12300000")
    bare = Progress("in_progress", 1000, 0, 0)
    checked = Progress("validating", 500, 0, 0)
    monkeypatch.setattr(batch_words, "language", lambda: "en")
    assert batch_words.progress_line(whole) == (
        "running, 120/1000, 3 without an answer, 85.2 tokens/s, 0.0123 GAI, about 1 h 2 min left"
    )
    assert batch_words.progress_line(bare) == "running, 0/1000"
    assert batch_words.progress_line(checked) == "being checked, 500 requests"
    monkeypatch.setattr(batch_words, "language", lambda: "sv")
    assert batch_words.progress_line(whole).startswith("pågår, 120/1000, 3 utan svar, ")


def test_rows_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed is that of its whole run; what is set aside matters only while it runs."""
    monkeypatch.setattr(batch_words, "language", lambda: "en")
    money = More("5000000000", "1500000000")
    ended = Batch(
        id="b",
        status="completed",
        request_counts=Counts(10, 9, 1),
        usage=Tokens(50, 900),
        in_progress_at=1000,
        finalizing_at=1090,
        completed_at=1095,
        gai=money,
    )
    rows = dict(batch_words.rows_of(ended))
    assert rows["requests"] == "9 of 10 answered, 1 without an answer"
    assert rows["tokens"] == "50 in, 900 out (10.0 tokens/s)"
    assert (rows["time"], rows["cost"]) == ("1 min 30 s", "1.5 GAI")
    running = dict(batch_words.rows_of(Batch(id="b", status="in_progress", gai=money)))
    assert running["cost"] == "1.5 GAI of 5 GAI set aside"
    assert "cost" not in dict(batch_words.rows_of(Batch(id="b", status="in_progress")))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (7200, "2 h")]
)
def test_times_as_people_say_them(seconds: float, said: str) -> None:
    """The smaller, the finer."""
    assert batch_words.duration(seconds) == said


@pytest.mark.parametrize(
    ("nano", "said"), [("0", "0"), ("1", "0.000000001"), ("1500000000", "1.5")]
)
def test_money_is_exact(nano: str, said: str) -> None:
    """To the last nGAI, without zeros at the end."""
    assert batch_words.in_gai(nano) == said


def test_both_languages_name_the_same_things() -> None:
    """A translation fills in exactly what the English message fills in."""

    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for key, (english, swedish) in batch_words._WORDS.items():
        assert english, key
        assert fields(english) == fields(swedish), key
