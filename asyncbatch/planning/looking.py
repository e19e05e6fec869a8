"""How long to look for the answers of a batch that is over: some files are named a few seconds late, or filled later."""

PATIENCE_S = 60.0
UPLOAD_PATIENCE_S = 900.0
"""How long to look whether an upload can be used, where a service looks through it first."""
_SHORT = (1.0, 6.0)
"""Waits before answers are fetched again, in first waits of the poller: 5 and 30 seconds by default."""
_FIRST_S, _FACTOR, _LONGEST_S = 1.0, 2.0, 15.0


def next_look(looks: int, waited_s: float, u: float, patience_s: float = PATIENCE_S) -> float | None:
    """Give the seconds to the next look; None when the batch, or whatever is looked at, has to be taken as it is."""
    if waited_s >= patience_s:
        return None
    step = min(_LONGEST_S, _FIRST_S * _FACTOR**looks)
    # A quarter of spread, and never past the end of our patience: the last look is made exactly there.
    return min(step * (0.75 + 0.5 * u), patience_s - waited_s)


def next_reading(looks: int, counted: int, answered: int, u: float, *, sent: int, first_s: float) -> float | None:
    """Give the seconds until answers are fetched once more, of which there were fewer than the provider counts; None: no more.

    Args:
        looks: How often they were fetched once more.
        counted: Successes that the provider counts.
        answered: Requests whose answers we have.
        u: A number from 0 to 1.
        sent: Requests of the batch: no provider has answered more, whatever it counts.
        first_s: The first wait of whoever asks about batches.
    """
    if answered >= min(counted, sent) or looks >= len(_SHORT):
        return None
    return first_s * _SHORT[looks] * (0.75 + 0.5 * u)
