"""Query strategies by name, as in `collect.strategy`."""

from pipeline.strategies.answer_gaps import ByGap
from pipeline.strategies.base import Candidates, QueryStrategy, strategies
from pipeline.strategies.coverage import KCenter, Typical
from pipeline.strategies.herding import ExpectedGain
from pipeline.strategies.uncertainty import MostUncertain, disagreement, entropy, margin
from pipeline.strategies.uniform import Uniform

strategies.register("uniform", Uniform())
strategies.register("disagreement", MostUncertain(disagreement))
strategies.register("entropy", MostUncertain(entropy))
strategies.register("k_center", KCenter())
strategies.register("k_center_disagreement", MostUncertain(disagreement, spread=True))
strategies.register("k_center_entropy", MostUncertain(entropy, spread=True))
strategies.register("margin", MostUncertain(margin))
strategies.register("typical", Typical())
strategies.register("near_tie", ByGap(large=False))
strategies.register("large_gap", ByGap(large=True))
strategies.register("expected_gain", ExpectedGain())

__all__ = ["Candidates", "QueryStrategy", "strategies"]
