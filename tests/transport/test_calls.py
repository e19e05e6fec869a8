"""Calls that may be repeated: how often, how long apart, and when not; and what their answers may not do to us."""

import pytest

from asyncbatch import Http, ProviderPermanentError, ProviderTransientError, Retry
from tests.transport.wire import answer, closing, hang_up, here, serve, silence

PAGE = answer(b'{"object":"list","data":[],"has_more":false}')
BUSY = b'{"error":{"message":"The server is overloaded.","type":"server_error","param":null,"code":null}}'


def busy(status=503, *headers):
    return answer(BUSY, status, *headers)


async def test_a_transient_answer_is_asked_again_until_it_is_good():
    script = [busy(500), busy(502), busy(429), hang_up, PAGE]
    async with serve(*script) as server, here(server.url) as client:
        page = await client.provider.list_statuses()

    assert page.statuses == ()
    assert len(client.clock.slept_s) in (3, 4)  # aiohttp itself asks once more where a GET was dropped


async def test_calls_that_only_read_share_a_connection():
    page = answer(b'{"object":"list","data":[],"has_more":false}', keep=True)
    async with serve(page) as server, here(server.url) as client:
        for _ in range(3):
            await client.provider.list_statuses()

    assert len(server.asked) == 3
    assert server.connections == 1


async def test_waits_grow_are_spread_and_end_with_the_tries():
    policy = Retry(attempts=9, base_s=1.0, cap_s=16.0)
    async with serve(busy()) as server, here(server.url, retry=policy) as client:
        with pytest.raises(ProviderTransientError, match="overloaded") as caught:
            await client.provider.list_statuses()

    waits = client.clock.slept_s
    assert len(server.asked) == 9
    assert len(waits) == len(set(waits)) == 8
    assert all(0 <= wait <= min(16, 2**tries) for tries, wait in enumerate(waits))
    assert max(waits) > 1, "the interval grew"
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        (["Retry-After: 9"], 9, 9.1),
        (["Retry-After: 0"], 0, 0.1),
        (["retry-after-ms: 1500", "Retry-After: 60"], 1.5, 1.6),
        (["Retry-After: nan"], 0, 0.5),
        (["Retry-After: -5"], 0, 0.1),
        (["Retry-After: soon"], 0, 0.5),
        (["Retry-After: Fri, 01 Jan 99999 00:00:00 GMT"], 0, 0.5),
        (["Retry-After: Thu, 01 Jan 1970 00:00:00 GMT"], 0, 0.1),
    ],
)
async def test_the_servers_wait_is_obeyed_where_it_is_one(headers, least, most):
    async with serve(busy(503, *headers), PAGE) as server, here(server.url) as client:
        await client.provider.list_statuses()

    (waited,) = client.clock.slept_s
    assert least <= waited <= most


async def test_a_server_that_wants_more_patience_than_we_have_is_an_error_that_says_how_much():
    async with serve(busy(429, "Retry-After: 900")) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError) as caught:
            await client.provider.list_statuses()

    assert caught.value.retry_after == 900
    assert len(server.asked) == 1
    assert client.clock.slept_s == []


@pytest.mark.parametrize(("status", "should", "times"), [(503, "false", 1), (400, "true", 2), (503, "perhaps", 2)])
async def test_the_servers_wish_overrules_the_table(status, should, times):
    async with serve(busy(status, f"x-should-retry: {should}"), PAGE) as server, here(server.url) as client:
        if times == 1:
            with pytest.raises(ProviderPermanentError):
                await client.provider.list_statuses()
        else:
            await client.provider.list_statuses()

    assert len(server.asked) == times


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 501])
async def test_a_permanent_answer_is_not_asked_again(status):
    async with serve(answer(BUSY, status)) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError) as caught:
            await client.provider.list_statuses()

    assert caught.value.status == status
    assert len(server.asked) == 1


async def test_an_outage_is_not_answered_with_a_storm():
    async with serve(busy()) as server, here(server.url) as client:
        for _ in range(30):
            with pytest.raises(ProviderTransientError):
                await client.provider.list_statuses()
        during = len(server.asked)
        server.answers = [PAGE]
        for _ in range(60):
            await client.provider.list_statuses()
        server.answers = [busy()]
        before = len(server.asked)
        with pytest.raises(ProviderTransientError):
            await client.provider.list_statuses()

    assert during == 30 + 500 // 14, "each repetition costs 14 of 500 tokens; after that calls are tried once"
    assert len(server.asked) - before == 5, "clean calls earn the budget back"


async def test_a_poll_is_asked_once_for_the_poller_decides_when_to_ask_again():
    async with serve(busy()) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError):
            await client.provider.poll_status("batch_1")

    assert len(server.asked) == 1
    assert client.clock.slept_s == []


async def test_a_cancel_may_be_repeated():
    batch = answer(b'{"id":"batch_1","object":"batch","status":"cancelling"}')
    async with serve(busy(), closing(b"HTTP"), batch) as server, here(server.url) as client:
        status = await client.provider.cancel("batch_1")

    assert status.raw_status == "cancelling"
    assert server.count("POST", "/v1/batches/batch_1/cancel") == 3


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_gone_already_is_deleted(status):
    async with serve(busy(), answer(BUSY, status)) as server, here(server.url) as client:
        await client.transport.delete("/files/file-1")

    assert server.count("DELETE") == 2


async def test_a_delete_that_is_refused_is_an_error():
    async with serve(answer(BUSY, 403)) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match="overloaded"):
            await client.transport.delete("/files/file-1")


DEEP = b"[" * 50_000 + b"]" * 50_000
FOREIGN = {
    "nothing": b"",
    "an empty object": b"{}",
    "a list": b"[]",
    "a page": b"<!doctype html><p>Sign in",
    "other types": b'{"id":7,"status":[],"data":[{"id":7}]}',
    "no text at all": b"\xff\xfe",
    "a text that is no UTF-8": b'{"id":"batch_1","status":"\xff","data":[{"id":"batch_1","status":"\xff"}]}',
    "deep nesting": b"[" * 100_000,
    "deep nesting inside": b'{"id":"b","status":"x","metadata":{"a":%b},"data":[{"id":"b","status":"x","errors":%b}]}'
    % (DEEP, DEEP),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_a_success_that_is_none_is_transient_and_quotes_no_page(what):
    async with serve(answer(FOREIGN[what])) as server, here(server.url) as client:
        for call in (client.provider.list_statuses, lambda: client.provider.poll_status("batch_1")):
            with pytest.raises(ProviderTransientError, match="something else than expected") as caught:
                await call()
            assert caught.value.code == "foreign_answer"
            assert len(str(caught.value)) < 500


@pytest.mark.parametrize("length", ["declared", "chunked"])
async def test_an_answer_larger_than_the_cap_is_refused(length):
    body = b'{"data":[]}' + b" " * 5000
    frame = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    whole = answer(body) if length == "declared" else frame
    async with (
        serve(whole) as server,
        here(server.url, retry=Retry(attempts=1), http=Http(answer_bytes=5000)) as client,
    ):
        with pytest.raises(ProviderTransientError, match="larger than 5000 bytes"):
            await client.provider.list_statuses()


async def test_an_answer_that_is_a_bomb_is_refused_after_the_cap():
    import gzip

    bomb = answer(gzip.compress(b" " * 50_000_000), 200, "Content-Encoding: gzip")
    async with serve(bomb) as server, here(server.url, retry=Retry(attempts=1)) as client:
        with pytest.raises(ProviderTransientError, match="larger than"):
            await client.provider.list_statuses()


async def test_an_answer_that_never_comes_is_given_up():
    http = Http(poll_total_s=0.25, control_total_s=0.25)
    async with serve(silence) as server, here(server.url, http=http, retry=Retry(attempts=2)) as client:
        with pytest.raises(ProviderTransientError, match="in time"):
            await client.provider.poll_status("batch_1")
        with pytest.raises(ProviderTransientError, match="in time"):
            await client.provider.list_statuses()

    assert [asked.path for asked in server.asked] == ["/v1/batches/batch_1", "/v1/batches", "/v1/batches"]


async def test_a_page_of_a_firewall_is_quoted_in_one_short_line_without_markup():
    page = b"<html><script>var a = '<b>';</script><h1>502</h1>\n\n<p>Ray ID: 42" + b"<br>padding" * 1000
    async with serve(answer(page, 502, content_type="text/html")) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError, match="was answered 502: 502 Ray ID: 42 padding") as caught:
            await client.provider.poll_status("batch_1")

    assert "<" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


async def test_a_code_that_looks_like_a_key_is_still_a_code():
    body = b'{"error":{"message":"Your key has expired.","type":"auth","param":null,"code":"key_expired_long_ago"}}'
    async with serve(answer(body, 401, "x-request-id: key-0123456789")) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError) as caught:
            await client.provider.poll_status("batch_1")

    assert (caught.value.code, caught.value.request_id) == ("key_expired_long_ago", "key-0123456789")
