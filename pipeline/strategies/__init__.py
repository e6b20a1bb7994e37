"""Query strategies by name, as in `collect.strategy`."""

from pipeline.strategies.base import Candidates, QueryStrategy, strategies
from pipeline.strategies.uniform import Uniform

strategies.register("uniform", Uniform())

__all__ = ["Candidates", "QueryStrategy", "strategies"]
