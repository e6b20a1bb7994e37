"""What the report reads from other stages' files: metrics.csv, compare.md, collect's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback_store.records import verdict
from feedback_store.store import FeedbackStore
from pipeline.config import parse_config
from stages.report.judgment_summary import summarise_judgments
from stages.report.report_data import comparison, metrics
from stages.report.reproduce import collect_options


def test_how_judgments_were_collected() -> None:
    """What the stage kept counts, not the configuration, whose teacher nobody may have asked."""
    written = parse_config({"images": {"source": "digits"}}, "test").collect.model_dump(mode="json")
    assert written["teacher"] == "simulated"
    assert collect_options({}, written) == [], "imported: the target asks people by itself"
    assert collect_options(written, written) == ["TEACHER=simulated"]
    asked = written | {"teacher": "people"}
    assert collect_options(asked, written) == []
    assert collect_options(asked | {"annotators": ["Ann B", "$x"], "ui": "tk"}, written) == [
        "ANNOTATORS='Ann B,$$x'",
        "UI=tk",
    ]
    earlier = written["simulated"] | {"seconds": False}  # before response times were simulated
    assert collect_options(asked | {"simulated": earlier}, written) == [], "nobody was simulated"
    assert collect_options(written | {"simulated": earlier}, written) == [
        "TEACHER=simulated",
        "SET=collect.simulated.seconds=False",
    ]
    changed = asked | {"question": "label", "server": written["server"] | {"port": 1}}
    assert collect_options(changed, written) == ["SET='collect.question=label collect.server.port=1'"]


@pytest.mark.parametrize(
    ("sources", "said"),
    [(("simulated", "simulated"), "simulated"), (("web", "simulated"), "partly simulated"), (("web", "web"), "")],
)
def test_simulated_response_times_are_called_so(tmp_path: Path, sources: tuple[str, str], said: str) -> None:
    store = FeedbackStore.open("csv", tmp_path)
    store.append(
        [verdict("img", "ant", "yes", annotator="ann", source=source, response_ms=2000) for source in sources]
        + [verdict("img", "ant", "yes", annotator="ann", source="replay")]
    )
    summary = summarise_judgments(store, {}, 10)
    assert summary is not None
    assert (summary["kinds"][0]["median_seconds"], summary["kinds"][0]["simulated_times"]) == (2.0, said)


def test_metrics_leave_out_empty_cells(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("iteration,J,spread_heldout\n0,0.5,\n1,inf,0.25\n")
    rows = metrics(tmp_path / "metrics.csv")
    assert rows == [{"iteration": 0.0, "J": 0.5}, {"iteration": 1.0, "spread_heldout": 0.25}]


def test_comparison_reads_what_compare_writes(tmp_path: Path) -> None:
    import pandas as pd

    from stages.compare.report import conclusion, markdown

    columns = {
        "KL": 0.5,
        "J": 0.1,
        "attained": 0.9,
        "attained held-out": 0.8,
        "ECE": 0.1,
        "images": 10,
        "note": "",
        "beta": 1.0,
    }
    frame = pd.DataFrame(
        [
            {
                "method": method,
                "seed": seed,
                "accuracy": accuracy + 0.01 * seed,
                "seconds": 1.0,
                "reward seconds": 2.0,
                **columns,
            }
            for method, accuracy in (("reference", 0.7), ("PPO, expected", 0.9))
            for seed in (0, 1)
        ]
    )
    config = parse_config({"images": {"source": "digits"}}, "test")
    (tmp_path / "compare.md").write_text(markdown(config, frame) + "\n\n" + conclusion(frame) + "\n")
    found = comparison(tmp_path / "compare.md")
    assert found is not None
    assert [row[0] for row in found["rows"]] == ["reference", "PPO, expected"]
    assert found["heads"][:2] == ["method", "accuracy %"]
    assert all(len(row) == len(found["heads"]) for row in found["rows"])
    assert found["verdict"] == conclusion(frame)
    assert comparison(tmp_path / "none.md") is None
