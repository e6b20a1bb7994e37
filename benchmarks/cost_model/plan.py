"""Hours, bytes and money of a job, from unit costs and prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cost_model.stage_costs import JUDGED
from benchmarks.cost_model.unit_costs import UnitCosts
from pipeline.learning.response_times import TimeModel

PARALLEL = ("open", "encode", "infer")  # divided among cores and machines; the other stages run on one machine
ON_GPU = ("encode", "infer")
PER_JUDGMENT = ("collect", "train-reward")
CHOICE, SCORES = "label", 2 * 4  # bytes per image and class: the utilities and pi_ref, in float32
HOURS_PER_MONTH = 730


@dataclass(frozen=True)
class Prices:
    """In any currency. The defaults are round figures to be replaced, not offers.

    Attributes:
        person_hour, core_hour, gpu_hour, gigabyte_month: price of each.
    """

    person_hour: float = 15.0
    core_hour: float = 0.05
    gpu_hour: float = 2.5
    gigabyte_month: float = 0.02


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        images, judgments, annotators, classes: numbers.
        cores: of all machines together.
        gpus: number; 0: cores compute everything.
        gpu_images_per_second: of one GPU, forward; measured on yours.
        image_bytes: of one encoded image, on average.
    """

    images: float
    judgments: float
    annotators: float
    classes: int
    cores: float
    gpus: float = 0
    gpu_images_per_second: float = 0.0
    image_bytes: float = 0.0


@dataclass(frozen=True)
class Item:
    """One line of a plan; what does not apply is 0."""

    name: str
    hours: float = 0.0
    bytes: float = 0.0
    money: float = 0.0


def plan(job: Job, costs: UnitCosts, prices: Prices) -> Iterator[Item]:
    """The lines of the plan, in the order of the stages.

    Raises:
        ValueError: GPUs without their speed.
    """
    if job.gpus and not job.gpu_images_per_second:
        raise ValueError("--gpu-images-per-second: measure the forward pass of your network on your GPU")
    person_seconds = TimeModel(job.classes).seconds(CHOICE)
    hours = job.judgments * person_seconds / 3600
    yield Item("people", hours / job.annotators, 0.0, hours * prices.person_hour)
    if job.image_bytes:
        yield Item("images", bytes=job.images * job.image_bytes)
    for name, line in costs.seconds.items():
        count = job.judgments / JUDGED if name in PER_JUDGMENT else job.images
        stored = costs.bytes[name].at(count)
        if job.gpus and name in ON_GPU:
            hours = job.images / job.gpu_images_per_second / 3600
            yield Item(name, hours / job.gpus, stored, hours * prices.gpu_hour)
            continue
        core_hours = line.at(count) * costs.cores / 3600
        cores = job.cores if name in PARALLEL else min(job.cores, costs.cores)
        yield Item(name, core_hours / cores, stored, core_hours * prices.core_hour)
    yield Item("score tables in memory", bytes=SCORES * job.images * job.classes)


def storage_price(items: list[Item], prices: Prices) -> float:
    """Price of keeping everything on disk for a month."""
    stored = sum(item.bytes for item in items if "memory" not in item.name)
    return stored / 1e9 * prices.gigabyte_month
