"""The shapes of the official OpenAI API's structured fields, as msgspec structs.

Every struct forbids what it does not name: `fields` cuts unknown members out and reads again, so
that what reaches an engine has been checked in the form in which it is sent.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

MAX_MESSAGES: Final = 4096
MAX_PARTS: Final = 512
MAX_TOOLS: Final = 128
MAX_TOKENS: Final = 131_072
MAX_CHOICES: Final = 8
MAX_LOGPROBS: Final = 20
MAX_STOPS: Final = 4
MAX_INPUTS: Final = 2048
MAX_PROMPTS: Final = 128

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Ident = Annotated[str, Meta(max_length=512)]
Token = Annotated[int, Meta(ge=0, le=2**31 - 1)]


def _free_form() -> Any:
    """Make a field for a free-form object, such as a JSON schema; empty when it was left out.

    `request` bounds those that are given.
    """
    return msgspec.field(default_factory=Raw)


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """A struct that takes nothing it does not name."""


class ImageUrl(Strict, frozen=True):
    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class InputAudio(Strict, frozen=True):
    data: str
    format: Literal["wav", "mp3"]


class FileData(Strict, frozen=True):
    file_data: str | None = None
    filename: Ident | None = None
    file_id: Ident | None = None


class TextPart(Strict, frozen=True, tag_field="type", tag="text"):
    text: str


class RefusalPart(Strict, frozen=True, tag_field="type", tag="refusal"):
    refusal: str


class ImagePart(Strict, frozen=True, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class AudioPart(Strict, frozen=True, tag_field="type", tag="input_audio"):
    input_audio: InputAudio


class FilePart(Strict, frozen=True, tag_field="type", tag="file"):
    file: FileData


Part = TextPart | RefusalPart | ImagePart | AudioPart | FilePart
Medium = ImagePart | AudioPart | FilePart
Content = str | Annotated[list[Part], Meta(max_length=MAX_PARTS)]


class FunctionCalled(Strict, frozen=True):
    name: Name
    arguments: str


class CustomCalled(Strict, frozen=True):
    name: Name
    input: str


class FunctionToolCall(Strict, frozen=True, tag_field="type", tag="function"):
    id: Ident
    function: FunctionCalled


class CustomToolCall(Strict, frozen=True, tag_field="type", tag="custom"):
    id: Ident
    custom: CustomCalled


ToolCall = FunctionToolCall | CustomToolCall


class SystemMessage(Strict, frozen=True, tag_field="role", tag="system"):
    content: Content
    name: Ident | None = None


class DeveloperMessage(Strict, frozen=True, tag_field="role", tag="developer"):
    content: Content
    name: Ident | None = None


class UserMessage(Strict, frozen=True, tag_field="role", tag="user"):
    content: Content
    name: Ident | None = None


class AudioSaid(Strict, frozen=True):
    id: Ident


class AssistantMessage(Strict, frozen=True, tag_field="role", tag="assistant"):
    content: Content | None = None
    name: Ident | None = None
    refusal: str | None = None
    audio: AudioSaid | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=MAX_TOOLS)] | None = None
    function_call: FunctionCalled | None = None


class ToolMessage(Strict, frozen=True, tag_field="role", tag="tool"):
    content: Content
    tool_call_id: Ident
    name: Ident | None = None


class FunctionMessage(Strict, frozen=True, tag_field="role", tag="function"):
    name: Ident
    content: Content | None = None


Message = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage
)
Messages = Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]


class FunctionSpec(Strict, frozen=True):
    name: Name
    description: str | None = None
    parameters: Raw = _free_form()
    strict: bool | None = None


class CustomSpec(Strict, frozen=True):
    name: Name
    description: str | None = None
    format: Raw = _free_form()


class FunctionTool(Strict, frozen=True, tag_field="type", tag="function"):
    function: FunctionSpec


class CustomTool(Strict, frozen=True, tag_field="type", tag="custom"):
    custom: CustomSpec


Tools = Annotated[list[FunctionTool | CustomTool], Meta(max_length=MAX_TOOLS)]
Functions = Annotated[list[FunctionSpec], Meta(max_length=MAX_TOOLS)]


class Named(Strict, frozen=True):
    name: Name


class ChosenFunction(Strict, frozen=True, tag_field="type", tag="function"):
    function: Named


class ChosenCustom(Strict, frozen=True, tag_field="type", tag="custom"):
    custom: Named


class AllowedTools(Strict, frozen=True):
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChosenFunction | ChosenCustom], Meta(min_length=1, max_length=MAX_TOOLS)]


class ChosenAllowed(Strict, frozen=True, tag_field="type", tag="allowed_tools"):
    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required"] | ChosenFunction | ChosenCustom | ChosenAllowed
FunctionChoice = Literal["none", "auto"] | Named


class JsonSchema(Strict, frozen=True):
    name: Name
    description: str | None = None
    schema: Raw = _free_form()
    strict: bool | None = None


class TextFormat(Strict, frozen=True, tag_field="type", tag="text"):
    pass


class JsonObjectFormat(Strict, frozen=True, tag_field="type", tag="json_object"):
    pass


class JsonSchemaFormat(Strict, frozen=True, tag_field="type", tag="json_schema"):
    json_schema: JsonSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class StreamOptions(Strict, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Stops = (
    Annotated[str, Meta(max_length=1024)]
    | Annotated[list[Annotated[str, Meta(max_length=1024)]], Meta(max_length=MAX_STOPS)]
)
LogitBias = Annotated[
    dict[Annotated[str, Meta(pattern=r"^\d{1,10}$")], Annotated[float, Meta(ge=-100, le=100)]],
    Meta(max_length=1024),
]
Choices = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
TokenLimit = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
Logprobs = Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Dimensions = Annotated[int, Meta(ge=1, le=65_536)]
ModelName = Annotated[str, Meta(min_length=1, max_length=200)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

TokenList = Annotated[list[Token], Meta(min_length=1, max_length=MAX_TOKENS)]


def sequence_types(most: int) -> tuple[type[Any], type[Any], type[Any], type[Any]]:
    """Give the four shapes of `prompt` and `input`: text, texts, tokens, lists of tokens."""
    bound = Meta(min_length=1, max_length=most)
    return (
        str,
        Annotated[list[str], bound],  # type: ignore[return-value]
        TokenList,
        Annotated[list[TokenList], bound],
    )


def decoder(shape: Any) -> "msgspec.json.Decoder[Any]":
    """Make a decoder of a shape; types built at run time are beyond what mypy can follow."""
    return msgspec.json.Decoder(shape)
