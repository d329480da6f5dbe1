"""DyNet with automatic batching: hands a setting to the C++ program of bench/peers/dynet.

The program is $ESPALIER_PEER_DYNET or build/peers/dynet/dynet_agenda; README.md says how it is
made. It uses one core, whatever --threads says: DyNet has no threads on the CPU.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy

from measure import Step

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("ESPALIER_PEER_DYNET", ROOT / "build/peers/dynet/dynet_agenda")
AGENDA = 1
PARTS = ("record", "forward", "backward", "update")


def missing():
    """What keeps it from running here, None if nothing does."""
    if os.access(PROGRAM, os.X_OK):
        return None
    return f"{PROGRAM}: not there; bench/peers/README.md says how to build it"


def run(settings, weights, batches, at_least):
    """The first losses, and the timed steps."""
    with tempfile.NamedTemporaryFile(suffix=".dynet") as file:
        write(file, settings, weights, [e for batch in batches for e in batch])
        file.flush()
        done = subprocess.run([PROGRAM, file.name], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise OSError(f"{PROGRAM}: exit status {done.returncode}")
    result = json.loads(done.stdout)
    return result["first_losses"], [step(row) for row in result["steps"]]


def step(row):
    place, seconds, loss, *parts = row
    return Step(place, seconds, loss, dict(zip(PARTS, parts)))


def write(file, settings, weights, examples):
    vocabulary, embed = weights["embed"].shape
    numbers = {
        "tree": settings["model"] == "tree_lstm",
        "vocabulary": vocabulary,
        "embed": embed,
        "hidden": settings["hidden"],
        "classes": len(weights["out_bias"]),
        "batch": settings["batch"],
        "examples": len(examples),
        "training": settings["pass"] == "train",
        "adagrad": settings["optimizer"] == "adagrad",
        "lr": settings["lr"],
        "seconds": settings["seconds"],
        "warmup": settings["warmup"],
        "check_steps": settings["check_steps"],
        "autobatch": AGENDA,
        "megabytes": 2000,
    }
    header = "".join(f"{name} {float(number)!r}\n" for name, number in numbers.items())
    file.write((header + "end\n").encode())
    for values in weights.values():
        file.write(values.astype("<f4").tobytes())
    for example in examples:
        if numbers["tree"]:
            words, labels = example.tree.word, example.tree.label
        else:
            words, labels = example.words, example.labels
        parts = [numpy.array([len(words)]), words, labels]
        file.write(numpy.concatenate(parts).astype("<i4").tobytes())
