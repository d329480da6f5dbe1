"""Times the steps of a peer and puts them into the fields that `espalier bench step` prints.

A peer is a function: examples -> (loss, seconds of each part). Rates are medians over the steps of
each step's own; once every minibatch was measured, over whole rounds, so that each counts alike.
"""

import statistics
import time
from dataclasses import dataclass, field

from models import flops, node_count

PARTS = ("record", "forward", "backward", "update")


@dataclass
class Step:
    place: int  # of the minibatch
    seconds: float
    loss: float
    parts: dict = field(default_factory=dict)


def check(step, batches, count):
    """The losses of the first `count` minibatches, each followed by the optimizer's step."""
    return [step(batches[n % len(batches)])[0] for n in range(count)]


def run(step, batches, seconds, warmup, warm_steps, at_least):
    """Steps for `warmup` seconds and `warm_steps`, untimed; then for `seconds` and `at_least`."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < warmup or done < warm_steps:
        step(batches[done % len(batches)])
        done += 1
    steps = []
    place, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or len(steps) < at_least:
        begin = time.perf_counter()
        loss, parts = step(batches[place])
        steps.append(Step(place, time.perf_counter() - begin, loss, parts))
        place = (place + 1) % len(batches)
    return steps


def spread(values):
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {"median": middle, "min": min(values), "q1": low, "q3": high, "max": max(values)}


def summary(steps, batches, settings, classes):
    """The fields of the JSON object that depend on timed steps; none without steps."""
    if not steps:
        return {}
    model, training = settings["model"], settings["pass"] == "train"
    steps = steps[: len(steps) // len(batches) * len(batches) or len(steps)]
    work = []
    for batch in batches[: max(step.place for step in steps) + 1]:
        mathematics = flops(model, batch, settings["embed"], settings["hidden"], classes, training)
        tokens = sum(len(e.words) for e in batch)
        work.append((len(batch), node_count(model, batch), tokens, mathematics))

    def rate(column):
        return statistics.median(work[step.place][column] / step.seconds for step in steps)

    parts = [name for name in PARTS if name in steps[0].parts]
    return {
        "examples_per_second": rate(0),
        "nodes_per_second": rate(1),
        "tokens_per_second": rate(2),
        "microseconds_per_token": 1e6 / rate(2),
        "model_flops_per_second": rate(3),
        "seconds": {name: statistics.median(s.parts[name] for s in steps) for name in parts},
        "step_seconds": spread([step.seconds for step in steps]),
        "steps": len(steps),
        "loss": statistics.fmean(step.loss for step in steps),
    }
