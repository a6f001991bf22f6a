import pytest

from garage_ai.catalog import (
    Limits,
    SourceAbsent,
    SourceBroken,
    SourceError,
    SourceRefused,
    UnsafeRedirect,
    WrongSize,
)
from garage_ai.catalog.partial import Origin
from garage_ai.catalog.sources import Address
from garage_ai.catalog.transfer import (
    RangeUseless,
    delay_before,
    redirected,
    request_headers,
    start_of_body,
    strong_etag,
)

HERE = Address("https://a.example/f", "secret")


def test_a_first_request_asks_for_everything() -> None:
    """No Range at the start, and never a compressed body."""
    assert request_headers(Address("https://a/f"), 0, None) == {"Accept-Encoding": "identity"}


@pytest.mark.parametrize(
    ("origin", "if_range"),
    [
        (Origin(HERE.url, '"v1"'), '"v1"'),
        (Origin(HERE.url, None), None),
        (Origin("https://b.example/f", '"v1"'), None),
        (None, None),
    ],
)
def test_resuming_asks_the_same_address_whether_the_file_changed(
    origin: Origin | None, if_range: str | None
) -> None:
    """If-Range is sent with a strong ETag of this very address only."""
    headers = request_headers(HERE, 7, origin)
    assert (headers["Range"], headers.get("If-Range")) == ("bytes=7-", if_range)
    assert headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("status", "headers", "start"),
    [
        (200, {}, 0),
        (200, {"Content-Length": "10"}, 0),
        (206, {"Content-Range": "bytes 4-9/10", "Content-Length": "6"}, 4),
        (206, {"Content-Range": "bytes 4-9/*"}, 4),
    ],
)
def test_good_answers(status: int, headers: dict[str, str], start: int) -> None:
    """The body begins at the start or where we asked it to."""
    assert start_of_body(status, headers, 4, 10, "a") == start


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (200, {"Content-Length": "11"}, WrongSize),
        (200, {"Content-Length": "99999999999999999999"}, WrongSize),
        (200, {"Content-Length": "-1"}, WrongSize),
        (200, {"Content-Encoding": "gzip"}, SourceRefused),
        (206, {}, RangeUseless),
        (206, {"Content-Range": "bytes 0-9/10"}, RangeUseless),
        (206, {"Content-Range": "bytes 4-9/11"}, WrongSize),
        (206, {"Content-Range": "bytes 4-8/10"}, WrongSize),
        (206, {"Content-Range": "bytes 4-9/10", "Content-Length": "7"}, WrongSize),
        (416, {}, RangeUseless),
        (404, {}, SourceAbsent),
        (401, {}, SourceRefused),
        (403, {}, SourceRefused),
        (204, {}, SourceRefused),
        (503, {}, SourceBroken),
    ],
)
def test_bad_answers(status: int, headers: dict[str, str], error: type[SourceError]) -> None:
    """Each answer of no use has its own error, before a byte of the body is read."""
    with pytest.raises(error) as caught:
        start_of_body(status, headers, 4, 10, "a")
    assert type(caught.value) is error


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_not_for_everybody_says_what_would_open_it(status: int) -> None:
    """Most often it is a repository whose licence has to be agreed to first."""
    with pytest.raises(SourceRefused, match=rf"a answered {status}: .*HF_TOKEN"):
        start_of_body(status, {}, 0, 10, "a")


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("999999", 120.0), ("soon", 0.0), ("1" * 400, 0.0)]
)
def test_a_wish_to_wait_is_heard_within_bounds(text: str, seconds: float) -> None:
    """Retry-After is followed, but not for ever."""
    with pytest.raises(SourceBroken) as caught:
        start_of_body(429, {"Retry-After": text}, 0, 10, "a")
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("sent", "kept"), [('"v1"', '"v1"'), ('W/"v1"', None), ("v1", None), ('""', None), (None, None)]
)
def test_only_strong_etags_count(sent: str | None, kept: str | None) -> None:
    """A weak ETag promises the same meaning, not the same bytes."""
    assert strong_etag({} if sent is None else {"ETag": sent}) == kept


@pytest.mark.parametrize(
    ("location", "url", "token"),
    [
        ("/g", "https://a.example/g", "secret"),
        ("https://a.example/h?x=1", "https://a.example/h?x=1", "secret"),
        ("https://cdn.example/f", "https://cdn.example/f", None),
        ("https://a.example:444/f", "https://a.example:444/f", None),
    ],
)
def test_redirects_leave_the_token_at_its_origin(
    location: str | None, url: str, token: str | None
) -> None:
    """Another host or port does not get the token."""
    assert redirected(HERE, location, "a") == Address(url, token)


@pytest.mark.parametrize(
    "location",
    ["http://a.example/f", "ftp://a/f", "file:///etc/passwd", "", None, "//["],
)
def test_redirects_stay_on_https(location: str | None) -> None:
    """Everything but another HTTPS address is refused."""
    with pytest.raises(UnsafeRedirect):
        redirected(HERE, location, "a")


def test_delays_double_within_bounds() -> None:
    """Waiting grows, is capped, is spread, and respects what the source asked for."""
    limits = Limits(first_delay_s=1.0, longest_delay_s=5.0)
    assert [delay_before(n, 0.0, 1.0, limits) for n in (1, 2, 3, 4, 50)] == [1, 2, 4, 5, 5]
    assert delay_before(1, 0.0, 0.0, limits) == 0.5
    assert delay_before(1, 20.0, 0.0, limits) == 20.0
