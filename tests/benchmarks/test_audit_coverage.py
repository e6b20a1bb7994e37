from __future__ import annotations

import pytest

from benchmarks.audit_coverage import exact, simulated


def test_sums_and_simulations_agree() -> None:
    covered, width = exact(0.9, 0.05, 30, 10)
    share, median = simulated(0.9, 0.05, 30, 10, repeated=0, repetitions=400)
    assert share == pytest.approx(covered, abs=0.02)
    assert median == pytest.approx(width, abs=0.02)
    assert covered >= 0.93


def test_the_case_that_the_docs_name() -> None:
    assert exact(0.98, 0.1, 30, 2)[0] == pytest.approx(0.87, abs=0.01)
    assert simulated(0.98, 0.1, 30, 2, repeated=0.2, repetitions=200)[0] >= 0.93
