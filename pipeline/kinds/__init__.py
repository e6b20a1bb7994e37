"""Judgment kinds: one module per kind, in one registry. CONTRIBUTING.md shows how to add one."""

from pipeline.kinds.base import JudgmentKind, kinds, likelihoods, register_kind, unregister_kind
from pipeline.kinds.columns import Columns
from pipeline.kinds.comparison import Comparison, ImageComparison
from pipeline.kinds.grid import Grid
from pipeline.kinds.label import Label
from pipeline.kinds.likelihood import Likelihood
from pipeline.kinds.queries import Queries
from pipeline.kinds.question_screen import Choice, KeyHelp, Screen, ScreenSettings
from pipeline.kinds.rating import Rating
from pipeline.kinds.simulation import Simulation, TeacherParameters
from pipeline.kinds.verdict import Verdict

AUDIT_KIND: JudgmentKind = Label()  # of audit questions, whatever else is asked: the truth, not a side

for _kind in (Comparison(), ImageComparison(), AUDIT_KIND, Verdict(), Rating(), Grid()):
    register_kind(_kind)

__all__ = [
    "AUDIT_KIND",
    "Choice",
    "Columns",
    "JudgmentKind",
    "KeyHelp",
    "Likelihood",
    "Queries",
    "Screen",
    "ScreenSettings",
    "Simulation",
    "TeacherParameters",
    "kinds",
    "likelihoods",
    "register_kind",
    "unregister_kind",
]
