"""Query strategies by name, as in `collect.strategy`."""

from pipeline.strategies.base import Candidates, QueryStrategy, strategies
from pipeline.strategies.coverage import KCenter, Typical
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

__all__ = ["Candidates", "QueryStrategy", "strategies"]
