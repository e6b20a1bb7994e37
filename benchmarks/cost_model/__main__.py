"""Command line of the cost model."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import click

from benchmarks.cost_model.plan import Job, Prices, plan, storage_price
from benchmarks.cost_model.stage_costs import STAGES, measure
from benchmarks.cost_model.unit_costs import UnitCosts
from benchmarks.machine import machine

COSTS = Path("build/costs.json")
TOLERANCE = 0.2


def read_costs() -> UnitCosts:
    """The unit costs that `measure` stored."""
    if not COSTS.is_file():
        raise click.UsageError(f"{COSTS}: there are no unit costs; run `python -m benchmarks.cost_model measure` first")
    stored = json.loads(COSTS.read_text())
    return UnitCosts.fitted({int(size): job for size, job in stored["jobs"].items()}, stored["cores"])


@click.group()
def main() -> None:
    """What a job costs."""


@main.command("measure")
@click.option("--sizes", default="1000,2000,4000", show_default=True, help="Numbers of images.")
def measure_costs(sizes: str) -> None:
    """Measure jobs of several sizes and store their costs."""
    click.echo(machine())
    jobs = {int(size): measure(int(size)) for size in sizes.split(",")}
    COSTS.parent.mkdir(exist_ok=True)
    COSTS.write_text(json.dumps({"machine": machine(), "cores": os.cpu_count(), "jobs": jobs}, indent=1) + "\n")
    costs = read_costs()
    click.echo(f"{'stage':14} {'fixed':>8} {'per 1,000 images':>18}  {'bytes per image':>16}")
    for name in STAGES:
        line = costs.seconds[name]
        click.echo(f"{name:14} {line.fixed:6.2f} s {1000 * line.each:16.3f} s  {costs.bytes[name].each:16,.0f}")


@main.command()
@click.option("--size", default=40_000, show_default=True, help="Images: ten times the largest job that was measured.")
def check(size: int) -> None:
    """Predict a larger job, run it, and fail if the prediction is off by more than 20 %."""
    costs, found = read_costs(), measure(size)
    for name in STAGES:
        click.echo(
            f"{name:14} predicted {costs.seconds[name].at(size):7.1f} s, measured {found[name]['seconds']:7.1f} s"
        )
    predicted, total = costs.total_seconds(size), sum(found[name]["seconds"] for name in STAGES)
    stored = sum(costs.bytes[name].at(size) for name in STAGES), sum(found[name]["bytes"] for name in STAGES)
    click.echo(f"all: predicted {predicted:.1f} s, measured {total:.1f} s ({predicted / total - 1:+.1%})")
    click.echo(
        f"stored: predicted {stored[0] / 1e6:.1f} MB, measured {stored[1] / 1e6:.1f} MB ({stored[0] / stored[1] - 1:+.1%})"
    )
    if max(abs(predicted / total - 1), abs(stored[0] / stored[1] - 1)) > TOLERANCE:
        raise click.ClickException(f"the prediction is off by more than {TOLERANCE:.0%}")


def _options(command: click.Command) -> click.Command:
    """An option for every field of `Job` and `Prices`."""
    usual = {
        "classes": 10,
        "cores": 64.0,
        "annotators": 1000.0,
        "gpus": 0.0,
        "gpu_images_per_second": 0.0,
        "image_bytes": 0.0,
    }
    for field in fields(Job):
        name = "--" + field.name.replace("_", "-")
        kind = int if field.name == "classes" else float
        needed = field.name not in usual
        option = click.option(name, type=kind, required=needed, default=usual.get(field.name), show_default=not needed)
        command = option(command)
    for field in fields(Prices):
        option = click.option(f"--{field.name.replace('_', '-')}", type=float, default=field.default, show_default=True)
        command = option(command)
    return command


@main.command("plan")
@_options
def print_plan(**values: float) -> None:
    """Hours, bytes and money of a job."""
    prices = Prices(**{field.name: values.pop(field.name) for field in fields(Prices)})
    job, costs = Job(**values), read_costs()  # type: ignore[arg-type]
    try:
        items = list(plan(job, costs, prices))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"{'':24} {'hours':>10} {'gigabytes':>12} {'money':>12}")
    for item in items:
        click.echo(f"{item.name:24} {item.hours:10,.1f} {item.bytes / 1e9:12,.1f} {item.money:12,.0f}")
    click.echo(f"{'storage, per month':24} {'':10} {'':12} {storage_price(items, prices):12,.0f}")


if __name__ == "__main__":
    main()
