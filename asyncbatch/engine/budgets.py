"""What a job would use of its account's budget, and what the account has used: estimates before, the journal's count after."""

import re
from collections.abc import Sequence

import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.catalog import Catalog, Price
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.line import load_of
from asyncbatch.engine.own_limits import OwnLimits
from asyncbatch.exceptions import ConfigError
from asyncbatch.journal import OPEN_STATES, Allow, JobRecord, Journal
from asyncbatch.planning.budgets import DAY_S, AccountUsage, Spent, check_budget, dollars_of, used_by
from asyncbatch.planning.room import AccountLimits, Load, estimate_tokens
from asyncbatch.runtime import Runtime

_MOST = re.compile(rb'(?<!\\)"(?:max_(?:completion_|output_)?tokens|maxOutputTokens)"\s*:\s*(\d{1,9})')
"""How a request says how long its answer may be, in the formats of all providers; inside a text its quotes have backslashes."""


class Budgets:
    """The budgets of a client's accounts.

    Args:
        limits: Who may use how much.
        catalog: For prices.
        journal: Knows what was used, whichever process accepted it.
        runtime: The clock, and threads.
    """

    def __init__(self, limits: OwnLimits, catalog: Catalog, journal: Journal, runtime: Runtime) -> None:
        self._limits = limits
        self._catalog = catalog
        self._journal = journal
        self._runtime = runtime

    async def ask(
        self, record: JobRecord, provider: BaseBatchProvider, submissions: Sequence[PreparedSubmission]
    ) -> tuple[JobRecord, Allow | None]:
        """Give a job with its estimates, and what the journal asks before it accepts it; nothing where nothing is limited.

        Raises:
            ConfigError: Dollars are limited, and the price of the model is not known.
        """
        limits = self._limits.of(record.account)
        if not limits.has_budget:
            return record, None
        if limits.tokens_per_day is not None or limits.usd_per_day is not None:
            record = await self._estimated(record, provider, submissions, limits)
        asked = Spent(
            at=record.created_at,
            provider=record.provider,
            model=record.model,
            requests=record.request_count - record.rejected_count,
            tokens=record.tokens,
            usd=record.usd,
        )

        def allow(spent: Sequence[Spent]) -> None:
            check_budget(limits, spent, asked, self._price_of, account=record.account)

        return record, allow

    async def _estimated(
        self,
        record: JobRecord,
        provider: BaseBatchProvider,
        submissions: Sequence[PreparedSubmission],
        limits: AccountLimits,
    ) -> JobRecord:
        prompts = sum(estimate_tokens(_size_of(item), item.request_count) for item in submissions)
        answers = 0
        for item in submissions:
            answers += await self._answer_tokens(item)
        usd = None
        if limits.usd_per_day is not None:
            usd = dollars_of(self._price_of(record.provider, record.model), (prompts, 0, answers))
            if usd is None:
                message = (
                    f"{provider.PROVIDER_NAME}: the price of {record.model!r} is not known, and dollars are limited"
                )
                hint = "give it a price in llm_config.yaml, or take usd_per_day away"
                raise ConfigError(message, code="budget.price", hint=hint)
        return msgspec.structs.replace(record, tokens=prompts + answers, usd=usd)

    async def _answer_tokens(self, submission: PreparedSubmission) -> int:
        """Add up how long answers may be, as far as requests say so."""
        if submission.spool is None:
            return _allowed_in(b"\n".join(bytes(line) for line in submission.payloads))
        total, rest = 0, b""
        async for piece in submission.spool.chunks():
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            total += await self._runtime.offload(_allowed_in, whole + newline)
        return total + _allowed_in(rest)

    def _price_of(self, provider: str, model: str) -> Price | None:
        return self._catalog.provider(provider).price_of(model) if provider in self._catalog.names() else None

    async def usage(self, account: str | None) -> AccountUsage:
        """Give what an account has open, and what it has used within a day."""
        opened, waiting = Load(), 0
        for item in await self._journal.unsettled(account):
            if item.record.state in OPEN_STATES:
                opened = opened.plus(load_of(item.record))
            elif item.record.end is None and item.record.ending is None:
                waiting += 1
        used = used_by(await self._journal.spent(account, self._runtime.now() - DAY_S), self._price_of)
        return AccountUsage(
            account=account,
            limits=self._limits.of(account),
            open_batches=opened.batches,
            open_requests=opened.requests,
            enqueued_tokens=opened.tokens,
            waiting_batches=waiting,
            requests=used.requests,
            tokens=used.tokens,
            usd=used.usd,
        )


def _size_of(submission: PreparedSubmission) -> int:
    return submission.spool.size if submission.spool is not None else sum(len(line) for line in submission.payloads)


def _allowed_in(lines: bytes) -> int:
    return sum(int(found) for found in _MOST.findall(lines))
