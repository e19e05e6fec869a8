"""The parameters of a message, as types: what the service takes, and nothing else.

Unknown fields are refused, as the service refuses them. Tools are left as they are, since some are the service's own and
have fields that nobody here knows. Source: https://platform.claude.com/docs/en/api/messages/create
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

Name: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9_-]{1,128}\Z")]
ToolUseId: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9_-]+\Z")]
Json: TypeAlias = dict[str, Any]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object that has these fields and no others."""


class CacheControl(_Strict, frozen=True, kw_only=True):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Citations(_Strict, frozen=True, kw_only=True):
    enabled: bool = False


class _Cached(_Strict, frozen=True, kw_only=True):
    """A block that the cache may end at."""

    cache_control: CacheControl | None = None


# Where pictures and documents come from


class Base64Image(_Strict, frozen=True, kw_only=True, tag_field="type", tag="base64"):
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: Annotated[bytes, Meta(min_length=1)]


class Base64Pdf(_Strict, frozen=True, kw_only=True, tag_field="type", tag="base64"):
    media_type: Literal["application/pdf"]
    data: Annotated[bytes, Meta(min_length=1)]


class PlainText(_Strict, frozen=True, kw_only=True, tag_field="type", tag="text"):
    media_type: Literal["text/plain"]
    data: Annotated[str, Meta(min_length=1)]


class UrlSource(_Strict, frozen=True, kw_only=True, tag_field="type", tag="url"):
    url: Annotated[str, Meta(pattern=r"\Ahttps?://")]


class FileSource(_Strict, frozen=True, kw_only=True, tag_field="type", tag="file"):
    file_id: Annotated[str, Meta(min_length=1)]


# Blocks


class TextBlock(_Cached, frozen=True, kw_only=True, tag_field="type", tag="text"):
    text: str
    citations: list[Json] | None = None


class ImageBlock(_Cached, frozen=True, kw_only=True, tag_field="type", tag="image"):
    source: Base64Image | UrlSource | FileSource
    transformations: Json | None = None


class ContentSource(_Strict, frozen=True, kw_only=True, tag_field="type", tag="content"):
    content: str | list[TextBlock | ImageBlock]


class DocumentBlock(_Cached, frozen=True, kw_only=True, tag_field="type", tag="document"):
    source: Base64Pdf | PlainText | ContentSource | UrlSource | FileSource
    citations: Citations | None = None
    context: str | None = None
    title: str | None = None


class SearchResultBlock(_Cached, frozen=True, kw_only=True, tag_field="type", tag="search_result"):
    content: list[TextBlock]
    source: str
    title: str
    citations: Citations = Citations()


class ThinkingBlock(_Strict, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class RedactedThinkingBlock(_Strict, frozen=True, kw_only=True, tag_field="type", tag="redacted_thinking"):
    data: str


class ToolUseBlock(_Cached, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    id: ToolUseId
    name: Name
    input: Json
    caller: Json | UnsetType = UNSET
    toolset_name: str | None = None


class ToolReferenceBlock(_Cached, frozen=True, kw_only=True, tag_field="type", tag="tool_reference"):
    tool_name: str


class BrowserStateBlock(Struct, frozen=True, tag_field="type", tag="browser_state"):
    """What a browser's toolset reports; its fields are not looked at."""


ResultBlock: TypeAlias = (
    TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock | BrowserStateBlock
)


class ToolResultBlock(_Cached, frozen=True, kw_only=True, tag_field="type", tag="tool_result"):
    tool_use_id: ToolUseId
    content: str | list[ResultBlock] = ""
    is_error: bool = False
    toolset_name: str | None = None


class ServerToolUseBlock(Struct, frozen=True, tag_field="type", tag="server_tool_use"):
    """What the service's own tools left in an earlier answer comes back as it is; its fields are not looked at."""


class WebSearchBlock(Struct, frozen=True, tag_field="type", tag="web_search_tool_result"):
    pass


class WebFetchBlock(Struct, frozen=True, tag_field="type", tag="web_fetch_tool_result"):
    pass


class CodeExecutionBlock(Struct, frozen=True, tag_field="type", tag="code_execution_tool_result"):
    pass


class BashBlock(Struct, frozen=True, tag_field="type", tag="bash_code_execution_tool_result"):
    pass


class TextEditorBlock(Struct, frozen=True, tag_field="type", tag="text_editor_code_execution_tool_result"):
    pass


class ToolSearchBlock(Struct, frozen=True, tag_field="type", tag="tool_search_tool_result"):
    pass


class ContainerUploadBlock(_Cached, frozen=True, kw_only=True, tag_field="type", tag="container_upload"):
    file_id: str


Block: TypeAlias = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | ServerToolUseBlock
    | WebSearchBlock
    | WebFetchBlock
    | CodeExecutionBlock
    | BashBlock
    | TextEditorBlock
    | ToolSearchBlock
    | ContainerUploadBlock
)


class Message(_Strict, frozen=True, kw_only=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        """The content, where a text alone is one block of text."""
        return [TextBlock(text=self.content)] if isinstance(self.content, str) else self.content


# Tools


class CustomTool(_Cached, frozen=True, kw_only=True):
    name: Name
    input_schema: Json
    type: Literal["custom"] | None = None
    description: str = ""
    strict: bool = False
    defer_loading: bool = False
    eager_input_streaming: bool | None = None
    allowed_callers: list[str] = []
    input_examples: list[Json] = []


class AutoChoice(_Strict, frozen=True, kw_only=True, tag_field="type", tag="auto"):
    disable_parallel_tool_use: bool = False


class AnyChoice(_Strict, frozen=True, kw_only=True, tag_field="type", tag="any"):
    disable_parallel_tool_use: bool = False


class ToolChoice(_Strict, frozen=True, kw_only=True, tag_field="type", tag="tool"):
    name: str
    disable_parallel_tool_use: bool = False


class NoneChoice(_Strict, frozen=True, kw_only=True, tag_field="type", tag="none"):
    pass


# Settings

Display: TypeAlias = Literal["summarized", "omitted"] | None
Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]


class EnabledThinking(_Strict, frozen=True, kw_only=True, tag_field="type", tag="enabled"):
    budget_tokens: Annotated[int, Meta(ge=1024)]
    display: Display = None


class AdaptiveThinking(_Strict, frozen=True, kw_only=True, tag_field="type", tag="adaptive"):
    display: Display = None


class DisabledThinking(_Strict, frozen=True, kw_only=True, tag_field="type", tag="disabled"):
    pass


class ThinkingBetweenTools(_Strict, frozen=True, kw_only=True, tag_field="type", tag="between_tools"):
    pass


class JsonFormat(_Strict, frozen=True, kw_only=True):
    type: Literal["json_schema"]
    schema: Json


class OutputConfig(_Strict, frozen=True, kw_only=True):
    effort: Effort | None = None
    format: JsonFormat | None = None


class Metadata(_Strict, frozen=True, kw_only=True):
    user_id: str | None = None


class Params(_Strict, frozen=True, kw_only=True):
    """The body of one message, without what only betas know."""

    model: Annotated[str, Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1)]
    messages: list[Message]
    system: str | list[TextBlock] = ""
    metadata: Metadata = Metadata()
    stop_sequences: list[str] = []
    stream: bool = False
    temperature: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    top_k: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    tools: list[Json] = []
    tool_choice: AutoChoice | AnyChoice | ToolChoice | NoneChoice | UnsetType = UNSET
    thinking: EnabledThinking | AdaptiveThinking | DisabledThinking | ThinkingBetweenTools | UnsetType = UNSET
    output_config: OutputConfig = OutputConfig()
    service_tier: Literal["auto", "standard_only"] = "auto"
    inference_geo: str | None = None
    speed: Literal["standard", "fast"] | None = None
    cache_control: CacheControl | None = None
    container: Any = None
    diagnostics: Json | None = None
    user_profile_id: str | None = None
