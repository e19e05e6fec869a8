"""What every provider promises, asked of each that is found by name, against its own dialect of the emulator.

No list names the providers: `registry.available()` finds them, the catalog says what they can do, and the emulator, which
shares no code and no facts with them, says whether it is so.
"""

import asyncio
import re
from importlib import import_module

import anyio
import pytest

from asyncbatch import (
    AmbiguousSubmissionError,
    BatchMode,
    BatchPoller,
    BatchStatus,
    ConfigError,
    InputMode,
    InvalidRequestsError,
    ProviderPermanentError,
    ProviderTransientError,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.emulator import Fault, faults, paid_twice
from asyncbatch.emulator.dialect import load_dialects
from asyncbatch.exceptions import UNCANCELLABLE
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import virtual_runtime
from tests.providers.world import (
    CHAT,
    GATEWAYS,
    JOB,
    KEY,
    MODEL,
    body_for,
    dialect_of,
    facts_of,
    short,
    statuses,
    world,
)

REGISTRY = BatchProviderRegistry()
NAMES = (*REGISTRY.available(), *GATEWAYS)
FACTS = {name: facts_of(name) for name in NAMES}
MODES = {name: {endpoint.mode for endpoint in FACTS[name].endpoints} for name in NAMES}
WAYS = [(name, way) for name in NAMES for way in FACTS[name].inputs]


def safety(name, way):
    facts = FACTS[name]
    return (way is InputMode.INLINE and facts.inline_submit_safety) or facts.submit_safety


def ways(*classes):
    """Give every way in which a provider's requests travel whose creates are as safe as this."""
    return [pytest.param(name, way, id=f"{name}-{way}") for name, way in WAYS if safety(name, way) in classes]


def has_two_files(name):
    """Say whether errors lie in a file of their own, as the emulator, our second opinion, has it."""
    family = import_module(f"asyncbatch.emulator.families.{load_dialects()[dialect_of(name)].family}")
    return family.Protocol.has_error_file


def has_storage(name):
    """Say whether answers lie with a storage whose addresses are signed, as the emulator has it: no refusal is the key's."""
    return "url_lifetime_s" in load_dialects()[dialect_of(name)].protocol


def holds_answers(name):
    """Say whether a batch has its answers in itself, as the emulator has it, and a poll is how they are fetched."""
    family = import_module(f"asyncbatch.emulator.families.{load_dialects()[dialect_of(name)].family}")
    return family.Protocol.holds_answers


def results_of(name):
    """Say by which operation answers are fetched."""
    return "poll" if holds_answers(name) else "results"


def manners_of(name):
    """Give what the emulator knows of a service that imitates another one."""
    return load_dialects()[dialect_of(name)].protocol.get("manners", {})


def has_counts(name):
    """Say whether a batch counts its requests."""
    return manners_of(name).get("shape") != "job"


def ends_with_its_window(name):
    """Say whether a batch ends with the window that it is told, as the emulator, our second opinion, has it."""
    return "promised_s" not in manners_of(name)


def tells_no_status(name):
    """Say whether an error in a file says neither its status nor whether it passes."""
    return manners_of(name).get("row_errors") == "word"


def downloads_of(name):
    """Say how often files are asked for where every row went well: one that is empty is looked at twice."""
    return 3 if manners_of(name).get("empty_error_file") else 1


def mark_of(name):
    """Say what shows that a batch is ours: our tag, or the file that it was made of."""
    return "input" if load_dialects()[dialect_of(name)].protocol.get("metadata", True) is None else "tag"


def pages_of(name, pages):
    """Say how often a list is asked for that has so many pages, where it has any."""
    return pages if FACTS[name].wire.pages else 1


def downloads(name, way):
    """Say whether answers are files, and do not come with the batch itself."""
    return not holds_answers(name) and (way is InputMode.FILE or len(FACTS[name].inputs) == 1)


def names_results(name):
    """Say whether a batch names the files of its answers; else they are pages that stay for as long as it does."""
    family = import_module(f"asyncbatch.emulator.families.{load_dialects()[dialect_of(name)].family}")
    return family.Protocol.names_results


def leaves(name, way):
    """Say whether anything of a batch can be deleted: its input, or its answers."""
    return way is InputMode.FILE or names_results(name)


def joins(name, way):
    """Say whether requests are added to a batch that was made for them, so that a second create has no other."""
    return way is InputMode.INLINE and "wrappers" in load_dialects()[dialect_of(name)].protocol


def lists_of(name, way, pages):
    """Say how often a lost create has a list of so many pages asked for: never where its batch is known before."""
    return 0 if joins(name, way) else pages_of(name, pages)


def takes(name, way, path):
    """Say whether requests for an endpoint may travel so."""
    return way is InputMode.FILE or path not in load_dialects()[dialect_of(name)].protocol.get("file_only", ())


def tells_moments(name):
    """Say whether a batch tells when it was made and when it ended, and not the day alone."""
    return load_dialects()[dialect_of(name)].protocol.get("moments") != "days"


ENDPOINTS = [
    pytest.param(name, way, endpoint, id=f"{name}-{way}-{endpoint.path}")
    for name, way in WAYS
    for endpoint in FACTS[name].endpoints
    if takes(name, way, endpoint.path)
]
every_provider = pytest.mark.parametrize("name", NAMES)
every_way = pytest.mark.parametrize(("name", "way"), ways(*SubmitSafety))
every_download = pytest.mark.parametrize(
    ("name", "way"), [pytest.param(name, way, id=f"{name}-{way}") for name, way in WAYS if downloads(name, way)]
)
every_place_of_answers = pytest.mark.parametrize(
    ("name", "way"), [pytest.param(name, way, id=f"{name}-{way}") for name, way in WAYS if names_results(name)]
)
every_pair_of_files = pytest.mark.parametrize("name", [name for name in NAMES if has_two_files(name)])
every_tagged_way = pytest.mark.parametrize(("name", "way"), ways(SubmitSafety.TAGGED, SubmitSafety.TAGGED_FENCED))
every_fenced_way = pytest.mark.parametrize(("name", "way"), ways(SubmitSafety.TAGGED_FENCED))
every_named_way = pytest.mark.parametrize(("name", "way"), ways(SubmitSafety.NAMED))
every_listed_way = pytest.mark.parametrize(("name", "way"), ways(*(set(SubmitSafety) - {SubmitSafety.NAMED})))
every_cancelling_way = pytest.mark.parametrize(
    ("name", "way"), [pytest.param(name, way, id=f"{name}-{way}") for name, way in WAYS if FACTS[name].cancels]
)
every_inferred_way = pytest.mark.parametrize(("name", "way"), ways(SubmitSafety.INFERRED))


def chat(prompt):
    return {"messages": [{"role": "user", "content": prompt}]}


def outlives_its_window(name):
    """Ten rows at this pace need somewhat longer than the window: eight and a half are done when it ends."""
    return {"row_s": FACTS[name].window_s / 8.64, "run_cap_s": None}


def fit_id(name, wanted, otherwise):
    return wanted if re.fullmatch(FACTS[name].request_id_pattern, wanted) else otherwise


async def gather(stream, rows):
    """Keep the rows that come before the stream ends, or fails."""
    async for row in stream:
        rows.append(row)


@pytest.mark.parametrize("name", REGISTRY.available())
async def test_the_provider_is_found_by_its_name_alone(name):
    cls = REGISTRY.get(name)

    assert name == cls.PROVIDER_NAME
    assert REGISTRY.list() == []


@every_provider
async def test_a_scope_knows_the_provider_and_gives_one_class_each_time(name):
    async with world(name) as here:
        first, again = here.scope.get(name), here.scope.get(name)
        known = here.scope.available(), here.scope.is_registered(name)

    assert first is again
    assert (name, True) == (first.PROVIDER_NAME, known[1])
    assert name in known[0]


@pytest.mark.parametrize("name", [name for name in NAMES if FACTS[name].models_list])
async def test_the_models_of_the_account_are_named_and_nothing_is_sent(name):
    async with world(name) as here:
        names = await here.provider.list_models()
        methods = {record.method for record in here.emulator.history if record.kind == "request"}

    assert names
    assert len(names) == len(set(names))
    assert not any(model.startswith("models/") for model in names)
    assert methods == {"GET"}


# From requests to answers


@pytest.mark.parametrize(("name", "way", "endpoint"), ENDPOINTS)
async def test_every_endpoint_of_the_catalog_takes_a_batch_to_its_answers(name, way, endpoint):
    async with world(name, way) as here:
        body = body_for(endpoint)
        status, rows = await here.run([body, body], mode=BatchMode.CUSTOM, endpoint=endpoint.path)

    assert (status.status, status.endpoint) == (BatchStatus.COMPLETED, endpoint.path)
    assert statuses(rows) == {"0000000": "succeeded", "0000001": "succeeded"}
    assert {row.format for row in rows} == {endpoint.format}
    assert all(isinstance(row.response, dict) for row in rows)


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in NAMES for mode in (BatchMode.CHAT, BatchMode.COMPLETION) if mode in MODES[name]],
)
async def test_a_mode_that_makes_text_answers_a_bare_prompt_with_text_and_usage(name, mode):
    async with world(name) as here:
        _, (row,) = await here.run(["What is the time?"], mode=mode)

    assert row.text == "echo: What is the time?"
    assert row.usage.total_tokens == row.usage.prompt_tokens + row.usage.completion_tokens > 0


@pytest.mark.parametrize("name", [name for name in NAMES if BatchMode.EMBEDDING in MODES[name]])
async def test_an_embedding_is_a_vector_for_each_text(name):
    most = FACTS[name].limits.inputs_per_request
    texts = ["two", "three"] if most is None else ["two"]
    async with world(name) as here:
        _, rows = await here.run(["one", {"input": texts}], mode=BatchMode.EMBEDDING)
        by_id = {row.request_id: row for row in rows}

    assert len(by_id["0000000"].embeddings) == 1
    assert len(by_id["0000001"].embeddings) == len(texts)
    assert by_id["0000000"].embedding == pytest.approx(by_id["0000000"].embeddings[0])
    assert sum(x * x for x in by_id["0000000"].embedding) == pytest.approx(1)


@pytest.mark.parametrize("name", [name for name in NAMES if FACTS[name].limits.inputs_per_request])
async def test_more_texts_than_a_request_may_ask_for_are_refused_by_name(name):
    async with world(name) as here:
        with pytest.raises(InvalidRequestsError, match="input") as caught:
            await here.prepare([{"input": ["two", "three"]}], mode=BatchMode.EMBEDDING)

    assert caught.value.count == 1


@every_provider
async def test_requests_may_come_from_a_list_an_iterator_or_an_async_iterator(name):
    async def stream():
        for word in "abc":
            yield word

    async with world(name) as here:
        sent = [await here.prepare_one(requests) for requests in (list("abc"), iter("abc"), stream())]

    assert len({tuple(bytes(line) for line in submission.payloads) for submission in sent}) == 1
    assert [submission.request_count for submission in sent] == [3, 3, 3]


@every_way
async def test_the_users_ids_come_back_on_the_answers(name, way):
    ids = [fit_id(name, f"row {n} é", f"row_{n}-e") for n in range(3)]
    async with world(name, way) as here:
        _, rows = await here.run([{"custom_id": request_id, "body": CHAT} for request_id in ids])

    assert statuses(rows) == dict.fromkeys(ids, "succeeded")


@every_way
async def test_minted_ids_travel_in_place_of_the_users_and_carry_the_rows_number(name, way):
    async with world(name, way) as here:
        submission = await here.prepare_one([{"custom_id": "private", "body": CHAT}], wire_ids="minted")
        batch = await here.provider.submit(submission)
        await here.end(batch.provider_batch_id)
        (row,) = await here.rows(batch.provider_batch_id)

    assert list(submission.request_ids) == ["private"]
    assert row.request_id == f"{submission.wire_prefix}0000000"
    assert b"private" not in bytes(submission.payloads[0])


@every_way
async def test_a_fifth_more_than_the_limit_of_rows_becomes_two_batches_and_no_row_is_lost(name, way):
    async with world(name, way, rows=10, limits={"rows": 10}) as here:
        submissions = await here.prepare([f"prompt {n}" for n in range(12)])
        shape = [(s.chunk_index, s.total_chunks, s.first_row, s.request_count) for s in submissions]
        ids = [request_id for s in submissions for request_id in s.request_ids]
        batches = [await here.provider.submit(submission) for submission in submissions]
        ends = [await here.end(batch.provider_batch_id) for batch in batches]
        rows = [row for batch in batches for row in await here.rows(batch.provider_batch_id)]

    assert shape == [(0, 2, 0, 10), (1, 2, 10, 2)]
    assert ids == [f"{n:07d}" for n in range(12)]
    assert [end.status for end in ends] == [BatchStatus.COMPLETED] * 2
    assert sorted(row.request_id for row in rows) == ids


@every_way
async def test_the_limit_of_bytes_splits_as_well(name, way):
    facts = {"limits": {"file_bytes": 1000, "inline_bytes": 2024}}
    async with world(name, way, facts=facts, limits={"file_bytes": 1000, "inline_bytes": 2024}) as here:
        submissions = await here.prepare(["x" * 200] * 8)
        sizes = [submission.spool.size for submission in submissions]
        ends = [await here.end((await here.provider.submit(item)).provider_batch_id) for item in submissions]

    assert len(sizes) > 1
    assert max(sizes) <= 1000
    assert [end.status for end in ends] == [BatchStatus.COMPLETED] * len(sizes)


@every_provider
async def test_the_same_requests_make_the_same_bytes(name):
    async with world(name) as here:
        first, second = [await here.prepare_one(["a", {"messages": []} | CHAT]) for _ in range(2)]

    assert first.payloads == second.payloads
    assert first.spool.size == second.spool.size


@every_provider
async def test_nothing_is_sent_when_a_row_is_bad(name):
    requests = ["fine", {"messages": [{"role": "user", "content": float("nan")}]}, 7]
    async with world(name) as here:
        with pytest.raises(InvalidRequestsError, match=r"row 1: .*row 2: ") as caught:
            await here.prepare(requests)
        history = here.emulator.history

    assert (caught.value.count, [problem.row for problem in caught.value.problems]) == (2, [1, 2])
    assert history == []


@every_provider
async def test_bad_rows_are_reported_and_the_others_go_where_that_is_asked_for(name):
    rejected = []
    async with world(name) as here:
        submission = await here.prepare_one(["fine", 7, "fine too"], on_reject=rejected.append)

    assert [problem.row for problem in rejected] == [1]
    assert list(submission.request_ids) == ["0000000", "0000002"]


@pytest.mark.parametrize(  # which models a gateway or a resource of one's own has, only its owner knows
    "name", [name for name in REGISTRY.available() if FACTS[name].model("no-such-model") is None]
)
async def test_an_unknown_model_is_refused_with_the_lines_that_would_allow_it(name):
    async with world(name) as here:
        provider = here.provider
        with pytest.raises(ConfigError, match="no-such-model") as caught:
            await provider.prepare_payloads(batch_id=JOB, model="no-such-model", mode=BatchMode.CHAT, requests=["x"])

    assert caught.value.code == "model.unknown"
    assert "match: no-such-model" in str(caught.value).replace('"', "")


@every_provider
async def test_an_unknown_model_goes_where_the_caller_answers_for_it(name):
    async with world(name) as here:
        config = {"api_key": "k-anything", "base_url": here.base_url, "allow_unknown_model": True}
        provider = here.scope.create(name, config)
        (submission,) = await provider.prepare_payloads(
            batch_id=JOB, model="no-such-model", mode=BatchMode.CHAT, requests=[{**CHAT, "max_tokens": 5}]
        )

    assert submission.model == "no-such-model"


@every_provider
@pytest.mark.parametrize(
    ("endpoint", "code"), [(None, "endpoint.missing"), ("/v1/nowhere", "endpoint.unknown")], ids=["none", "unlisted"]
)
async def test_custom_needs_an_endpoint_that_the_catalog_lists(name, endpoint, code):
    async with world(name) as here:
        with pytest.raises(ConfigError) as caught:
            await here.prepare([{"input": "x"}], mode=BatchMode.CUSTOM, endpoint=endpoint)

    assert caught.value.code == code
    assert FACTS[name].endpoints[0].path in str(caught.value)


@every_provider
async def test_an_answer_about_another_batch_says_nothing_about_this_one(name):
    names = faults.Rewrite(fields={"id": "batch_another-1", "batch_id": "batch_another-1", "name": "batches/another-1"})
    async with world(name, faults=[Fault(effect=names, operation="poll")]) as here:
        batch = await here.start(["a"])
        here.pass_window()
        with pytest.raises(ProviderTransientError, match=r"told about '(batch_|batches/)?another-1'") as caught:
            await here.provider.poll_status(batch.provider_batch_id)
        status = await here.provider.poll_status(batch.provider_batch_id)

    assert caught.value.code == "foreign_answer"
    assert short(status.provider_batch_id) == short(batch.provider_batch_id)
    assert status.status.is_terminal


# How rows and batches end


@every_way
async def test_a_batch_in_which_every_row_failed_is_completed_and_gives_every_row(name, way):
    async with world(name, way) as here:
        status, rows = await here.run([f"[[error:400]] {n}" for n in range(4)])

    has_failed = manners_of(name).get("fails_without_success", False)
    assert status.status is (BatchStatus.FAILED if has_failed else BatchStatus.COMPLETED)
    assert (status.progress.completed, status.progress.failed) == ((0, 4) if has_counts(name) else (0, 0))
    assert [row.status for row in rows] == [ResultStatus.ERRORED] * 4
    assert {(row.error.retryable, bool(row.error.code), bool(row.error.message)) for row in rows} == {
        (False, True, True)
    }


@every_way
async def test_each_row_of_a_mixed_batch_ends_in_its_own_way(name, way):
    troubles = [
        "error:400",
        "error:429",
        "error:500",
        "expire",
        "missing",
        "garbage",
        "duplicate",
        "conflict",
        "stranger",
    ]
    named = {word.replace(":", "-"): word for word in troubles}
    requests = [{"custom_id": name, "body": chat(f"[[{word}]]")} for name, word in named.items()]
    async with world(name, way) as here:
        status, rows = await here.run([{"custom_id": "fine", "body": chat("hello")}, *requests])
    by_id = {word: [row for row in rows if row.request_id == word] for word in ("fine", *named)}
    ends = {word: [row.status.value for row in found] for word, found in by_id.items()}

    assert status.status is BatchStatus.COMPLETED
    assert ends | {"expire": [], "garbage": []} == {
        "fine": ["succeeded"],
        "error-400": ["errored"],
        "error-429": ["errored"],
        "error-500": ["errored"],
        "expire": [],
        "missing": [],
        "garbage": [],
        "duplicate": ["succeeded", "succeeded"],
        "conflict": ["succeeded", "succeeded"],
        "stranger": ["succeeded"],
    }
    assert ends["expire"] in (["expired"], ["errored"], []), "a service without a word for it has an error, or nothing"
    in_files = here.calls("results") != [] and names_results(name)
    assert ends["garbage"] == (["undecodable"] if in_files else []), "in a document, nothing can be garbled"
    strangers = [row for row in rows if row.request_id not in by_id]
    assert len(strangers) == 1, "the stranger is handed on too: whoever asked knows which ids are theirs"
    assert {word: found[0].error.retryable for word, found in by_id.items() if found and found[0].error} == {
        "error-400": False,
        "error-429": not tells_no_status(name),
        "error-500": not tells_no_status(name),
        **({"expire": True} if ends["expire"] else {}),
        **({"garbage": False} if ends["garbage"] else {}),
    }
    assert bytes(by_id["duplicate"][0].body) == bytes(by_id["duplicate"][1].body)
    assert bytes(by_id["conflict"][0].body) != bytes(by_id["conflict"][1].body)
    assert all(bytes(row.body).endswith(b"\xff\xfe") for row in by_id["garbage"])


@every_way
async def test_an_expired_batch_gives_the_answers_that_were_paid_for_and_expires_the_rest(name, way):
    async with world(name, way, pace=outlives_its_window(name)) as here:
        status, rows = await here.run([f"prompt {n}" for n in range(10)])

    ends = [row.status for row in rows]
    has_answers = BatchStatus.EXPIRED in FACTS[name].answers_after
    if not ends_with_its_window(name):
        assert (status.status, ends) == (BatchStatus.COMPLETED, [ResultStatus.SUCCEEDED] * 10)
        return
    # A service may call a batch completed that gave answers at all; its rows tell what became of each.
    assert status.status in (BatchStatus.EXPIRED, BatchStatus.COMPLETED)
    assert ends.count(ResultStatus.SUCCEEDED) == (8 if has_answers else 0)
    assert ends.count(ResultStatus.EXPIRED) in ((2, 0) if has_answers else (0,))
    assert len(rows) in (0, 8, 10)
    assert all(row.error.retryable for row in rows if row.status is ResultStatus.EXPIRED)


@every_cancelling_way
async def test_a_cancelled_batch_gives_the_answers_that_exist_and_cancels_the_rest(name, way):
    pace = outlives_its_window(name)
    async with world(name, way, pace=pace) as here:
        batch = await here.start([f"prompt {n}" for n in range(10)])
        here.clock.advance(3.5 * pace["row_s"])
        asked = await here.provider.cancel(batch.provider_batch_id)
        status = await here.end(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    ends = [row.status for row in rows]
    has_answers = BatchStatus.CANCELLED in FACTS[name].answers_after
    assert asked.status in (BatchStatus.CANCELLING, BatchStatus.CANCELLED, BatchStatus.IN_PROGRESS)
    assert status.status is BatchStatus.CANCELLED or (has_answers and status.status is BatchStatus.COMPLETED)
    assert ends.count(ResultStatus.SUCCEEDED) == (3 if has_answers else 0)
    assert ends.count(ResultStatus.CANCELLED) in ((7, 0) if has_answers else (0,))


@every_way
async def test_what_the_service_does_not_take_is_refused_or_fails_and_says_why(name, way):
    async with world(name, way, limits={"rows": 5}) as here:
        try:
            status, rows = await here.run([f"prompt {n}" for n in range(6)])
        except ProviderPermanentError as error:
            why, paid = error.message, here.accepted("create")
            assert paid == []
        else:
            assert status.status is BatchStatus.FAILED
            assert status.error_message
            assert status.error_message == (
                status.errors[0].message if FACTS[name].wire.has_reasons else status.error_message
            )
            assert rows == []
            why = status.error_message.replace("does not say why", "5")

    assert "5" in why


@every_way
async def test_cancelling_what_is_over_changes_nothing_and_is_no_error(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        status = await here.provider.cancel(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    assert status.status is BatchStatus.COMPLETED
    assert here.clock.slept_s == [], "an answer that waiting cannot change is not asked for again"
    assert len(rows) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if not FACTS[name].cancels])
async def test_a_provider_that_cannot_cancel_says_so_and_its_batch_goes_on(name):
    async with world(name) as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderPermanentError, match=f"cannot cancel batch {batch.provider_batch_id}") as caught:
            await here.provider.cancel(batch.provider_batch_id)
        status = await here.end(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)
        asked = [record.path for record in here.emulator.history if record.path.endswith("cancel")]

    assert (caught.value.code, asked) == (UNCANCELLABLE, [])
    assert (status.status, statuses(rows)) == (BatchStatus.COMPLETED, {"0000000": "succeeded"})


@pytest.mark.parametrize("name", [name for name in NAMES if FACTS[name].cancels])
async def test_cancelling_twice_is_cancelling_once(name):
    async with world(name) as here:
        batch = await here.start(["[[stall]]"])
        here.clock.advance(60)
        asked = [(await here.provider.cancel(batch.provider_batch_id)).status for _ in range(2)]
        status = await here.end(batch.provider_batch_id)

    assert set(asked) <= {BatchStatus.CANCELLING, BatchStatus.CANCELLED}
    assert status.status is BatchStatus.CANCELLED
    assert here.accepted("cancel") == [short(batch.provider_batch_id)]


@every_way
async def test_every_station_of_a_life_has_its_status_in_our_words(name, way):
    seen = []
    async with world(name, way, pace={"validating_s": 10, "row_s": 10, "finalizing_s": 10}) as here:
        batch = await here.start(["a", "b"])
        for _ in range(6):
            status = await here.provider.poll_status(batch.provider_batch_id)
            seen.append(status.status)
            here.clock.advance(10)

    stations = list(dict.fromkeys(seen))
    before = [BatchStatus.VALIDATING, BatchStatus.QUEUED, BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING]
    assert stations[-1] is BatchStatus.COMPLETED
    assert BatchStatus.IN_PROGRESS in stations
    assert stations[:-1] == [station for station in before if station in stations], "in the order of a life"
    assert (status.progress.total, status.progress.done) == ((2, 2) if has_counts(name) else (0, 0))
    ended_at = status.completed_at if tells_moments(name) else here.clock.now()
    assert status.created_at < ended_at < (status.expires_at or 2 * ended_at)


@every_way
async def test_a_status_that_nobody_knows_is_unknown_and_not_the_end(name, way):
    async with world(name, way, faults=[faults.unknown_status("hibernating", times=2)]) as here:
        batch = await here.start(["[[stall]]"])
        here.clock.advance(60)
        status = await here.provider.poll_status(batch.provider_batch_id)
        with pytest.raises(ProviderTransientError, match="hibernating") as caught:
            await here.provider.fetch_results(batch.provider_batch_id)
        known = await here.provider.poll_status(batch.provider_batch_id)

    assert (status.status, status.raw_status, status.status.is_terminal) == (BatchStatus.UNKNOWN, "hibernating", False)
    assert caught.value.code == "not_ended"
    assert known.status is BatchStatus.IN_PROGRESS


# Answers


@every_way
async def test_answers_before_the_end_are_refused_as_too_early(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderTransientError, match="at its end") as caught:
            await here.provider.fetch_results(batch.provider_batch_id)

    assert caught.value.code == "not_ended"
    assert here.calls("results") == []


@every_place_of_answers
@pytest.mark.parametrize("looks", [1, 4])
async def test_a_completed_batch_whose_answers_are_late_is_asked_again(name, way, looks):
    async with world(name, way, faults=[faults.missing_output(polls=looks)]) as here:
        batch = await here.start(["a"])
        here.pass_window()
        rows = await here.rows(batch.provider_batch_id)

    assert len(rows) == 1
    assert len(here.clock.slept_s) == looks
    assert sum(here.clock.slept_s) < 60


@every_place_of_answers
async def test_answers_that_never_come_are_looked_for_during_a_minute_and_then_there_are_no_rows(name, way):
    async with world(name, way, faults=[faults.missing_output()]) as here:
        batch = await here.start(["a"])
        here.pass_window()
        rows = await here.rows(batch.provider_batch_id)

    assert rows == []
    assert sum(here.clock.slept_s) == pytest.approx(60)


@pytest.mark.parametrize("name", [name for name in NAMES if has_two_files(name) and has_counts(name)])
async def test_a_file_of_errors_that_comes_after_that_of_answers_is_waited_for(name):
    late = Fault(effect=faults.HideResults(which="errors"), operation="poll", times=2, completed=True)
    async with world(name, faults=[late]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        here.pass_window()
        rows = await here.rows(batch.provider_batch_id)

    assert statuses(rows) == {"0000000": "succeeded", "0000001": "errored"}


@every_place_of_answers
async def test_answers_are_waited_for_however_little_the_counts_say(name, way):
    late = [
        Fault(effect=effect, operation="poll", times=3, completed=True)
        for effect in (faults.HideCounts(), faults.HideResults())
    ]
    async with world(name, way, faults=late) as here:
        batch = await here.start(["a"])
        here.pass_window()
        rows = await here.rows(batch.provider_batch_id)

    assert statuses(rows) == {"0000000": "succeeded"}
    assert len(here.clock.slept_s) == 3


@every_pair_of_files
@pytest.mark.parametrize("refused", [1, 2], ids=["the first", "the second"])
async def test_a_file_that_is_gone_takes_no_other_with_it(name, refused):
    gone = faults.refuse(404, operation="results", first=refused)
    async with world(name, faults=[gone]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        await here.end(batch.provider_batch_id)
        rows = []
        with pytest.raises(ProviderPermanentError) as caught:
            await gather(here.provider.fetch_results(batch.provider_batch_id), rows)
        fetched = here.calls("results")

    assert caught.value.status == 404
    assert sorted(fetched) == [200, 404]
    assert [row.request_id for row in rows] == (["0000001"] if refused == 1 else ["0000000"])


@every_download
async def test_answers_that_are_gone_are_an_error_and_no_empty_batch(name, way):
    async with world(name, way, faults=[faults.refuse(404, operation="results", times=None)]) as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        with pytest.raises(ProviderPermanentError) as caught:
            await here.rows(batch.provider_batch_id)

    assert caught.value.status == 404


@every_download
@pytest.mark.parametrize(
    ("status", "error"),
    [(401, ProviderPermanentError), (403, ProviderPermanentError), (500, ProviderTransientError)],
)
async def test_a_refusal_that_can_be_mended_gives_no_part_for_the_whole_and_keeps_nothing(name, way, status, error):
    files = 2 if has_two_files(name) else 1
    refusal = faults.refuse(status, operation="results", first=files, times=None)
    async with world(name, way, faults=[refusal]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        await here.end(batch.provider_batch_id)
        made, rows = [], []
        new_file = here.provider.new_file
        here.provider.new_file = lambda: made.append(new_file()) or made[-1]
        with pytest.raises(error) as caught:
            await gather(here.provider.fetch_results(batch.provider_batch_id), rows)

    assert (caught.value.status, len(made) >= files) == (status, True)
    if has_storage(name) and status in (401, 403):  # which no other key mends: what came is not held back
        assert (caught.value.is_auth, len(rows)) == (False, files - 1)
        return
    assert rows == []
    assert {file.size for file in made} == {0}


@every_pair_of_files
async def test_a_download_that_is_cancelled_keeps_nothing_however_often_it_is_cancelled(name):
    async with world(name, faults=[faults.stall(5, operation="results", first=2)]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        await here.end(batch.provider_batch_id)
        made = []
        new_file = here.provider.new_file
        here.provider.new_file = lambda: made.append(new_file()) or made[-1]

        async def read():
            await here.provider.fetch_results(batch.provider_batch_id)

        task = asyncio.create_task(read())
        with anyio.fail_after(10):
            while len(made) < 2:
                await asyncio.sleep(0)
            held = made[0].size
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)

    assert held > 0
    assert task.cancelled()
    assert [file.size for file in made] == [0, 0]


@every_way
async def test_answers_are_whole_before_the_first_is_handed_out_so_a_slow_reader_holds_no_connection(name, way):
    async with world(name, way) as here:
        batch = await here.start([f"prompt {n}" for n in range(5)])
        await here.end(batch.provider_batch_id)
        rows = aiter(here.provider.fetch_results(batch.provider_batch_id))
        first = await anext(rows)
        here.emulator.stop()
        others = [row async for row in rows]

    assert len({row.request_id for row in [first, *others]}) == 5


@every_download
async def test_answers_can_be_awaited_iterated_twice_and_entered(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a", "b"])
        await here.end(batch.provider_batch_id)
        stream = here.provider.fetch_results(batch.provider_batch_id)
        awaited = await stream
        iterated = [row async for row in stream]
        downloads = len(here.calls("results"))
        async with here.provider.fetch_results(batch.provider_batch_id) as held:
            twice = [[row async for row in held] for _ in range(2)]
        held_downloads = len(here.calls("results")) - downloads

    assert awaited == iterated == twice[0] == twice[1]
    assert statuses(awaited) == {"0000000": "succeeded", "0000001": "succeeded"}
    assert downloads == 2 * downloads_of(name), "a stream that was read to its end gave its files back"
    assert held_downloads == downloads_of(name), "one that is held with `async with` keeps them"


@every_download
async def test_answers_left_early_are_given_back_by_async_with(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a", "b"])
        await here.end(batch.provider_batch_id)
        async with here.provider.fetch_results(batch.provider_batch_id) as rows:
            async for row in rows:
                break
        again = await rows

    assert row.request_id in {"0000000", "0000001"}
    assert len(again) == 2
    assert len(here.calls("results")) == 2 * downloads_of(name)


@every_download
async def test_two_readers_of_one_stream_get_every_row_each(name, way):
    async with world(name, way) as here:
        batch = await here.start([f"{n} {'x' * 1000}" for n in range(400)])  # several pieces of a file
        await here.end(batch.provider_batch_id)
        stream = here.provider.fetch_results(batch.provider_batch_id)
        slow = aiter(stream)
        first = await anext(slow)
        quick = await stream
        rest = [row async for row in slow]

    assert [first, *rest] == quick
    assert len(quick) == 400
    assert len(here.calls("results")) == downloads_of(name)


@every_download
async def test_readers_who_begin_at_once_share_one_download(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a", "b"])
        await here.end(batch.provider_batch_id)
        stream = here.provider.fetch_results(batch.provider_batch_id)
        read = []

        async def reader():
            read.append(await stream)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(reader)

    assert [len(rows) for rows in read] == [2, 2, 2]
    assert len(here.calls("results")) == downloads_of(name)


@every_provider
async def test_the_answers_of_a_batch_that_does_not_exist_are_an_error_of_the_provider(name):
    async with world(name) as here:
        batch = await here.start(["a"])
        stranger = here.scope.create(name, {"api_key": "another-key", "base_url": here.base_url})
        with pytest.raises(ProviderPermanentError) as caught:
            await stranger.fetch_results(batch.provider_batch_id)

    assert (caught.value.provider, caught.value.status) == (name, 404)


# A create whose answer was lost


async def lose(here, requests=("a",), tag="mine"):
    """Send a create whose answer is lost, as the fault of the world wants it; gives the submission and when that was."""
    submission = await here.provider.upload((await here.prepare_one(list(requests))).replace(tag=tag))
    since = here.clock.now()
    with pytest.raises(SubmissionUnknownError):
        await here.provider.create(submission)
    return submission, since


@every_tagged_way
async def test_a_lost_create_is_unknown_and_found_again_by_its_tag(name, way):
    async with world(name, way, faults=[faults.accept_then_drop()]) as here:
        submission, since = await lose(here, tag="ab1-test-0-1-cafe")
        match = await here.provider.find_submission(submission, since=since)
        created = here.accepted("create")

    assert created == [short(match.provider_batch_id)]
    assert (match.why, match.is_certain) == (mark_of(name), True)
    assert here.calls("create") == [None]


@every_way
async def test_a_lost_create_is_sent_once_and_not_again_by_itself(name, way):
    async with world(name, way, faults=[faults.accept_then_error(500)]) as here:
        await lose(here)

    assert here.calls("create") == [500]
    assert len(here.accepted("create")) == 1


@every_way
async def test_nothing_is_found_where_nothing_was_accepted(name, way):
    async with world(name, way, faults=[faults.drop(operation="create", first=2)]) as here:
        await here.start(["another", "and one more"])
        submission, since = await lose(here)
        match = await here.provider.find_submission(submission, since=since)

    assert match is None


@every_tagged_way
async def test_a_list_that_lags_shows_a_lost_create_late(name, way):
    async with world(name, way, faults=[faults.accept_then_drop(), faults.list_lag(90)]) as here:
        submission, since = await lose(here)
        early = await here.provider.find_submission(submission, since=since)
        here.clock.advance(91)
        late = await here.provider.find_submission(submission, since=since)

    assert (early is not None) is joins(name, way), "a batch that is known before is asked itself"
    assert late.why == mark_of(name)


@pytest.mark.parametrize("name", [name for name in NAMES if FACTS[name].wire.idempotency_header])
async def test_a_create_that_is_repeated_on_the_way_is_one_batch_where_the_service_takes_our_key(name):
    async with world(name) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        batches = [
            await here.provider.create(item) for item in (submission, submission, submission.replace(tag="next"))
        ]
        created = here.accepted("create")

    assert batches[0].provider_batch_id == batches[1].provider_batch_id != batches[2].provider_batch_id
    assert created == [short(batch.provider_batch_id) for batch in batches[1:]], "every attempt has a key of its own"


@pytest.mark.parametrize(
    ("name", "way"),  # where the service takes our key, there are no two: see above
    [
        pytest.param(name, way, id=f"{name}-{way}")
        for name, way in WAYS
        if safety(name, way) in (SubmitSafety.TAGGED, SubmitSafety.TAGGED_FENCED)
        and not FACTS[name].wire.idempotency_header
        and not joins(name, way)
    ],
)
async def test_every_match_is_reported_and_two_are_ambiguous(name, way):
    async with world(name, way) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        since = here.clock.now()
        batches = [await here.provider.create(submission) for _ in range(2)]
        matches = await here.provider.find_submissions(submission, since=since)
        with pytest.raises(AmbiguousSubmissionError) as caught:
            await here.provider.find_submission(submission, since=since)

    assert {match.provider_batch_id for match in matches} == {batch.provider_batch_id for batch in batches}
    assert all(batch.provider_batch_id in str(caught.value) for batch in batches)


@every_tagged_way
async def test_a_lost_create_is_found_behind_many_newer_batches(name, way):
    async with world(name, way, faults=[faults.accept_then_drop()], facts={"limits": {"list_page": 3}}) as here:
        submission, since = await lose(here)
        for number in range(8):
            await here.start(["a"], tag=f"other-{number}")
        match = await here.provider.find_submission(submission, since=since)

    assert match.why == mark_of(name)
    assert len(here.calls("list")) == lists_of(name, way, 3)


@every_tagged_way
@pytest.mark.parametrize(("slow_s", "found"), [(290, True), (310, False)])
async def test_the_search_goes_five_minutes_further_back_than_our_clock_says(name, way, slow_s, found):
    async with world(name, way, facts={"limits": {"list_page": 2}}) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        await here.provider.create(submission)
        for number in range(2):
            await here.start(["a"], tag=f"other-{number}")
        match = await here.provider.find_submission(submission, since=here.clock.now() + slow_s)

    has_days = not tells_moments(name)  # then it goes a day further
    assert (match is not None) is (found or has_days or not FACTS[name].wire.pages), (
        "a list that comes whole is looked through whole"
    )
    assert len(here.calls("list")) == lists_of(name, way, 2 if found or has_days else 1)


@every_tagged_way
async def test_the_search_goes_as_far_back_as_the_answers_say_that_the_providers_clock_is_behind(name, way):
    async with world(name, way, facts={"limits": {"list_page": 2}}, behind_s=3600) as here:
        submission = (await here.provider.upload(await here.prepare_one(["a"]))).replace(tag="mine")
        since = here.clock.now()
        await here.provider.create(submission)
        for number in range(2):
            await here.start(["a"], tag=f"other-{number}")
        fresh = here.scope.create(name, {"api_key": KEY, "base_url": here.base_url})
        lead_s = fresh.transport.lead_s
        match = await fresh.find_submission(submission, since=since)

    assert lead_s == 0, "a process that begins anew learns it from the list itself"
    assert match is not None


@every_listed_way
async def test_the_search_ends_where_older_batches_cannot_be_ours(name, way):
    async with world(name, way, facts={"limits": {"list_page": 2}}) as here:
        for number in range(6):
            await here.start(["a"], tag=f"old-{number}")
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        here.pass_window()
        match = await here.provider.find_submission(submission, since=here.clock.now())

    assert match is None
    assert len(here.calls("list")) == lists_of(name, way, 1)


@pytest.mark.parametrize("name", [name for name in NAMES if not manners_of(name).get("is_bare_list")])
async def test_a_list_that_names_itself_as_its_next_page_is_not_walked_for_ever(name):
    async with world(name, faults=[faults.endless_list()]) as here:
        submission = await here.prepare_one(["a"])
        found, code = [], ""
        try:
            found = await here.provider.find_submissions(submission, since=here.clock.now())
        except ProviderTransientError as error:
            code = error.code

    assert (found, code) in (([], "endless_list"), ([], ""))
    assert 1 <= len(here.calls("list")) <= 2


@every_fenced_way
async def test_after_the_fence_a_late_create_fails_and_costs_nothing(name, way):
    async with world(name, way) as here:
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        fenced = await here.provider.fence(submission)
        try:
            batch = await here.provider.create(submission)
            end = (await here.end(batch.provider_batch_id)).status
        except ProviderPermanentError as error:
            end = error.status
        paid = [record for record in here.emulator.history if record.kind == "create" and record.is_paid]

    assert fenced is True
    assert end in ((403,) if joins(name, way) else (BatchStatus.FAILED, 400, 404, 422))
    assert paid == []


@every_fenced_way
async def test_a_fence_may_be_put_up_twice_and_needs_an_input(name, way):
    async with world(name, way) as here:
        submission = await here.prepare_one(["a"])
        without = await here.provider.fence(submission)
        uploaded = await here.provider.upload(submission)
        twice = [await here.provider.fence(uploaded) for _ in range(2)]

    assert without is False
    assert twice == [True, True]


@every_named_way
async def test_a_lost_create_is_asked_for_by_its_name_whatever_the_list_shows(name, way):
    async with world(name, way, faults=[faults.accept_then_drop(), faults.list_lag(90)]) as here:
        submission, since = await lose(here, tag="ab1-6f1c0c0a-0-1-0123456789abcdef")
        match = await here.provider.find_submission(submission, since=since)
        created = here.accepted("create")

    assert created == [short(match.provider_batch_id)] == [submission.tag]
    assert (match.why, match.is_certain) == ("name", True)
    assert (here.calls("create"), here.calls("list")) == ([None], [])


@every_named_way
async def test_a_create_under_a_name_that_is_taken_gives_the_batch_that_has_it_and_buys_nothing(name, way):
    async with world(name, way, faults=[faults.accept_then_error(503)]) as here:
        submission, _ = await lose(here)
        batch = await here.provider.create(submission)
        calls, created = here.calls("create"), here.accepted("create")
        bought = paid_twice(here.emulator.history)

    assert created == [short(batch.provider_batch_id)] == ["mine"]
    assert (calls, bought) == ([503, 409], {})


@every_named_way
async def test_a_batch_that_was_made_without_a_tag_is_known_by_its_input(name, way):
    async with world(name, way, faults=[faults.accept_then_drop()]) as here:
        submission, since = await lose(here, tag=None)
        await here.start(["another"])
        match = await here.provider.find_submission(submission, since=since)
        created = here.accepted("create")

    assert (short(match.provider_batch_id), match.why, match.is_certain) == (created[0], "input", True)


@every_inferred_way
async def test_a_lost_create_is_a_candidate_by_time_and_number_until_its_answers_show_whose_it_is(name, way):
    async with world(name, way, faults=[faults.accept_then_drop(first=2)]) as here:
        await here.start([{"custom_id": "not-ours", "body": CHAT}])
        submission, since = await lose(here, [{"custom_id": "ours", "body": CHAT}])
        running = await here.provider.find_submissions(submission, since=since)
        with pytest.raises(AmbiguousSubmissionError):
            await here.provider.find_submission(submission, since=since)
        here.pass_window()
        match = await here.provider.find_submission(submission, since=since)
        created = here.accepted("create")

    assert [(found.why, found.is_certain) for found in running] == [("time_and_count", False)] * 2
    assert (match.why, match.is_certain) == ("ids", True)
    assert short(match.provider_batch_id) == created[1]


@every_inferred_way
async def test_our_nonce_in_minted_ids_tells_our_batch_from_one_of_the_same_shape(name, way):
    async with world(name, way) as here:
        ours, theirs = [await here.prepare_one(["a", "b"], wire_ids="minted") for _ in range(2)]
        since = here.clock.now()
        batches = [await here.provider.submit(submission) for submission in (ours, theirs)]
        here.pass_window()
        found = [await here.provider.find_submissions(submission, since=since) for submission in (ours, theirs)]

    assert [[match.provider_batch_id for match in matches] for matches in found] == [
        [batch.provider_batch_id] for batch in batches
    ]


@every_inferred_way
async def test_an_account_that_shows_answers_late_leaves_a_candidate_uncertain(name, way):
    refusal = faults.refuse(503, operation=results_of(name), times=None)
    async with world(name, way, faults=[faults.accept_then_drop(), refusal]) as here:
        submission, since = await lose(here)
        here.pass_window()
        matches = await here.provider.find_submissions(submission, since=since)

    assert [(match.why, match.is_certain) for match in matches] == [("time_and_count", False)]


@every_way
async def test_how_safe_a_create_is_stands_in_the_catalog(name, way):
    async with world(name, way) as here:
        submission = await here.prepare_one(["a"])
        assert here.provider.submit_safety(submission) is safety(name, way)
        assert here.provider.submit_safety() is safety(name, FACTS[name].inputs[0])


@every_way
async def test_nothing_is_paid_twice_over_a_whole_life_of_lost_answers(name, way):
    is_marked = safety(name, way) is not SubmitSafety.INFERRED
    trouble = [
        faults.drop(operation="upload"),
        faults.accept_then_drop(),
        faults.refuse(503, operation="list", times=2),
        faults.cut_body(5, operation="results", first=1 if is_marked else 2),
    ]
    async with world(name, way, faults=trouble) as here:
        submission, since = await lose(here, [{"custom_id": name, "body": CHAT} for name in ("row-a", "row-b")])
        if not is_marked:  # the answers alone tell whose it is
            here.pass_window()
        match = await here.provider.find_submission(submission, since=since)
        await here.end(match.provider_batch_id)
        rows = await here.rows(match.provider_batch_id)
        history = here.emulator.history

    assert statuses(rows) == {"row-a": "succeeded", "row-b": "succeeded"}
    assert paid_twice(history) == {}
    assert len(here.accepted("create")) == 1


# Lists, deletion, errors


@every_provider
async def test_the_list_is_walked_newest_first_page_by_page(name):
    async with world(name) as here:
        made = []
        for number in range(5):
            made.append((await here.start([f"prompt {number}"])).provider_batch_id)
            here.clock.advance(10)
        pages, cursor = [], None
        for _ in range(3):
            page = await here.provider.list_statuses(cursor=cursor, limit=2)
            pages.append([status.provider_batch_id for status in page.statuses])
            cursor = page.cursor

    paged = [made[:2:-1], made[2:0:-1], made[:1]]
    assert pages == (paged if FACTS[name].wire.pages else [made[::-1]] * 3)
    assert cursor is None


@every_provider
async def test_a_page_is_never_asked_for_larger_than_the_provider_gives(name):
    async with world(name) as here:
        await here.start(["a"])
        page = await here.provider.list_statuses(limit=100_000)

    assert len(page.statuses) == 1


@every_way
async def test_deleting_what_a_batch_left_takes_its_answers_and_may_be_repeated(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a", "[[error:400]]"])
        here.clock.advance(0.5 * FACTS[name].window_s)  # it is over long since, and nothing has gone by itself
        count = await here.provider.delete_artifacts(batch.provider_batch_id)
        await here.provider.delete_artifacts(batch.provider_batch_id)
        deleted = here.accepted("delete")

    assert count >= len(deleted) >= leaves(name, way)


@pytest.mark.parametrize(
    ("name", "way"),
    [pytest.param(name, way, id=f"{name}-{way}") for name, way in WAYS if downloads(name, way) and names_results(name)],
)
async def test_answers_that_were_deleted_cannot_be_had(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        await here.provider.delete_artifacts(batch.provider_batch_id)
        with pytest.raises(ProviderPermanentError) as caught:
            await here.rows(batch.provider_batch_id)

    assert caught.value.status in (400, 404)


@every_provider
async def test_a_refused_key_is_a_permanent_error_that_names_the_variable_to_set(name):
    async with world(name) as here:
        batch = await here.start(["a"])
        config = {"api_key": "invalid-key-0123456789", "base_url": here.base_url}
        with pytest.raises(ProviderPermanentError) as caught:
            await here.scope.create(name, config).poll_status(batch.provider_batch_id)

    assert caught.value.provider == name
    assert FACTS[name].credentials.env[0] in str(caught.value)
    assert "0123456789" not in str(caught.value)


@every_provider
async def test_a_missing_key_is_said_before_anything_is_sent(name):
    async with world(name) as here:
        provider = here.scope.create(name, {"base_url": here.base_url})
        with pytest.raises(ConfigError, match=FACTS[name].credentials.env[0]) as caught:
            await provider.list_statuses()
        history = here.emulator.history

    assert caught.value.code == "auth.missing"
    assert history == []


@every_provider
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_a_throttled_poll_carries_the_wait_that_was_asked_for_and_is_not_repeated_by_itself(name, as_date):
    async with world(name, faults=[faults.rate_limited(120, as_date=as_date, operation="poll")]) as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.poll_status(batch.provider_batch_id)

    assert caught.value.status == 429
    assert caught.value.code or manners_of(name)["refusals"] in ("detail", "word"), "which have no place for a code"
    assert caught.value.retry_after == pytest.approx(120, abs=1)
    assert here.calls("poll") == [429]
    assert here.clock.slept_s == []


@every_provider
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_a_throttled_list_is_asked_again_no_sooner_than_the_provider_wants(name, as_date):
    async with world(name, faults=[faults.rate_limited(40, as_date=as_date, operation="list")]) as here:
        await here.start(["a"])
        page = await here.provider.list_statuses()

    (waited,) = here.clock.slept_s
    assert len(page.statuses) == 1
    assert 39 <= waited < 42
    assert here.calls("list") == [429, 200]


@every_way
async def test_the_poller_outlives_a_batch_that_comes_and_goes(name, way):
    flapping = [faults.flap404(3), faults.flap404(2, first=5), faults.unknown_status("hibernating", first=8)]
    async with world(name, way, faults=flapping, pace={"row_s": 600, "run_cap_s": None}) as here:
        batch = await here.start(["a", "b", "c"])
        async with BatchPoller(runtime=virtual_runtime(here.clock)) as poller:
            status = await poller.watch(here.provider, batch.provider_batch_id)
        polls = here.calls("poll")

    assert status.status is BatchStatus.COMPLETED
    assert polls[:6] == [404, 404, 404, 200, 404, 404]


@every_provider
async def test_the_provider_asks_no_oftener_than_its_catalog_allows(name):
    async with world(name) as here:
        assert here.provider.poll_floor_s == FACTS[name].polling.min_interval_s


@pytest.mark.parametrize("name", [name for name in NAMES if FACTS[name].takes_metadata])
async def test_metadata_of_the_caller_travels_beside_the_tag(name):
    async with world(name) as here:
        batch = await here.start(["a"], tag="mine", options={"metadata": {"team": "blue"}})
        status = await here.provider.poll_status(batch.provider_batch_id)

    assert status.metadata["team"] == "blue"
    assert "mine" in status.metadata.values()


@pytest.mark.parametrize("name", [name for name in NAMES if not FACTS[name].takes_metadata])
async def test_metadata_is_refused_where_no_batch_keeps_it(name):
    async with world(name) as here:
        with pytest.raises(ConfigError, match="keeps no metadata") as caught:
            await here.prepare(["a"], options={"metadata": {"team": "blue"}})

    assert caught.value.code == "bad_metadata"


@every_provider
async def test_a_provider_can_be_used_alone_without_a_registry(name):
    async with world(name) as here:
        config = {"api_key": "emulator-key", "base_url": here.base_url}
        runtime = virtual_runtime(here.clock)
        async with here.scope.get(name)(config, catalog=here.scope.catalog, runtime=runtime) as provider:
            (submission,) = await provider.prepare_payloads(
                batch_id=JOB, model=MODEL, mode=BatchMode.CHAT, requests=["a"]
            )
            batch = await provider.submit(submission)
            here.pass_window()
            rows = await provider.fetch_results(batch.provider_batch_id)

    assert statuses(rows) == {"0000000": "succeeded"}


@every_way
async def test_a_submission_without_its_input_cannot_be_sent_and_says_so(name, way):
    async with world(name, way) as here:
        submission = (await here.prepare_one(["a"])).replace(spool=None)
        with pytest.raises(ProviderPermanentError, match="prepare_payloads") as caught:
            await here.provider.submit(submission)

    assert caught.value.code == "no_input"
    assert here.emulator.history == []


@every_provider
async def test_a_way_that_the_provider_does_not_know_is_refused_and_says_which_it_knows(name):
    async with world(name) as here:
        for way in InputMode:
            if way in FACTS[name].inputs:
                continue
            with pytest.raises(ConfigError, match=f"input_mode is '{way.value}'") as caught:
                await here.prepare(["a"], input_mode=way.value)
            assert caught.value.code == "input_mode.unsupported"
        with pytest.raises(ConfigError, match="on_unsupported is 'ignore'"):
            await here.prepare(["a"], on_unsupported="ignore")


@pytest.mark.parametrize("name", [name for name in NAMES if FACTS[name].inline_up_to])
async def test_few_requests_travel_inline_by_themselves_and_many_in_a_file(name):
    small = FACTS[name].inline_up_to
    async with world(name) as here:
        few = await here.prepare_one(["a"] * 3, input_mode="auto")
        many = await here.prepare_one(["a"] * (small.requests + 1), input_mode="auto")
        long = await here.prepare_one(["x" * small.bytes], input_mode="auto")
        batch = await here.provider.submit(few)
        await here.end(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    assert [item.is_inline for item in (few, many, long)] == [True, False, False]
    assert here.calls("upload") == []
    assert statuses(rows) == {f"{number:07d}": "succeeded" for number in range(3)}


@every_provider
async def test_a_file_for_another_provider_goes_to_this_model_where_that_is_asked_for(name):
    """As a user of OpenAI has it: ready rows, each of which names the model."""
    ids = [fit_id(name, wanted, otherwise) for wanted, otherwise in (("review 1", "review-1"), ("rev.2", "rev-2"))]
    rows = [
        {
            "custom_id": row_id,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-4.1-mini", **CHAT},
        }
        for row_id in ids
    ]
    async with world(name) as here:
        with pytest.raises(InvalidRequestsError, match=r"'gpt-4\.1-mini', but this job is for 'echo-1'") as caught:
            await here.prepare(rows)
        assert here.emulator.history == []
        status, answers = await here.run(rows, replace_model=True)

    assert {problem.code for problem in caught.value.problems} == {"mixed_models"}
    assert "replace_model=True" in caught.value.problems[0].message
    assert status.status is BatchStatus.COMPLETED
    assert statuses(answers) == dict.fromkeys(ids, "succeeded")
    assert {row["body"]["model"] for row in rows} == {"gpt-4.1-mini"}, "the caller's own rows stay"


OPEN_ENDED = {
    "messages": [{"role": "user", "content": "hello"}],
    "logit_bias": {"50256": -100},
    "prediction": {"type": "content", "content": "x"},
}
INSIDE = {"messages": [{"role": "user", "content": "hello", "weight": 50256}]}


@pytest.mark.parametrize("name", [name for name in NAMES if FACTS[name].endpoints[0].format != "openai.chat"])
async def test_what_cannot_be_expressed_is_refused_by_name_or_dropped_and_counted(name):
    async with world(name) as here:
        with pytest.raises(InvalidRequestsError, match="cannot express logit_bias") as caught:
            await here.prepare(["fine", OPEN_ENDED])
        with pytest.raises(InvalidRequestsError, match=re.escape("messages[0] has 'weight'")):
            await here.prepare(["fine", INSIDE])
        submission = await here.prepare_one(["fine", OPEN_ENDED, OPEN_ENDED, INSIDE], on_unsupported="drop")
        history = here.emulator.history

    assert (caught.value.count, caught.value.problems[0].code) == (1, "unsupported")
    assert submission.dropped["logit_bias"] == 2
    assert submission.dropped["messages[].weight"] == 1
    assert not any(b"50256" in bytes(line) for line in submission.payloads)
    assert history == []
