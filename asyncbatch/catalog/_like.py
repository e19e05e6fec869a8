"""A provider that only a user's file knows, such as a company's own gateway: it speaks the protocol of one that is built in.

What belongs to the protocol is shared. What belongs to the other one's service is not: neither its keys, prices and models nor
what it promises beyond the protocol. Pure functions over trees, like all that lies under the user's file.
"""

import re

from asyncbatch.catalog._settings import VARIABLE
from asyncbatch.catalog._yaml import Mistake, Node, Place, join
from asyncbatch.enums import BatchMode, SubmitSafety

LIKE = "like"
"""The key under which a user's section names the provider whose protocol it speaks."""
WHOLE = ("endpoints",)
"""Elsewhere a user adds to these; of a gateway nothing else is known than what its section says."""

_OF_THE_PROTOCOL = (
    "checked", "status", "inputs", "inline_up_to", "inline_submit_safety", "takes_metadata", "cancels", "answers_after",
    "window_s", "request_id_pattern", "headers", "errors", "batch_errors", "endpoints", "models_list", "wire",
)  # fmt: skip
_LIMITS = (
    "requests", "file_bytes", "line_bytes", "upload_bytes", "inline_requests", "inline_bytes", "embedding_inputs",
    "inputs_per_request", "metadata_pairs", "metadata_key_chars", "metadata_value_chars", "list_page",
)  # fmt: skip
"""What a request or a batch may be; how much an account may ask for is each service's own business."""

_OF_THE_SERVICE = ("token_env", "token_scope", "token_class")
"""Where the other service's tokens come from, which are for nobody else."""

# Whether a create that arrives late fails without its input is known of services that were tried, and of no other.
_UNTRIED = {SubmitSafety.TAGGED_FENCED.name: SubmitSafety.TAGGED.name}
_FILLED_IN_LATER = "https://set-by-a-variable.invalid"


def base_for(name: str, base: Node, section: Node) -> Node:
    """Give what a user's section is laid over.

    Args:
        name: The provider's name.
        base: The facts of the one whose protocol it speaks.
        section: What the user's file says of it.
    """
    facts, given, at = _entries(base), _entries(section), section.place
    shared = {key: facts[key] for key in _OF_THE_PROTOCOL if key in facts}
    shared |= {key: given[key] for key in WHOLE if key in given}
    words = {
        "name": name,
        "title": name,
        "docs": f"like {facts['name'].value}",
        "base_url": _address(given),
        "base_url_env": f"{_variable(name)}_BASE_URL",
        "sureness": "yours",
    }
    safety = facts["submit_safety"]
    parts = {
        "submit_safety": Node(_UNTRIED.get(str(safety.value), safety.value), safety.place),
        "credentials": _with(
            _without(facts["credentials"], _OF_THE_SERVICE), "env", Node(f"{_variable(name)}_API_KEY", at)
        ),
        "limits": _some(facts["limits"], _LIMITS),
        "polling": _some(facts["polling"], ("min_interval_s",)),
        "options": _needed(facts.get("options"), at),
        "models": Node([] if _has(given, "models") else [_any_model(shared["endpoints"], at)], at),
    }
    return Node({**shared, **{key: Node(word, at) for key, word in words.items()}, **parts}, at)


def note_without_address(name: str, section: Node, mistakes: list[Mistake]) -> None:
    """Ask for the one thing that nobody can guess."""
    given = _entries(section).get("base_url")
    if given is None or given.value is None:
        message = "missing: where is it? Such as https://llm.example.com/v1"
        mistakes.append(Mistake(section.place, join(f"providers.{name}", "base_url"), message))


def _entries(node: Node) -> dict[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _has(given: dict[str, Node], key: str) -> bool:
    """Whether anything stands there: an empty section says nothing."""
    return key in given and bool(given[key].value)


def _address(given: dict[str, Node]) -> str:
    """Give the address as a fact; one with variables in it is a setting, and is filled in where it is used."""
    text = given["base_url"].value if "base_url" in given else None
    return text if isinstance(text, str) and not VARIABLE.search(text) else _FILLED_IN_LATER


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII).upper()


def _with(facts: Node, key: str, value: Node) -> Node:
    return Node({**_entries(facts), key: value}, facts.place)


def _without(facts: Node, keys: tuple[str, ...]) -> Node:
    return Node({key: node for key, node in _entries(facts).items() if key not in keys}, facts.place)


def _some(facts: Node, keys: tuple[str, ...]) -> Node:
    return Node({key: node for key, node in _entries(facts).items() if key in keys}, facts.place)


def _needed(options: Node | None, at: Place) -> Node:
    """Give the options without which the protocol does not go; the others are of the other service's accounts."""
    found = _entries(options) if options is not None else {}
    return Node({key: node for key, node in found.items() if {"default", "is_needed"} & _entries(node).keys()}, at)


def _any_model(endpoints: Node, at: Place) -> Node:
    """Take every model, in every mode of an endpoint: which there are, only the gateway knows."""
    rows = endpoints.value if isinstance(endpoints.value, list) else [endpoints]
    served = {str(_entries(row)["mode"].value).lower() for row in rows if "mode" in _entries(row)}
    modes = [Node(mode.value, at) for mode in BatchMode if mode.value in served]
    return Node({"match": Node("*", at), "modes": Node(list[Node](modes), at)}, at)
