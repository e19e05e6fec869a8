"""A file of answers at an address that the server gave: nothing of the account goes there, and a new address goes on."""

import re
import traceback

import aiohttp
import pytest
from aioresponses import aioresponses

from asyncbatch import Http, ProviderPermanentError, ProviderTransientError, Retry
from tests.transport.wire import KEY, answer, closing, here, serve

LINES = b"".join(b'{"custom_id":"row-%d"}\n' % n for n in range(100))
SECRET = "X-Goog-Signature=5f1c0c0a58a3"
TAGGED = ("Accept-Ranges: bytes", 'ETag: "one"')
EXPIRED = answer(b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>", 400, content_type="application/xml")


def whole(*headers):
    return answer(LINES, 200, *headers, content_type="application/octet-stream")


def head_of(response):
    return response[: response.index(b"\r\n\r\n") + 4]


async def fetched(client, *urls):
    """Download from one address after the other, each of which is asked for; gives what came and how many were asked for."""
    asked, sink = [], client.new_file()

    async def address():
        asked.append(urls[min(len(asked), len(urls) - 1)])
        return asked[-1]

    is_verified = await client.transport.download_from(address, sink)
    return sink.read(), is_verified, len(asked)


async def test_a_file_comes_from_elsewhere_and_the_key_stays_at_home():
    async with serve(whole()) as storage, serve() as home, here(home.url) as client:
        got = await fetched(client, f"{storage.url}/dataset/a?{SECRET}")

    (asked,) = storage.asked
    assert got == (LINES, True, 1)
    assert asked.target == f"/dataset/a?{SECRET}"
    assert "authorization" not in asked.headers
    assert KEY not in str(asked.headers)
    assert home.asked == []


@pytest.mark.parametrize("status", [400, 403])
async def test_an_address_whose_time_is_over_is_asked_for_anew(status):
    stale = answer(b"", status)
    async with serve(stale, stale, whole()) as storage, here(storage.url) as client:
        got = await fetched(client, *(f"{storage.url}/{name}" for name in "abc"))

    assert got == (LINES, True, 3)
    assert [asked.path for asked in storage.asked] == ["/a", "/b", "/c"]


async def test_what_has_come_by_an_old_address_is_not_fetched_by_the_new_one():
    lines = LINES * 2000  # what has come is written a mebibyte at a time
    begun = answer(lines, 200, *TAGGED, content_type="application/octet-stream")

    async def rest(talk, asked):
        first = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        span = f"Content-Range: bytes {first}-{len(lines) - 1}/{len(lines)}"
        await talk.say(answer(lines[first:], 206, 'ETag: "one"', span, content_type="application/octet-stream"))

    broken = closing(head_of(begun) + lines[: len(lines) // 2])
    async with serve(broken, EXPIRED, rest) as storage, here(storage.url) as client:
        got, is_verified, addresses = await fetched(client, f"{storage.url}/a", f"{storage.url}/b")

    assert (got == lines, is_verified, addresses) == (True, True, 2)
    assert [asked.path for asked in storage.asked] == ["/a", "/a", "/b"]
    assert storage.asked[1].headers["range"] == storage.asked[2].headers["range"] != "bytes=0-"


@pytest.mark.parametrize("status", [400, 403])
async def test_an_address_is_not_asked_for_without_end_and_neither_the_key_nor_the_answers_are_given_up(status):
    async with serve(answer(b"{}", status)) as storage, here(storage.url) as client:
        with pytest.raises(ProviderPermanentError) as caught:
            await fetched(client, f"{storage.url}/a?{SECRET}")

    assert (caught.value.status, caught.value.code) == (status, "answers_elsewhere")
    assert (caught.value.is_auth, caught.value.hint) == (False, None)
    assert len(storage.asked) == 3


async def test_a_refusal_that_no_other_address_mends_is_none_of_the_key_either():
    async with serve(answer(b"{}", 401)) as storage, here(storage.url) as client:
        with pytest.raises(ProviderPermanentError) as caught:
            await fetched(client, f"{storage.url}/a?{SECRET}")

    assert (caught.value.status, caught.value.code, caught.value.is_auth) == (401, "answers_elsewhere", False)
    assert len(storage.asked) == 1


async def test_a_key_that_is_refused_where_addresses_are_given_is_told_as_what_it_is():
    async with here("https://api.example") as client:

        async def address():
            raise ProviderPermanentError("no", provider="openai", status=403, code="forbidden")

        with pytest.raises(ProviderPermanentError) as caught:
            await client.transport.download_from(address, client.new_file())

    assert (caught.value.code, caught.value.is_auth) == ("forbidden", True)


MIB = 1024 * 1024
LARGE = (b'{"custom_id":"row"}'.ljust(63) + b"\n") * (8 * MIB // 64)


def slowly(*, rest=True):
    """Answer as a storage whose addresses last for little more than a mebibyte: then it hangs up, and refuses."""

    async def say(talk, asked):
        first = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if asked.path in spent:
            await talk.say(EXPIRED)
            return
        spent.add(asked.path)
        span = (f"Content-Range: bytes {first}-{len(LARGE) - 1}/{len(LARGE)}",) if first else ()
        head = head_of(answer(LARGE[first:], 206 if first else 200, *(TAGGED if rest else ()), *span))
        much = len(LARGE) - first if first >= 6 * MIB else MIB + 1000
        await talk.say(head + LARGE[first : first + much])
        talk.hang_up()

    spent = set()
    return say


async def test_addresses_are_counted_anew_once_more_of_the_file_has_come():
    async with serve(slowly()) as storage, here(storage.url) as client:
        got, is_verified, addresses = await fetched(client, *(f"{storage.url}/{number}" for number in range(20)))

    assert (got == LARGE, is_verified) == (True, True)
    assert addresses > 3


async def test_a_file_that_begins_anew_each_time_is_not_asked_for_without_end():
    async with serve(slowly(rest=False)) as storage, here(storage.url) as client:
        with pytest.raises(ProviderPermanentError) as caught:
            await fetched(client, *(f"{storage.url}/{number}" for number in range(20)))

    assert caught.value.code == "answers_elsewhere"
    assert len({asked.path for asked in storage.asked}) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ProviderPermanentError), (410, ProviderPermanentError), (500, ProviderTransientError)],
)
async def test_another_refusal_needs_no_other_address_and_is_told_without_it(status, error):
    async with serve(answer(SECRET.encode(), status)) as storage, here(storage.url, retry=Retry(attempts=1)) as client:
        with pytest.raises(error) as caught:
            await fetched(client, f"{storage.url}/a?{SECRET}")

    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.__dict__)
    assert (caught.value.status, caught.value.code) == (status, None)
    assert SECRET not in shown
    assert len(storage.asked) == 1


@pytest.mark.parametrize(
    "url", ["", "nowhere", "ftp://storage.example/a", "https://me:pass@storage.example/a", "http://storage.example/a"]
)
async def test_what_is_no_address_of_a_storage_is_not_called(url):
    async with serve(whole()) as home, here(home.url) as client:
        with pytest.raises(ProviderPermanentError, match="not called") as caught:
            await fetched(client, url)

    assert caught.value.code == "answers_elsewhere"
    assert home.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.8", "[::1]", "169.254.169.254"])
async def test_a_public_service_leads_to_no_address_of_our_own_network(host):
    async with here("https://api.example") as client:
        with pytest.raises(ProviderPermanentError, match="public") as caught:
            await fetched(client, f"https://{host}/a?{SECRET}")

    assert caught.value.code == "answers_elsewhere"
    assert "Http(allow_private=True)" in caught.value.hint
    assert SECRET not in str(caught.value)


async def test_a_name_that_leads_into_our_own_network_is_told_as_that_and_not_asked_for_again(monkeypatch):
    asked = []

    async def resolve(self, host, port=0, family=0):
        asked.append(host)
        return [{"hostname": host, "host": "10.0.0.8", "port": port, "family": family, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with here("https://api.example") as client:
        with pytest.raises(ProviderPermanentError, match=r"storage\.example is not a public address") as caught:
            await fetched(client, f"https://storage.example/a?{SECRET}")

    assert asked == ["storage.example"]
    assert caught.value.code == "answers_elsewhere"
    assert "Http(allow_private=True)" in caught.value.hint
    assert SECRET not in str(caught.value)


async def test_a_name_that_nobody_knows_may_be_known_the_next_time(monkeypatch):
    async def resolve(self, host, port=0, family=0):
        raise OSError("no such name")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with here("https://api.example", retry=Retry(attempts=1)) as client:
        with pytest.raises(ProviderTransientError, match="no such host") as caught:
            await fetched(client, f"https://storage.example/a?{SECRET}")

    assert caught.value.code == "unreachable"


async def test_a_public_service_leads_where_it_is_allowed_to():
    async with here("https://api.example", http=Http(allow_private=True)) as client:
        with aioresponses() as calls:
            calls.get(re.compile(r"https://10\.0\.0\.8/"), body=LINES, headers={"Content-Length": str(len(LINES))})
            got = await fetched(client, "https://10.0.0.8/a")

    assert got[0] == LINES


async def test_a_redirect_of_a_storage_is_held_to_the_network_of_the_service():
    away = answer(b"", 302, "Location: /b")
    async with serve(away, whole()) as storage, here(storage.url) as client:
        got = await fetched(client, f"{storage.url}/a")

    assert got[0] == LINES
    assert [asked.path for asked in storage.asked] == ["/a", "/b"]
