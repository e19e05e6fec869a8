"""What a webhook does: it wakes, and no more. Where its batch stands is read from the provider, as without it."""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from asyncbatch.accounts import WebhookAudiences, WebhookSecrets, webhook_audiences, webhook_secrets
from asyncbatch.catalog import Catalog, WebhookFacts
from asyncbatch.engine.desk import Desk
from asyncbatch.engine.webhook_keys import WebhookKeys
from asyncbatch.exceptions import ConfigError, ProviderError
from asyncbatch.journal import Journal
from asyncbatch.planning.webhook_tokens import Token, check_library, check_token, read_token
from asyncbatch.planning.webhooks import (
    Event,
    Genuine,
    Refusal,
    check_time,
    open_envelope,
    read_event,
    verify,
)
from asyncbatch.registry import RegistryScope
from asyncbatch.runtime import Runtime
from asyncbatch.secrecy import hide

_log = logging.getLogger("asyncbatch.webhooks")


class WebhookReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a webhook, and what to answer to it.

    Attributes:
        status: The HTTP status of the answer: 200, also for what is not of interest; 400 for what is malformed, 401 for what is
            not signed or not of these minutes, 413 for what is over 1 MB, 503 where the sender's keys cannot be had for now.
        event: The event's name, such as `batch.completed`; None for what was refused.
        provider_batch_id: Its batch.
        job_id: The job of that batch; None where the journal has none.
        is_new: Whether it came for the first time.
        woke: Whether a question to the provider was brought forward: here, or by word to the process that has the job.
        reason: Why it was refused; None where it was not.
    """

    status: int
    event: str | None = None
    provider_batch_id: str | None = None
    job_id: str | None = None
    is_new: bool = False
    woke: bool = False
    reason: str | None = None


class Webhooks:
    """The door for webhooks of one client.

    Args:
        secrets: Secrets that the client was given, by provider; of the others they are the environment's.
        audiences: For whom tokens may be made out, likewise.
        journal: Remembers webhooks, and knows whose batches they speak of.
        scope: Whose connections keys are fetched over, once it is open.
        runtime: Clock, and threads.
    """

    def __init__(
        self,
        secrets: WebhookSecrets | None,
        audiences: WebhookAudiences | None,
        journal: Journal,
        scope: RegistryScope,
        runtime: Runtime,
    ) -> None:
        self._given: WebhookSecrets | None = hide(secrets)
        self._audiences = audiences
        self._journal = journal
        self._runtime = runtime
        self._keys = WebhookKeys(scope, runtime)
        self._facts: Mapping[str, WebhookFacts] | None = None

    async def open(self, catalog: Catalog) -> None:
        """Check what was given, if anything was.

        Raises:
            ConfigError: A secret is none, or is of a provider without webhooks; an audience is one that nobody names, or the
                library that checks tokens is not installed.
        """
        if self._given is not None:
            webhook_secrets(self._given, await self._known(catalog))
        if self._audiences is not None and webhook_audiences(self._audiences, await self._known(catalog)):
            await self._runtime.offload(check_library)

    async def receive(self, headers: Mapping[str, str], body: bytes, catalog: Catalog, desk: Desk) -> WebhookReceipt:
        """Take a webhook in.

        Raises:
            ConfigError: There is no secret at all, and no audience either; or a token came, and what checks it is missing.
        """
        facts = await self._known(catalog)
        secrets, audiences = _secrets(self._given, facts), webhook_audiences(self._audiences, facts)
        if not secrets and not audiences:
            raise _no_secret(facts)
        found = await self._vouched(headers, body, audiences, catalog) if audiences else None
        found = found or verify(headers, body, secrets, self._runtime.now())
        if isinstance(found, Refusal):
            return _refused(found)
        sender, event = _read(body, found, facts)
        if event is None:
            return _refused(Refusal(status=400, reason="it is signed, and its body is no event"))
        return await self._heard(sender, event, found, desk)

    async def _vouched(
        self, headers: Mapping[str, str], body: bytes, audiences: Mapping[str, Sequence[str]], catalog: Catalog
    ) -> Genuine | Refusal | None:
        """Check the token that came in place of a signature; None where there is none."""
        envelope, now = open_envelope(headers, body), self._runtime.now()
        if isinstance(envelope, Refusal):
            return envelope
        token = await self._runtime.offload(read_token, headers)  # the first one imports the library
        if not isinstance(token, Token):
            return token
        late = check_time(envelope, now)
        return late or await self._signed(token, envelope.webhook_id, audiences, catalog)

    async def _signed(
        self, token: Token, webhook_id: str, audiences: Mapping[str, Sequence[str]], catalog: Catalog
    ) -> Genuine | Refusal:
        refusal = Refusal(status=401, reason="its token names a key that nobody has")
        for sender, wanted in audiences.items():
            try:
                key = await self._keys.key(sender, token.kid, catalog)
            except ProviderError:
                return Refusal(status=503, reason="the keys of its sender cannot be had for now")
            if key is not None:
                found = await self._runtime.offload(check_token, token, key, wanted, self._runtime.now())
                if not isinstance(found, Refusal):
                    return Genuine(webhook_id=webhook_id, senders=(sender,), token_id=token.replay_id, claims=found)
                refusal = found
        return refusal

    async def _heard(self, sender: str, event: Event, found: Genuine, desk: Desk) -> WebhookReceipt:
        job_id = await self._journal.job_of_batch(sender, event.batch_id) if event.batch_id is not None else None
        is_new = await self._is_new(found)
        woke = False
        if is_new and job_id is not None and event.batch_id is not None:
            woke = await desk.wake(job_id, event.batch_id)
        return WebhookReceipt(
            status=200,
            event=event.name,
            provider_batch_id=event.batch_id,
            job_id=job_id,
            is_new=is_new,
            woke=woke,
        )

    async def _is_new(self, found: Genuine) -> bool:
        """Note that it came. No token vouches for the headers: under another id, it is known by itself."""
        now = self._runtime.now()
        is_new = await self._journal.saw(found.webhook_id, now)
        return is_new if found.token_id is None else await self._journal.saw(found.token_id, now) and is_new

    async def _known(self, catalog: Catalog) -> Mapping[str, WebhookFacts]:
        if self._facts is None:
            self._facts = await self._runtime.offload(_webhook_facts, catalog)  # it may open files
        return self._facts


def _secrets(given: WebhookSecrets | None, facts: Mapping[str, WebhookFacts]) -> Mapping[str, Sequence[str]]:
    """Give the secrets by provider; a variable that holds none silences its own provider, and no other."""
    found: dict[str, Sequence[str]] = {}
    errors: list[ConfigError] = []
    for name, item in facts.items():
        ours: WebhookSecrets | None = hide({name: given[name]}) if given is not None and name in given else None
        try:
            found |= webhook_secrets(ours, {name: item})
        except ConfigError as error:
            errors.append(error)
    if errors and not found:
        raise errors[0]
    for problem in errors:
        _log.error("webhooks of one provider cannot be checked: %s", problem)
    return found


def _webhook_facts(catalog: Catalog) -> Mapping[str, WebhookFacts]:
    found = {name: catalog.provider(name).webhooks for name in catalog.names()}
    return {name: facts for name, facts in found.items() if facts is not None}


def _read(body: bytes, found: Genuine, facts: Mapping[str, WebhookFacts]) -> tuple[str, Event | None]:
    """Read the event, as that sender means it who knows it, where several have the same secret."""
    read = [(name, read_event(body, facts[name], found.claims)) for name in found.senders]
    return next((item for item in read if item[1] is None or item[1].batch_id is not None), read[0])


def _refused(refusal: Refusal) -> WebhookReceipt:
    _log.warning("a webhook is refused with %s: %s", refusal.status, refusal.reason)
    return WebhookReceipt(status=refusal.status, reason=refusal.reason)


def _no_secret(facts: Mapping[str, WebhookFacts]) -> ConfigError:
    variables = " or ".join(item.env for item in facts.values())
    hint = f"set {variables}, or pass BatchClient(webhook_secrets={{provider: secret}})"
    return ConfigError(
        "a webhook came, and there is no secret to tell who sent it", code="webhook.no_secret", hint=hint
    )
