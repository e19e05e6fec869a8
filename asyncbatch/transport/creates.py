"""The one call that spends money: sent exactly once, and what comes back, or does not, judged."""

from collections.abc import Callable, Collection

import anyio

from asyncbatch.codec.errors import decode_error
from asyncbatch.exceptions import AsyncBatchError, ProviderTransientError, SubmissionUnknownError
from asyncbatch.planning.create import CreateProof, judge_create
from asyncbatch.transport.bodies import Streamed, StreamedPayload
from asyncbatch.transport.downloads import Answer
from asyncbatch.transport.errors import WIRE_ERRORS, is_before_first_byte, ours_behind, request_id_of
from asyncbatch.transport.exchange import Exchange
from asyncbatch.transport.origin import Call


async def send_create(
    exchange: Exchange,
    call: Call,
    body: bytes | Streamed,
    is_created: Callable[[bytes], bool],
    refusals: Collection[str] = (),
) -> bytes:
    """Send a create and give the body of the answer that accepts it; raises as `Transport.create` says."""
    call = await exchange.signed(call)
    data = _payload(exchange, call, body)
    is_large = not isinstance(body, bytes)
    try:
        if is_large and isinstance(data, StreamedPayload):
            answer = await _stream(exchange, call, data)
        else:
            answer = await exchange.once(call, data)
    except WIRE_ERRORS as error:
        failure = _failure(exchange, call, error, is_whole=_is_whole(data))
    else:
        return _judged(exchange, call, answer, is_created, refusals, is_whole=_is_whole(data))
    # Raised out here, for then nothing of the wire's own error, which knows every header, hangs on ours.
    raise failure


def _payload(exchange: Exchange, call: Call, body: bytes | Streamed) -> bytes | StreamedPayload:
    """Give what is sent; one that streams knows how far it came, and in a tunnel that broke while it was dug it never began."""
    if isinstance(body, bytes) and not exchange.is_tunnelled(call):
        return body
    return StreamedPayload(body, content_type="application/json", stall_s=exchange.http.read_s)


def _is_whole(data: bytes | StreamedPayload) -> bool:
    return isinstance(data, bytes) or data.is_whole_sent


async def _stream(exchange: Exchange, call: Call, body: StreamedPayload) -> Answer:
    """Send a large body, however long that takes, and then wait so long for the answer and no longer."""
    answer_s = exchange.http.create_answer_s
    with anyio.fail_after(None) as scope:

        def limit() -> None:
            scope.deadline = anyio.current_time() + answer_s

        body.on_whole = limit
        return await exchange.once(call, body, silence_s=answer_s)


def _failure(exchange: Exchange, call: Call, error: BaseException, *, is_whole: bool) -> AsyncBatchError:
    failure = exchange.from_wire(call, error)
    if is_before_first_byte(error):
        return failure
    if not is_whole:
        # The Content-Length was true, so a server, or whatever passes the body on to it, sees that the end is missing: what
        # never was whole cannot be read, and was not accepted.
        return ours_behind(error) or failure
    return _unknown(exchange, call, failure.message)


def _judged(
    exchange: Exchange,
    call: Call,
    answer: Answer,
    is_created: Callable[[bytes], bool],
    refusals: Collection[str],
    *,
    is_whole: bool,
) -> bytes:
    is_success = 200 <= answer.status < 300
    own = is_created(answer.body) if is_success else decode_error(answer.body).is_own_shape
    if not is_success and _is_refusal(answer.body, refusals):
        raise exchange.from_answer(call, answer)
    proof = judge_create(answer.status, is_own_shape=own)
    if proof is CreateProof.ACCEPTED:
        exchange.can_renew(call, answer)
        return answer.body
    if is_success:
        why = f"{exchange.facts.name}: {call.what} was answered {answer.status} without a batch id"
        raise _unknown(exchange, call, why, answer)
    error = exchange.from_answer(call, answer)
    if proof is CreateProof.UNKNOWN and is_whole:  # an answer to half a body is a refusal, whoever wrote it
        raise _unknown(exchange, call, error.message, answer)
    if exchange.can_renew(call, answer):  # nothing was accepted, and whoever sends it again has another token
        why, code = f"{error.message}; the next attempt has another token", error.code
        error = ProviderTransientError(why, provider=error.provider, status=answer.status, code=code, is_auth=False)
    raise error


def _is_refusal(body: bytes, codes: Collection[str]) -> bool:
    """Whether the provider says by one of these codes that it has created nothing."""
    return bool(codes) and decode_error(body).code in codes


def _unknown(exchange: Exchange, call: Call, why: str, answer: Answer | None = None) -> SubmissionUnknownError:
    return SubmissionUnknownError(
        f"{why}; whether {call.what} was accepted is not known",
        provider=exchange.facts.name,
        status=answer.status if answer else None,
        code="create_unknown",
        request_id=request_id_of(answer.headers, exchange.secrets_of(call)) if answer else None,
        hint="look for it at the provider before you send it again: `find_submissions`",
    )
