"""Fireworks' batch inference: rows are datasets, a batch has the name that we give it, and to cancel it is to delete it.

The bytes are read and written in `_shapes/fireworks.py`; here are the calls.

Source: the Gateway REST API of docs.fireworks.ai (version 4.259.0), fw-ai-external/python-sdk 1.2 (datasets,
batch_inference_jobs), and the behaviour noted in `docs/providers/fireworks.md`.
"""

import re
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import msgspec

from asyncbatch.base_provider import Downloaded, Profile
from asyncbatch.dto import FilePage, Match, PreparedSubmission, ProviderStatus, ProviderSubmitResult, StatusPage
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import (
    BAD_ID,
    ConfigError,
    ProviderError,
    ProviderPermanentError,
    ProviderTransientError,
    SubmissionUnknownError,
)
from asyncbatch.planning.marks import encode_file_name, job_of_tag, mark_of_job
from asyncbatch.providers._shapes.fireworks import (
    OURS,
    Dataset,
    address_of,
    answer_files,
    decode_addresses,
    decode_dataset,
    decode_datasets,
    decode_line,
    decode_page,
    decode_size,
    decode_status,
    encode_create,
    encode_dataset,
    encode_line,
    gone_status,
    is_created,
    is_deletion,
    match_of,
    output_of,
)
from asyncbatch.secrecy import Hidden
from asyncbatch.spool import SpoolFile
from asyncbatch.wire_provider import GONE, WireProvider, without_empty

_JOBS, _JOB = "batchInferenceJobs", "batchInferenceJobs/{}"
_DATASETS, _DATASET = "datasets", "datasets/{}"
_EXISTS, _ABORTED = "6", "10"
"""Numbers of gRPC that come with the status 409: the name is taken, and something went on at the same time."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,57}[a-z0-9])?")
"""Of a batch: as long as a dataset's may be, less the end that the dataset of its answers has."""
_NONCE = 16
_REMEMBERED = 10_000
"""Batches that were deleted; who is asked about beyond that is not found."""
_LOOKS, _LONGEST_LOOK_S = 40, 10.0
"""At a dataset that is not ready: six minutes in all."""
_ADDRESSES = 3
"""For one upload, one after the other."""
_REFUSED_BYTES = frozenset({400, 403})
"""What services of storage answer to an address whose time is over."""
_HAS_ROWS = frozenset({_EXISTS, "9"})
"""What may be answered to an upload whose first attempt arrived, the second for FAILED_PRECONDITION: none is documented."""


class FireworksBatchProvider(WireProvider):
    """Batches on Fireworks."""

    PROVIDER_NAME = "fireworks"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deleted = dict[
            str, None
        ]()  # the batches of which we know why they are gone, once they are; the oldest first

    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        del endpoint, is_inline  # there is one of either
        return encode_line(wire_id, body)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        ours = sorted(OURS & options.keys())
        if ours:
            message = f"{self.PROVIDER_NAME}: options name {', '.join(ours)}, which the batch itself says"
            raise ConfigError(message, code="config.value", hint="leave it out of the options")

    def match_of(self, submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
        return match_of(submission, status)

    def is_early(self, status: ProviderStatus) -> bool:
        return status.status is BatchStatus.COMPLETED and not status.result_uris

    def tag_of(self, status: ProviderStatus) -> str | None:
        return status.provider_batch_id

    @property
    def names_inputs(self) -> bool:
        return True

    # Sending

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Make a dataset of the lines, under a name that no other has, and wait until it may be used."""
        spool, name = self.input_of(submission), encode_file_name(submission)
        self._name_of(submission)  # one that no batch can have is refused before its rows go up
        dataset = self._fresh_name(submission)
        await self._make_dataset(encode_dataset(dataset, name, submission.request_count))
        most = self.facts.limits.upload_bytes
        send = self._send if most is None or spool.size <= most.value else self._send_aside
        try:
            await send(dataset, spool, name)
            await self._ready(dataset)
        except BaseException:
            await self.give_up(self._at(_DATASET, dataset))
            raise
        expires_at = self.input_end(None, self.input_expiry_of(submission))
        return submission.replace(input_ref=dataset, input_expires_at=expires_at)

    async def _make_dataset(self, body: bytes) -> None:
        try:
            await self.transport.post(self._at(_DATASETS), body)
        except ProviderError as error:  # of either kind: a header may say of any refusal that it passes
            if error.code != _EXISTS:  # nobody else has such a name: it was made, and its answer was lost
                raise

    async def _send(self, dataset: str, spool: Any, name: str) -> None:
        path = self._at(f"{_DATASET}:upload", dataset)
        try:
            answer = await self.transport.upload(path, spool, filename=name, fields={})
        except ProviderError as error:
            if error.code not in _HAS_ROWS:  # nobody else fills it: an attempt whose answer was lost has brought them
                raise
            return
        size = self.read(decode_size, answer, f"POST {path}")
        if size is not None and size != spool.size:
            message = f"{self.PROVIDER_NAME}: {size} bytes of {spool.size} arrived"
            raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_cut")

    async def _send_aside(self, dataset: str, spool: Any, name: str) -> None:
        """Put rows that are too many for the API where it says; an address that has become too old is asked for anew."""
        path = self._at(f"{_DATASET}:getUploadEndpoint", dataset)
        wanted = msgspec.json.encode({"filenameToSize": {name: str(spool.size)}})
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Goog-Content-Length-Range": f"{spool.size},{spool.size}",
        }
        for _ in range(_ADDRESSES):
            addresses = self.read(decode_addresses, (await self.transport.post(path, wanted)).body, f"POST {path}")
            answer = await self.transport.send_to(
                address_of(addresses, name), method="PUT", headers=headers, body=spool, also=_REFUSED_BYTES
            )
            if answer.status not in _REFUSED_BYTES:
                await self.transport.post(self._at(f"{_DATASET}:validateUpload", dataset), b"{}")
                return
        message = f"{self.PROVIDER_NAME}: the service of storage refuses the upload, at {_ADDRESSES} addresses"
        raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_lost")

    async def _ready(self, dataset: str) -> None:
        state = None
        for look in range(_LOOKS):
            found = await self._dataset(dataset)
            state = found.state
            if state == "READY":
                return
            if found.status is not None and found.status.word not in ("OK", "UNKNOWN"):
                why = found.status.text or found.status.word
                message = f"{self.PROVIDER_NAME}: the dataset cannot be used: {why}"
                raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="upload_failed")
            await self.runtime.sleep(min(2.0**look, _LONGEST_LOOK_S))
        message = f"{self.PROVIDER_NAME}: the dataset is still not ready: {state or 'no state'}"
        raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_processing")

    async def _dataset(self, dataset: str) -> Dataset:
        path = self._at(_DATASET, dataset)
        return self.read(decode_dataset, await self.transport.get(path), f"GET {path}")

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        # Sent once, as everywhere. That its name is taken is a good answer, though a header may call it one that passes: nobody
        # else makes such names.
        name = self._name_of(submission)
        body, is_ours = encode_create(submission, name, self._account), partial(is_created, name=name)
        try:
            answer = await self.transport.create(
                self._at(_JOBS),
                body,
                params={"batchInferenceJobId": name},
                is_created=is_ours,
                refusals=(_EXISTS, _ABORTED),
            )
        except ProviderError as error:
            if error.code != _EXISTS:
                raise
            return self.submit_result(await self._taken(name, submission, error))
        return self.submit_result(decode_status(answer, self.facts))

    async def _taken(self, name: str, submission: PreparedSubmission, refusal: ProviderError) -> ProviderStatus:
        """Give the batch that has a name already: an attempt of ours whose answer was lost, and not one of other rows."""
        try:
            status = await self._status(name)
        except ProviderError as error:
            why = f"what has the name cannot be seen: {error.message}"
            hint = "look for it at the provider before you send it again: `find_submissions`"
        else:
            if not status.input_ref or status.input_ref == submission.input_ref:
                return status
            why = f"batch {name} reads dataset {status.input_ref}, and not {submission.input_ref}"
            hint = "look at that batch; other requests need a tag of their own"
        raise SubmissionUnknownError(
            f"{refusal.message}; and {why}", provider=self.PROVIDER_NAME, code="create_unknown", hint=hint
        )

    def _name_of(self, submission: PreparedSubmission) -> str:
        """Give the name of a batch: its tag, by which it is found again, or else any that is free."""
        name = submission.tag or self._fresh_name(submission)
        if not _NAME.fullmatch(name):
            message = f"{self.PROVIDER_NAME}: no batch can have the name {name!r}"
            hint = "a tag has small letters, digits and hyphens"
            raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code=BAD_ID, hint=hint)
        return name

    def _fresh_name(self, submission: PreparedSubmission) -> str:
        """Give a name that nothing has; it tells of which job it is."""
        return f"ab1-{mark_of_job(submission.batch_id.hex)}-{submission.chunk_index:04d}-{self.runtime.nonce(_NONCE)}"

    async def find_submissions(self, submission: PreparedSubmission, *, since: float) -> list[Match]:
        """Ask for the batch by its name; one that was made without a tag is known by its input, and looked for on the list."""
        if submission.tag is None:
            return await super().find_submissions(submission, since=since)
        try:
            status = await self._status(self._name_of(submission))
        except ProviderPermanentError as error:
            if error.status in GONE:
                return []
            raise
        found = match_of(submission, status)
        return [found] if found is not None else []

    # Watching

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        return await self._status(provider_batch_id, Profile.POLL)

    async def _status(self, name: str, profile: Profile = Profile.CONTROL) -> ProviderStatus:
        """Ask where a batch stands; one that was deleted is cancelled, however soon nobody knows it any more."""
        try:
            decode = partial(decode_status, facts=self.facts)
            return self._noted(await self.get_status(self._at(_JOB, name), decode, profile=profile, of=name))
        except ProviderPermanentError as error:
            if error.status not in GONE or name not in self._deleted:
                raise
        return gone_status(name, self.facts)

    def _noted(self, status: ProviderStatus) -> ProviderStatus:
        """Remember of a batch that is being deleted, by somebody else too, that it is."""
        if is_deletion(status):
            self._remember(status.provider_batch_id)
        return status

    def _remember(self, name: str) -> None:
        """Remember why a batch is gone, of as many as may be asked about still: an account is watched for months."""
        self._deleted.pop(name, None)
        self._deleted[name] = None
        if len(self._deleted) > _REMEMBERED:
            del self._deleted[next(iter(self._deleted))]

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        """Delete a batch that is not over. One of ours that is gone was cancelled before, by another process perhaps."""
        try:
            status = await self._status(provider_batch_id)
        except ProviderPermanentError as error:
            if error.status not in GONE or job_of_tag(provider_batch_id) is None:
                raise
        else:
            if status.status.is_terminal:  # to delete it now would take nothing but the record
                return status
        self._remember(provider_batch_id)  # before: the answer may be lost, or not be waited for
        try:
            await self.delete_at(self._at(_JOB, provider_batch_id))
        except ProviderPermanentError:  # refused: it goes on, and whatever is said of it later is not of our making
            self._deleted.pop(provider_batch_id, None)
            raise
        return await self._status(provider_batch_id)

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        return await self._page(cursor, limit, Profile.CONTROL)

    async def poll_page(self, *, cursor: str | None = None) -> StatusPage:
        return await self._page(cursor, None, Profile.POLL)

    async def _page(self, cursor: str | None, limit: int | None, profile: Profile) -> StatusPage:
        path, params = self._at(_JOBS), {**self._part_of_list(limit, cursor), "orderBy": "create_time desc"}
        body = await self.transport.get(path, params=params, profile=profile)
        page = self.read(partial(decode_page, facts=self.facts), body, f"GET {path}")
        for status in page.statuses:
            self._noted(status)
        return page

    # Answers

    async def download(self, provider_batch_id: str) -> Downloaded:
        """Bring the answers, whatever the end; a batch that failed, or was deleted, has no dataset of them."""
        status = await self.settled_status(partial(self._status, provider_batch_id))
        decode = partial(decode_line, format=self.facts.format_of(status.endpoint or ""), facts=self.facts)
        places = [place for dataset in status.result_uris for place in await self._places(dataset, status.status)]
        return await self.download_files(places, decode)

    async def _places(self, dataset: str, end: BatchStatus) -> list[str]:
        """Name the files of answers in a dataset."""
        try:
            names = answer_files(await self._addresses(dataset))
        except ProviderPermanentError as error:
            if error.status in GONE and end is not BatchStatus.COMPLETED:
                return []
            raise
        if not names and end is BatchStatus.COMPLETED:
            message = f"{self.PROVIDER_NAME}: dataset {dataset} names no file of answers"
            raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="no_files")
        return [f"{dataset}:{name}" for name in names]

    async def download_into(self, place: str, file: SpoolFile, headers: Mapping[str, str] | None) -> bool:
        del headers  # the address that is called is somebody else's
        dataset, _, name = place.partition(":")

        async def address() -> str:  # they last ten minutes, and a file may take longer
            return address_of(await self._addresses(dataset), name)

        return await self.transport.download_from(address, file)

    async def _addresses(self, dataset: str) -> Hidden:
        path = self._at(f"{_DATASET}:getDownloadEndpoint", dataset)
        return self.read(decode_addresses, await self.transport.get(path), f"GET {path}")

    # Deleting

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete the datasets of a batch that is over: its input and its answers. The record stays."""
        try:
            status = await self._status(provider_batch_id)
        except ProviderPermanentError as error:
            if error.status not in GONE:
                raise
            # One that was deleted names its input no more; that of its answers has a name of our making.
            is_ours = job_of_tag(provider_batch_id) is not None
            return int(is_ours and await self.delete_file(output_of(provider_batch_id)))
        self.check_ended(status)
        return sum([await self.delete_file(dataset) for dataset in _datasets_of(status)])

    async def delete_file(self, ref: str) -> bool:
        return await self.delete_at(self._at(_DATASET, ref))

    async def list_files(self, *, cursor: str | None = None, limit: int | None = None) -> FilePage:
        """Give a page of the datasets of batches that this library sent; an account has many for other things."""
        path = self._at(_DATASETS)
        body = await self.transport.get(path, params=self._part_of_list(limit, cursor))
        return self.read(decode_datasets, body, f"GET {path}")

    def is_left(self, status: ProviderStatus, files: Collection[str]) -> bool:
        return any(dataset in files for dataset in _datasets_of(status))

    # Calls

    @property
    def _account(self) -> str:
        return self.account.options["account_id"]

    def _at(self, template: str, *ids: str) -> str:
        """Give a path below the account's own."""
        return self.path(f"/accounts/{{}}/{template}", self._account, *ids)

    def _part_of_list(self, limit: int | None, cursor: str | None) -> dict[str, str]:
        return {"pageSize": str(self.page_size(limit)), **({"pageToken": cursor} if cursor else {})}


def _datasets_of(status: ProviderStatus) -> tuple[str, ...]:
    return without_empty((status.input_ref, *status.result_uris))
