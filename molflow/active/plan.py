"""How labels and time are dealt out to the rounds of a map that looks for its own frames."""

from __future__ import annotations

from dataclasses import dataclass

#: Rounds of labels at most; of the first is a half of them.
ROUNDS, FIRST = 4, 0.5
#: Shares of the time of a round: of the map, and of the second one, which learns the force alone.
MAP, SECOND = 0.65, 0.2
#: One label in so many goes to dynamics under the potential where no frames are at hand.
OWN = 4
#: Frames that chains make for one that is labelled, and chains at each temperature.
CHOICE, CHAINS = 4, 64


@dataclass(frozen=True)
class Sizes:
    """How many frames each round labels."""

    of_round: tuple[int, ...]

    @classmethod
    def of(cls, labels: int, at_hand: int) -> Sizes:
        """Return the sizes that add up to a number of labels, of few labels in fewer rounds.

        The first round has no more than the frames that are at hand.
        """
        first = min(at_hand, max(1, round(FIRST * labels)))
        later = min(ROUNDS - 1, labels - first)
        each, more = divmod(labels - first, later) if later else (0, 0)
        return cls((first, *(each + (k < more) for k in range(later))))


def training_seconds(left: float, labelling: float, rounds: int) -> tuple[float, float]:
    """Return the seconds that a round gives to the training of both maps.

    Parameters
    ----------
    left : float
        Seconds of the budget that are not spent.
    labelling : float
        Seconds that the labels of this and later rounds will take.
    rounds : int
        That are left, this one too.
    """
    each = max(1.0, left - labelling) / rounds
    return MAP * each, SECOND * each
