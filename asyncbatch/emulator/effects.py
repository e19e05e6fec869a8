"""What a fault does to a call, or to what its answer says."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from asyncbatch.emulator.looks import Looks, Which, with_value, without_value

When: TypeAlias = Literal["before", "after"]
"""Before: the request is not looked at. After: it has been accepted and its consequences stand."""

Step: TypeAlias = Literal["arrived", "reading", "accepted", "headers", "sent"]
"""How far a call has come: its headers are here; some of its body is; it is carried out and not answered; the headers of
the answer are on their way; all of it is."""

MOST_AFTER_BYTES = 65_536  # what is sure to fit before anybody reads it


class Drop(Struct, frozen=True, kw_only=True, tag="drop"):
    """Close the connection without an answer."""

    when: When = "after"


class Answer(Struct, frozen=True, kw_only=True, tag="answer"):
    """Answer with this instead; without a body, with an error in the dialect's own shape."""

    status: int
    when: When = "before"
    code: str | None = None
    message: str = "The server had an error while processing your request."
    body: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    retry_after_s: float | None = None
    retry_after_as: Literal["seconds", "date"] = "seconds"


class Cut(Struct, frozen=True, kw_only=True, tag="cut"):
    """Promise the whole body, send this much of it, and close."""

    keep_bytes: int = 16


class Stall(Struct, frozen=True, kw_only=True, tag="stall"):
    """Keep the client waiting, in real seconds."""

    seconds: float
    when: When = "before"


class Ghost(Struct, frozen=True, kw_only=True, tag="ghost"):
    """Take the request, and carry it out only later, as if it had been under way for so long.

    Attributes:
        after_s: Seconds of the emulator's clock.
        meanwhile: Whether the connection is closed at once, the client is kept waiting, or told of an error that says
            nothing of what will happen. One that still waits when the request is carried out gets its answer.
        status: The error's.
    """

    after_s: float
    meanwhile: Literal["drop", "stall", "error"] = "drop"
    status: int = 504


class Act(Struct, frozen=True, kw_only=True, tag="act"):
    """Do something when the call has come this far, and go on with it.

    Attributes:
        do: Is called in a thread; the call waits for it.
        after_bytes: With `reading`, how much of the body is there; all of it, if it is shorter.
    """

    do: Callable[[], object]
    step: Step = "accepted"
    after_bytes: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.after_bytes <= MOST_AFTER_BYTES:
            raise ValueError(f"after_bytes is {self.after_bytes}, but must be 1 to {MOST_AFTER_BYTES}")


class Doom(Struct, frozen=True, kw_only=True, tag="doom"):
    """Let the batch that this call creates fail, such as for a full queue."""

    code: str
    message: str = "The batch cannot run."
    after_s: float | None = None


class Deliver(Struct, frozen=True, kw_only=True, tag="deliver"):
    """Deliver a webhook otherwise than it should be.

    Attributes:
        copies: How often it is delivered, each time under the same id; 0 for never.
        delay_s: Seconds of the emulator's clock that it is late.
        behind: How many later webhooks overtake it.
        signature: `bad` is somebody else's, `missing` is none.
        age_s: How long ago it was signed, by its own account; below 0, that is still to come.
    """

    copies: int = 1
    delay_s: float = 0.0
    behind: int = 0
    signature: Literal["good", "bad", "missing"] = "good"
    age_s: float = 0.0


class Rewrite(Struct, frozen=True, kw_only=True, tag="rewrite"):
    """Change fields of a JSON answer; of a list, in each item that matches. Fields in `remove` disappear.

    A field may be a dotted path, such as `metadata.state`.
    """

    fields: Mapping[str, Any] = {}
    remove: tuple[str, ...] = ()


class ShowStatus(Struct, frozen=True, kw_only=True, tag="show_status"):
    """Show a batch with this status, whatever it is."""

    word: str


class HideResults(Struct, frozen=True, kw_only=True, tag="hide_results"):
    """Show a batch without its results, or without its file of errors."""

    which: Which = "all"


class HideCounts(Struct, frozen=True, kw_only=True, tag="hide_counts"):
    """Show a batch that does not tell how many rows it has."""


class Lag(Struct, frozen=True, kw_only=True, tag="lag"):
    """Leave out of a list what is younger than this."""

    seconds: float


class EndlessList(Struct, frozen=True, kw_only=True, tag="endless_list"):
    """Answer a list that is empty and names the same next page for ever."""


Neutral: TypeAlias = ShowStatus | HideResults | HideCounts | Lag | EndlessList
"""Effects on what an answer says that mean the same in every dialect; errors are none of their business."""

Effect: TypeAlias = Drop | Answer | Cut | Stall | Ghost | Act | Doom | Deliver | Rewrite | Neutral


def change_item(item: dict[str, Any], effect: Effect, looks: Looks) -> dict[str, Any]:
    """Give a batch, or any other answer, as the effect leaves it."""
    match effect:
        case Rewrite():
            for path, value in effect.fields.items():
                item = with_value(item, path, value)
            for path in effect.remove:
                item = without_value(item, path)
        case ShowStatus():
            item = looks.with_status(item, effect.word)
        case HideResults():
            item = looks.without_results(item, effect.which)
        case HideCounts():
            item = looks.without_counts(item)
        case _:
            pass
    return item
