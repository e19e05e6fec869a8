"""Whether an account has room for another batch, and whose turn it is: pure decisions, what a refusal teaches among them.

A limit on what is open is a capacity, not a rate: it comes back when a batch ends. What counts together is a *pool*: all that
an account has open, or what it has open of one model, where the provider counts by model.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from asyncbatch.dto import ProviderStatus
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import ConfigError
from asyncbatch.planning.retry import Patience, next_send

BYTES_PER_TOKEN = 3
"""Of the body that is sent. English prose in JSON has four to five bytes a token, code three, Chinese and Japanese about three:
so this is rarely too few, and for prose half again as many as there are. Pictures as base64 count far too many."""

_TOKENS_BASE_S, _TOKENS_CAP_S = 60.0, 3600.0
"""Waits after a batch that failed for want of room: each try is an upload, and what it waits for takes minutes to hours."""

MOST_TRIES, TRIED_FOR_S = 50, 86_400.0
"""How often, and for how long, a batch that found no room is sent again: as long as a create that is refused."""


class AccountLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an account may have open at once, and what it may use in a day. None: no limit of yours.

    Attributes:
        open_batches: Batches that are not over.
        open_requests: Requests in them.
        enqueued_tokens: Tokens in their inputs, by our estimate. Where the provider counts a limit by model, so does this one.
        requests_per_day: Requests of the jobs that are accepted within 24 hours.
        tokens_per_day: Tokens of these jobs: of what is over as the provider counted them, of the rest as estimated.
        usd_per_day: Dollars for them, by the catalog's prices.
    """

    open_batches: int | None = None
    open_requests: int | None = None
    enqueued_tokens: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    usd_per_day: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: object = getattr(self, name)
            kinds = (int, float) if name == "usd_per_day" else int
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not value > 0):
                raise ConfigError(
                    f"{name} is {value!r}", code="config.value", hint="it is above 0, or None for no limit"
                )

    @property
    def has_budget(self) -> bool:
        """Whether it limits what is used in a day."""
        return any(value is not None for value in (self.requests_per_day, self.tokens_per_day, self.usd_per_day))

    def over(self, other: "AccountLimits") -> "AccountLimits":
        """Give these limits, and the other's where these say nothing."""
        mine = {name: getattr(self, name) for name in self.__struct_fields__}
        return msgspec.structs.replace(other, **{name: value for name, value in mine.items() if value is not None})


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is open, or wants to be."""

    batches: int = 0
    requests: int = 0
    tokens: int = 0

    def plus(self, other: "Load", times: int = 1) -> "Load":
        """Give the sum with another one, or with `times=-1` what is left without it."""
        return Load(
            batches=self.batches + times * other.batches,
            requests=self.requests + times * other.requests,
            tokens=self.tokens + times * other.tokens,
        )


class Most(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be open; None for no limit."""

    batches: int | None = None
    requests: int | None = None
    tokens: int | None = None

    @property
    def is_limited(self) -> bool:
        return any(value is not None for value in (self.batches, self.requests, self.tokens))


Learns: TypeAlias = Literal["batches", "tokens"]
"""What a refusal is about: how many are open at all, or how large they are together."""


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """What refusals have taught.

    Attributes:
        most: How much may be open, as we believe.
        word: The provider's word for it.
        refusals: How many there were since one more than we believed possible went through.
        since: When the first of them came, or a batch went through after it, Unix seconds.
        until: When one more than we believe is tried, Unix seconds.
    """

    most: Most
    word: str
    refusals: int
    since: float
    until: float


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """What counts together.

    Attributes:
        of: Whose, in a word for people: `this account`, or a model.
        open: What is open.
        most: The limits.
        learnt: What refusals have taught.
        is_trying: Whether one more than we believe possible is under way.
    """

    of: str = "this account"
    open: Load = Load()
    most: Most = Most()
    learnt: Learnt | None = None
    is_trying: bool = False


class Go(NamedTuple):
    """Send it. `is_try`: it is more than we believe possible."""

    is_try: bool = False


class Wait(NamedTuple):
    """Not now.

    Attributes:
        why: What is said of it.
        pool: Whose room is missing, by its position among those that were looked at.
        until: When to look again although nothing ended, Unix seconds; None: something has to end.
    """

    why: str
    pool: int
    until: float | None = None


def may_send(pools: Sequence[Pool], what: Load, now: float) -> Go | Wait:
    """Say whether a batch may be sent.

    A batch that alone is larger than a limit goes when nothing else is open: whether it is too large, the provider says.

    Args:
        pools: Those that it would be counted in.
        what: What it adds.
        now: Unix seconds.
    """
    is_try = False
    for position, pool in enumerate(pools):
        full = _fullness(pool.open, pool.most, what, pool.of) if pool.open.batches else None
        if full is not None:
            return Wait(f"waiting for room: {full}", position)
        learnt = pool.learnt
        if learnt is None or _fullness(pool.open, learnt.most, what, pool.of) is None:
            continue
        why = f"waiting for room: {learnt.word} with {_count(pool.open.batches)} of {pool.of} open"
        if now < learnt.until:
            return Wait(why, position, learnt.until)
        if pool.is_trying:
            return Wait(f"{why}, one more is tried", position)
        is_try = True
    return Go(is_try)


def _fullness(opened: Load, most: Most, what: Load, whose: str) -> str | None:
    """Say of which there is too much; None where there is room."""
    total = opened.plus(what)
    if most.batches is not None and total.batches > most.batches:
        return f"{opened.batches:,} of {most.batches:,} batches of {whose} are open"
    if most.requests is not None and total.requests > most.requests:
        return f"{opened.requests:,} of {most.requests:,} requests of {whose} are open"
    if most.tokens is not None and total.tokens > most.tokens:
        return f"{_short(opened.tokens)} of {_short(most.tokens)} enqueued tokens of {whose}"
    return None


def _count(batches: int) -> str:
    return "1 batch" if batches == 1 else f"{batches:,} batches"


def _short(tokens: int) -> str:
    """Write a number of tokens as people speak of it: 1.9 M."""
    for unit, step in ((" B", 10**9), (" M", 10**6), (" k", 10**3)):
        if tokens >= step:
            return f"{tokens / step:.1f}{unit}"
    return f"{tokens}"


def after_refusal(
    patience: Patience,
    pool: Pool,
    what: Load,
    now: float,
    u: float,
    *,
    learns: Learns,
    word: str,
    retry_after: float | None = None,
) -> Learnt:
    """Give what a pool knows once a batch was refused for want of room.

    Args:
        patience: How long to wait.
        pool: Where it was refused; it is not counted there any more.
        what: What it would have added.
        now: Unix seconds.
        u: A random number in [0, 1).
        learns: What the refusal is about.
        word: The provider's word for it.
        retry_after: What the server asked for: the least that is waited.
    """
    former = pool.learnt
    refusals = former.refusals + 1 if former is not None else 1
    if learns == "batches":
        delay = next_send(patience, refusals, 0.0, u, retry_after=retry_after) or 0.0
    else:  # half of it at least: each try costs an upload
        delay = min(_TOKENS_CAP_S, _TOKENS_BASE_S * 2.0 ** min(refusals - 1, 64)) * (0.5 + 0.5 * u)
    believed = former.most if former is not None else Most()
    if learns == "batches":
        most = Most(batches=_lower(believed.batches, pool.open.batches), tokens=believed.tokens)
    else:
        most = Most(batches=believed.batches, tokens=_lower(believed.tokens, pool.open.tokens + what.tokens - 1))
    since = former.since if former is not None else now
    return Learnt(most=most, word=word, refusals=refusals, since=since, until=now + delay)


def _lower(believed: int | None, found: int) -> int:
    return found if believed is None else min(believed, found)


def after_success(pool: Pool, now: float, *, is_try: bool) -> Learnt | None:
    """Give what a pool knows once a batch went through; it is counted there.

    Where it was one more than we believed possible, a limit on batches is forgotten: the next refusal tells of it at once, and
    costs a call. One on tokens costs an upload and a batch each time, so it is raised, by a quarter of what is open.

    Args:
        pool: Where it is counted.
        now: Unix seconds.
        is_try: Whether it was one more than we believed possible.
    """
    learnt = pool.learnt
    if learnt is None or not is_try:
        return None if learnt is None else msgspec.structs.replace(learnt, since=now)
    if learnt.most.tokens is None:
        return None
    tokens = max(learnt.most.tokens, pool.open.tokens * 5 // 4)
    return msgspec.structs.replace(learnt, most=Most(tokens=tokens), refusals=0, since=now, until=now)


def remembered(pool: Pool, word: str, now: float) -> Learnt:
    """Give what a pool knows of which only stands in the journal that a batch of it was turned away: one at a time is tried."""
    if pool.learnt is not None:
        return pool.learnt
    return Learnt(most=Most(tokens=pool.open.tokens), word=word, refusals=0, since=now, until=now)


class Turn(NamedTuple):
    """A job that has something to send."""

    created_at: float
    job_id: str


def next_turn(waiting: Iterable[Turn], opened: Mapping[str, int], served: Mapping[str, int]) -> Turn | None:
    """Say which job is next: of those that have the fewest batches open the one whose turn was longest ago, else the oldest.

    So a job of a thousand batches holds up a small one for as long as some batches take, and is held up by none itself.

    Args:
        waiting: The jobs.
        opened: How many batches they have open.
        served: When they had their latest turn, as a number that grows; those that had none come first.
    """
    return min(waiting, key=lambda turn: (opened.get(turn.job_id, 0), served.get(turn.job_id, -1), turn), default=None)


def estimate_tokens(body_bytes: int, requests: int, *, answer_tokens: int = 0) -> int:
    """Estimate the tokens of requests, rather too many than too few; see `BYTES_PER_TOKEN`.

    Args:
        body_bytes: The length of their lines.
        requests: How many there are: each is at least one token.
        answer_tokens: How many their answers may have, where that counts.
    """
    return max(requests, -(-body_bytes // BYTES_PER_TOKEN)) + answer_tokens


def is_turned_away(status: ProviderStatus, full_codes: Collection[str]) -> bool:
    """Whether a batch failed for want of room and for nothing else, before anything of it ran."""
    is_unrun = status.status is BatchStatus.FAILED and not status.progress.done and not status.result_uris
    return is_unrun and bool(status.errors) and all(error.code in full_codes for error in status.errors)


def is_worth_another_try(tries: int, waited_s: float) -> bool:
    """Whether a batch that failed for want of room is sent again."""
    return tries < MOST_TRIES and waited_s < TRIED_FOR_S
