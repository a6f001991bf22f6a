"""A form is read as it comes, whatever the pieces are."""

import pytest

from garage_ai.gateway.errors import BadRequest
from garage_ai.gateway.multipart import FieldGiven, FileBegins, FileData, FormReader, Told

KIND = 'multipart/form-data; boundary="line"'
FORM = (
    b'--line\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--line\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\none\r\n--lin\r\ntwo\r\n--line--\r\n"
)


def read(form: bytes, size: int) -> tuple[list[Told], bytes]:
    """Read a form in pieces of one size; give what it tells, and the file's bytes together."""
    reader = FormReader(KIND)
    told = [
        each
        for start in range(0, len(form), size)
        for each in reader.feed(form[start : start + size])
    ]
    reader.finish()
    data = b"".join(each.data for each in told if isinstance(each, FileData))
    return [each for each in told if not isinstance(each, FileData)], data


@pytest.mark.parametrize("size", [1, 2, 5, 64, 10_000])
def test_a_form_is_the_same_however_it_comes(size: int) -> None:
    """Fields are whole, the file's bytes are its own, even where they look like a border."""
    told, data = read(FORM, size)
    assert told == [FieldGiven("purpose", "batch"), FileBegins("file", "a.jsonl")]
    assert data == b"one\r\n--lin\r\ntwo"


def test_a_files_name_may_be_of_any_code_page() -> None:
    """Windows' curl sends it as the PC writes it, and it is but what the file is shown as."""
    told, data = read(FORM.replace(b"a.jsonl", "fr\u00e5gor.jsonl".encode("cp1252")), 64)
    assert told[1:] == [FileBegins("file", "fr\ufffdgor.jsonl")]
    assert data == b"one\r\n--lin\r\ntwo"


def test_a_file_without_a_filename_is_told_as_that() -> None:
    """It is a field like others to every reader of forms, and longer than any."""
    with pytest.raises(BadRequest, match="no filename") as caught:
        read(FORM.replace(b'; filename="a.jsonl"', b"").replace(b"one", b"one" * 5000), 1000)
    assert caught.value.param == "file"


@pytest.mark.parametrize(
    "kind",
    [None, "application/json", "multipart/form-data", f"multipart/form-data; boundary={'x' * 300}"],
)
def test_another_body_is_refused(kind: str | None) -> None:
    """What is no form, or has no border, is refused at once."""
    with pytest.raises(BadRequest):
        FormReader(kind)


@pytest.mark.parametrize(
    "form",
    [
        FORM[:-10],
        b"nothing",
        b'--line\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
        + b"x" * 5000
        + b"\r\n--line--",
        b'--line\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--line--',
        b'--line\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 40 + b"--line--",
    ],
    ids=["cut", "no form", "long field", "no text", "many parts"],
)
def test_a_form_that_is_none_is_refused(form: bytes) -> None:
    """A form that ends too early, or holds too much beside its file, is a bad request."""
    with pytest.raises(BadRequest):
        read(form, 1000)
