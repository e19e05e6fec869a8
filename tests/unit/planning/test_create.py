"""What the answer to a create proves, status by status."""

import pytest

from asyncbatch.planning.create import REFUSALS, CreateProof, judge_create

REFUSED = [400, 401, 402, 403, 404, 405, 410, 412, 413, 415, 422, 424, 429]


@pytest.mark.parametrize("status", REFUSED)
def test_a_refusal_in_the_providers_own_words_proves_that_nothing_was_accepted(status):
    assert judge_create(status, is_own_shape=True) is CreateProof.REFUSED


@pytest.mark.parametrize("status", REFUSED)
def test_the_same_status_in_a_foreign_shape_proves_nothing(status):
    assert judge_create(status, is_own_shape=False) is CreateProof.UNKNOWN


@pytest.mark.parametrize("status", [408, 409, 425, 300, 301, 302, 303, 304, 500, 501, 502, 503, 504, 520, 599, 100])
@pytest.mark.parametrize("is_own_shape", [True, False])
def test_whatever_may_follow_an_acceptance_is_unknown(status, is_own_shape):
    assert judge_create(status, is_own_shape=is_own_shape) is CreateProof.UNKNOWN


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_says_not_here_is_misdirected(status):
    assert judge_create(status, is_own_shape=False) is CreateProof.MISDIRECTED


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_a_success_counts_only_with_a_batch_in_it(status):
    assert judge_create(status, is_own_shape=True) is CreateProof.ACCEPTED
    assert judge_create(status, is_own_shape=False) is CreateProof.UNKNOWN


def test_no_status_outside_the_table_is_ever_a_refusal():
    proofs = {status: judge_create(status, is_own_shape=True) for status in range(100, 600)}

    assert {status for status, proof in proofs.items() if proof is CreateProof.REFUSED} == set(REFUSED) == REFUSALS
