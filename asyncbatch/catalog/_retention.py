"""How long a provider keeps files, and what it can be asked for."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from asyncbatch.catalog._typed import Count, FieldError, Text

Seconds: TypeAlias = Annotated[int, Meta(ge=0)]


class Expiry(Struct, frozen=True, kw_only=True):
    """For how long the provider can be asked to keep a kind of file, in seconds.

    Attributes:
        least_s: The shortest time it takes.
        most_s: The longest; None where no bound is documented.
        step_s: What it counts in, where that is coarser than seconds.
        asked_s: What is asked for where the caller says nothing; None: nothing is.
    """

    least_s: Count
    most_s: Count | None = None
    step_s: Count = 1
    asked_s: Count | None = None
    source: Text | None = None

    def __post_init__(self) -> None:
        if self.most_s is not None and self.most_s < self.least_s:
            raise FieldError("most_s", f"expected {self.least_s} or more, which is least_s, got {self.most_s}")
        if self.asked_s is not None and not self.takes(self.asked_s):
            raise FieldError("asked_s", f"expected {self.bounds}, got {self.asked_s}")

    def takes(self, seconds: int) -> bool:
        """Whether the provider takes such a time."""
        return self.least_s <= seconds and (self.most_s is None or seconds <= self.most_s)

    @property
    def bounds(self) -> str:
        """Say which times it takes."""
        return f"{self.least_s:,} or more" if self.most_s is None else f"{self.least_s:,} to {self.most_s:,}"


class Retention(Struct, frozen=True, kw_only=True):
    """How long the provider keeps files, in seconds, where nothing else is asked for, and what can be asked for."""

    input_s: Seconds | None = None
    output_s: Seconds | None = None
    input_expiry: Expiry | None = None
    output_expiry: Expiry | None = None
    source: Text | None = None
