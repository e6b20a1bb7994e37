"""beta, the weight of the KL penalty: fixed, or adapted to a target KL (Ziegler et al. 2019).

The controller is the one home of the beta in force: loss, evaluation and result all ask it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KLController:
    """Adaptive in proportion to the relative error, which is clipped to 20 %; fixed without a target.

    Attributes:
        beta: the weight in force.
        target: KL in nats per image, or None for a fixed beta.
        horizon: images over which beta adapts.
    """

    beta: float
    target: float | None
    horizon: int

    def after(self, kl: float, images: int) -> KLController:
        """The controller after a rollout of `images` whose exact KL(pi || pi_ref) was `kl`."""
        if self.target is None:
            return self
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return KLController(self.beta * (1 + error * images / self.horizon), self.target, self.horizon)
