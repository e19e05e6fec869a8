"""How long to look for the result files of a batch that is over: some providers name them a few seconds late."""

PATIENCE_S = 60.0
_FIRST_S, _FACTOR, _LONGEST_S = 1.0, 2.0, 15.0


def next_look(looks: int, waited_s: float, u: float) -> float | None:
    """Give the seconds to the next look; None when the batch has to be taken as it is."""
    if waited_s >= PATIENCE_S:
        return None
    step = min(_LONGEST_S, _FIRST_S * _FACTOR**looks)
    # A quarter of spread, and never past the end of our patience: the last look is made exactly there.
    return min(step * (0.75 + 0.5 * u), PATIENCE_S - waited_s)
