"""Simulated teachers by name, which answer from gold labels (B-Pref, Lee et al. 2021; METHOD 6)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol

from feedback_store.registry import Registry
from pipeline.config.teachers import SimulatedConfig
from pipeline.kinds.base import kinds
from pipeline.kinds.queries import Queries
from pipeline.kinds.simulation import Simulation, TeacherParameters


class SimulatedTeacher(Protocol):
    """Answers questions from gold labels.

    Attributes:
        parameters: defaults of those that the configuration does not set.
    """

    @property
    def parameters(self) -> TeacherParameters: ...

    def answer(self, queries: Queries, simulation: Simulation) -> list[str]:
        """An answer to each query, as it is stored."""


@dataclass(frozen=True)
class BPrefTeacher:
    """Answers with the judgment kind's simulation."""

    parameters: TeacherParameters

    def answer(self, queries: Queries, simulation: Simulation) -> list[str]:
        return kinds.get(queries.kind).simulate(queries, simulation)


teachers: Registry[SimulatedTeacher] = Registry("simulated teacher", "image_rlhf.simulated_teachers")
teachers.register("oracle", BPrefTeacher(TeacherParameters()))
teachers.register("mistake", BPrefTeacher(TeacherParameters(eps_mistake=0.1)))
teachers.register("noisy", BPrefTeacher(TeacherParameters(beta=1.0)))
teachers.register("skip", BPrefTeacher(TeacherParameters(eps_skip=0.1)))
teachers.register("equal", BPrefTeacher(TeacherParameters(eps_equal=0.1)))
teachers.register("custom", BPrefTeacher(TeacherParameters()))


def parameters_of(config: SimulatedConfig) -> TeacherParameters:
    """The named teacher's parameters, overridden by those that the configuration sets."""
    settings = config.model_dump(include={field.name for field in fields(TeacherParameters)})
    return replace(teachers.get(config.name).parameters, **{k: v for k, v in settings.items() if v is not None})
