"""What is known about a provider's webhooks: how they are signed, and where what they say stands in them."""

from typing import Annotated

from msgspec import Meta, Struct

from asyncbatch.catalog._typed import FieldError, Text
from asyncbatch.enums import BatchStatus


class TokenFacts(Struct, frozen=True, kw_only=True):
    """How webhooks of a single batch are vouched for: by a JSON Web Token in place of the signature, signed by RS256.

    Attributes:
        keys: The path below the provider's address at which its public keys stand, as a JWKS.
        audience_env: The variable that says for whom tokens are made out.
        url: Where a create names the address that is to be told, as a dotted path to a list.
    """

    keys: Annotated[str, Meta(pattern=r"^/[!-~]+$")]
    audience_env: Text
    url: Text
    source: Text | None = None

    def __post_init__(self) -> None:
        if not all(self.url.split(".")):
            raise FieldError("url", "expected names with dots between them, such as webhookConfig.uris")


class WebhookFacts(Struct, frozen=True, kw_only=True):
    """How the provider tells that a batch has ended. Its webhooks are signed as Standard Webhooks says.

    Attributes:
        env: The variable that the secrets for their signatures are read from.
        event: Where the event's name stands in the body, as a dotted path.
        batch_id: Where the batch's id stands.
        events: The events of batches, and the end that each of them tells.
        tokens: How those of a single batch are vouched for, where a create may ask for some.
    """

    env: Text
    event: Text = "type"
    batch_id: Text
    events: dict[str, BatchStatus]
    tokens: TokenFacts | None = None
    source: Text | None = None

    def __post_init__(self) -> None:
        for key in ("event", "batch_id"):
            if not all(getattr(self, key).split(".")):
                raise FieldError(key, "expected names with dots between them, such as data.id")
        for name, status in self.events.items():
            if not status.is_terminal:
                raise FieldError("events", f"expected ends of batches, but {name} means {status.name}")
        if not self.events:
            raise FieldError("events", "expected at least one event, got none")
