"""The models that the service lists.

What a model can do is what the emulator takes from any of them: nothing here claims anything about the real ones.
Source: https://platform.claude.com/docs/en/api/models, and the type `ModelInfo` of the official SDK.
"""

from typing import Any

from msgspec import Struct

_UNKNOWN_DATE = "1970-01-01T00:00:00Z"  # what the service says where it does not know when a model came out
_LINES = ("haiku", "sonnet", "opus", "fable", "mythos")
_YES, _NO = {"supported": True}, {"supported": False}


class Model(Struct, frozen=True):
    id: str


def encode_model(model: Model) -> dict[str, Any]:
    words = [word for word in model.id.split("-") if not (word.isdigit() and len(word) == 8)]
    return {
        "id": model.id,
        "type": "model",
        "display_name": " ".join(words).title(),
        "created_at": _UNKNOWN_DATE,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": next((line for line in _LINES if line in words), None),
        "max_input_tokens": None,
        "max_tokens": None,
        "capabilities": _encode_capabilities(),
    }


def _encode_capabilities() -> dict[str, Any]:
    """Say what the emulator takes: all but what the service's own tools would have to do."""
    efforts = dict.fromkeys(("low", "medium", "high", "xhigh", "max"), _YES)
    thinking = dict.fromkeys(("adaptive", "between_tools", "disabled", "enabled"), _YES)
    return {
        "batch": _YES,
        "citations": _NO,
        "code_execution": _NO,
        "context_management": _NO,
        "effort": {**_YES, **efforts},
        "image_input": _YES,
        "pdf_input": _YES,
        "server_tools": {**_NO, "code_execution": _NO, "web_search": _NO},
        "structured_outputs": _YES,
        "thinking": {**_YES, "types": thinking},
    }
