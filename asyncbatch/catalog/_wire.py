"""How a provider deviates from the protocol of its family, fact by fact; what is left out is as the family's first one has it.

What can be told from an answer by looking at it is no fact and stands nowhere: moments are read whichever way they are written,
an empty id means none, and counts may be absent.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from asyncbatch.catalog._typed import FieldError, Text

_Seconds: TypeAlias = Annotated[int, Meta(ge=3600, le=366 * 86_400)]
_Header: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class Windows(Struct, frozen=True, kw_only=True):
    """The times that a batch can be given, in seconds; asked for as `completion_window`, such as `36h` or `7d`.

    Attributes:
        least_s: The shortest.
        most_s: The longest.
        has_days: Whether a time may be written in days too.
        is_pair: Whether these two are all that there are, and nothing between them.
    """

    least_s: _Seconds
    most_s: _Seconds
    has_days: bool = True
    is_pair: bool = False
    source: Text | None = None

    def __post_init__(self) -> None:
        if self.most_s < self.least_s:
            raise FieldError("most_s", f"expected {self.least_s} or more, which is least_s, got {self.most_s}")

    def takes(self, seconds: int) -> bool:
        """Whether a batch can be given such a time."""
        is_end = seconds in (self.least_s, self.most_s)
        return is_end or (not self.is_pair and self.least_s < seconds < self.most_s)

    @property
    def bounds(self) -> str:
        """Say which times it takes, as they are asked for."""
        shortest, longest = (f"{seconds // 3600}h" for seconds in (self.least_s, self.most_s))
        between = " or " if self.is_pair else " to "
        return shortest if shortest == longest else f"{shortest}{between}{longest}"

    @property
    def is_one(self) -> bool:
        """Whether there is no choice."""
        return self.least_s == self.most_s


class Wire(Struct, frozen=True, kw_only=True):
    """Deviations from files and batches as OpenAI has them.

    Attributes:
        lines: `bare`: a line of the input has an id and a body, and neither method nor address.
        upload_path: Where files are sent.
        upload_fields: What stands beside a file; `{name}` is its name.
        upload_key: The word under which a file and a list of files stand in an answer; None: they are the answer.
        pages: Whether lists come in pages; otherwise they come whole, and take no parameters.
        is_bare_list: Whether the list of batches is an array, and nothing around it. Elsewhere an array is no list: whoever
            answers so may be anybody, and a batch that is not on it would be taken for none.
        create_key: The word under which a batch stands in the answer to its create; None: it is the answer.
        has_window: Whether a create names the time it is to take.
        has_reasons: Whether a batch that failed says why.
        first_line: Which number the reason of a failure gives to the first line of an input.
        create_fields: What every create says besides.
        ready_states: What a file says of itself once a batch can be made of it, where it is looked through first; it is asked
            about until then.
        lost_states: What one says of which none will ever be made.
        expiry: How a form says when a file may go: `expires_after[seconds]`, or `expires_after.seconds`.
        idempotency_header: The header in which a create carries its tag as a key, where a repeat under the same key is no
            second batch. It is sent besides everything else: a lost create is looked for all the same.
        content_accept: What the download of a file says that it takes.
    """

    lines: Literal["whole", "bare"] = "whole"
    upload_path: Text = "/files"
    upload_fields: dict[str, str] = field(default_factory=lambda: {"purpose": "batch"})
    upload_key: Text | None = None
    pages: bool = True
    is_bare_list: bool = False
    create_key: Text | None = None
    has_window: bool = True
    has_reasons: bool = True
    first_line: Literal[0, 1] = 1
    create_fields: dict[str, bool] = field(default_factory=dict[str, bool])
    ready_states: tuple[Text, ...] = ()
    lost_states: tuple[Text, ...] = ()
    expiry: Literal["brackets", "dots"] = "brackets"
    idempotency_header: _Header | None = None
    content_accept: Text | None = None
    source: Text | None = None
