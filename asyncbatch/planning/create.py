"""What the answer to a create proves: accepted, refused, or unknown. A create is never repeated by itself.

Refused means proved not accepted: the provider says so in its own words. Everything in between, a 5xx, a timeout, a foreign
page, a redirect that may follow an acceptance, is unknown and has to be reconciled. Why: `docs/decisions/lost-creates.md`.
"""

from enum import StrEnum


class CreateProof(StrEnum):
    """What is known about a create after its answer."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    MISDIRECTED = "misdirected"
    """The server says "not here" (307, 308): nothing was accepted, and the address is wrong."""
    UNKNOWN = "unknown"


REFUSALS = frozenset({400, 401, 402, 403, 404, 405, 410, 412, 413, 415, 422, 424, 429})


def judge_create(status: int, *, is_own_shape: bool) -> CreateProof:
    """Judge an HTTP answer by its status and whether its body has the provider's own JSON shape.

    For a 2xx the shape is that of a created batch with an id; for any other status it is that of the provider's errors: a
    portal's or a firewall's 403 in HTML proves nothing about what the provider did.
    """
    if 200 <= status < 300:
        return CreateProof.ACCEPTED if is_own_shape else CreateProof.UNKNOWN
    if status in (307, 308):
        return CreateProof.MISDIRECTED
    return CreateProof.REFUSED if status in REFUSALS and is_own_shape else CreateProof.UNKNOWN
