"""Tokens that vouch for webhooks: whatever their header, their claims and the key are, they are believed or refused."""

import json

from hypothesis import strategies as st

from asyncbatch.planning.webhook_tokens import Token, check_token, read_token
from asyncbatch.planning.webhooks import TOLERANCE_S, Refusal
from tests.fuzz.budget import fuzz
from tests.fuzz.mutations import any_text, bent, bent_bytes
from tests.webhooks.signing import NOW
from tests.webhooks.tokens import AUDIENCE, encoded, jwk, token

HEADER = [{"alg": "RS256", "typ": "JWT", "kid": "one"}]
ODD = st.sampled_from(
    [None, True, "", "x", [], {}, float("nan"), float("inf"), 10**400, -(10**400), -1, 0, NOW, NOW + 1e9, 1e300]
)
CLAIMS = st.fixed_dictionaries(
    {"aud": st.just(AUDIENCE) | st.just([AUDIENCE, "x"]) | ODD},
    optional={"exp": ODD, "iat": ODD, "nbf": ODD, "iss": ODD, "sub": ODD, "jti": ODD},
)
CHANGES = st.dictionaries(
    st.sampled_from(["n", "e", "d", "kty", "alg", "use", "kid", "key_ops", "x5c"]), ODD | any_text(), max_size=2
)


@fuzz(200, header=bent(HEADER), payload=st.binary(max_size=20), signature=st.binary(max_size=20))
def test_a_header_is_one_or_the_token_is_refused(header, payload, signature):
    text = ".".join(map(encoded, (header[:1_400], payload or b"x", signature)))
    found = read_token({"webhook-signature": text})

    assert found is None or isinstance(found, Token | Refusal)


@fuzz(150, text=bent_bytes([token({"aud": AUDIENCE, "exp": NOW}).encode()]).map(lambda data: data.decode("latin-1")))
def test_a_token_that_is_bent_is_refused(text):
    found = read_token({"webhook-signature": text})
    if isinstance(found, Token):
        said = check_token(found, jwk("one"), [AUDIENCE], NOW)
        assert isinstance(said, Refusal) or said == {"aud": AUDIENCE, "exp": NOW}


@fuzz(150, claims=CLAIMS)
def test_claims_hold_for_a_while_or_are_refused(claims):
    made = Token(text=token(claims), kid="one", replay_id="r")
    found = check_token(made, jwk("one"), [AUDIENCE], NOW)
    if isinstance(found, Refusal):
        return
    assert AUDIENCE in found["aud"]
    later = check_token(made, jwk("one"), [AUDIENCE], NOW + 2e12)
    assert isinstance(later, Refusal), "none holds for ever"
    assert TOLERANCE_S < 1_000


@fuzz(150, changes=CHANGES)
def test_a_key_that_is_none_verifies_nothing(changes):
    made = Token(text=token({"aud": AUDIENCE, "exp": NOW}), kid="one", replay_id="r")
    found = check_token(made, {**jwk("one"), **changes}, [AUDIENCE], NOW)

    assert isinstance(found, Refusal) or json.loads(json.dumps(found)) == {"aud": AUDIENCE, "exp": NOW}
