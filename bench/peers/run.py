#!/usr/bin/env python3
"""Measures one peer on one setting and prints the JSON fields of `espalier bench step`.

    python bench/peers/run.py --peer pytorch-level --data sst:DIR --hidden 150 --embed 300
"""

import argparse
import importlib
import json
import os
import platform
import resource
import sys

try:
    import numpy
    import safetensors

    import examples as data
    import measure
    import models
except ImportError as error:
    print(f"{error}: expected the packages of bench/peers/requirements.txt", file=sys.stderr)
    sys.exit(3)

UNAVAILABLE = 3  # exit status: this peer cannot run here, and that is no mistake of the caller's

# name: (module, the models it reads, the fewest timed steps)
PEERS = {
    "pytorch-node": ("pytorch_node", ("tree_lstm",), 3),
    "pytorch-level": ("pytorch_level", ("tree_lstm",), 10),
    "pytorch-graphs": ("pytorch_graphs", ("tree_lstm",), 10),
    "pytorch-compile": ("pytorch_compile", ("tree_lstm",), 10),
    "pytorch-lstm": ("pytorch_lstm", ("lstm",), 10),
    "dynet": ("dynet_agenda", ("tree_lstm", "lstm"), 10),
}
ON_CUDA = ("pytorch-node", "pytorch-level", "pytorch-graphs", "pytorch-compile", "pytorch-lstm")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--peer", required=True, choices=PEERS)
    parser.add_argument("--model", default="tree_lstm", choices=models.MODELS)
    parser.add_argument("--data", required=True, help="sst:DIR or conllu:DIR")
    parser.add_argument("--hidden", type=int, default=150)
    parser.add_argument("--embed", type=int, default=300)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of PyTorch")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--pass", default="train", choices=("train", "forward"))
    parser.add_argument("--optimizer", default="adagrad", choices=("adagrad", "sgd"))
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seconds", type=float, default=10, help="timed; 0 checks losses only")
    parser.add_argument("--warmup", type=float, help="seconds before that; default: a third")
    parser.add_argument("--load-weights", metavar="FILE", help="safetensors; default: random ones")
    parser.add_argument("--check-steps", type=int, default=3, metavar="N")
    parser.add_argument("--json", default="-", metavar="FILE", help="- (default) is the output")
    return parser.parse_args()


def settings_of(arguments):
    names = "peer model data hidden embed batch device threads pass optimizer lr seconds check_steps"
    settings = {name: getattr(arguments, name) for name in names.split()}
    if settings["device"] == "cuda" and settings["peer"] not in ON_CUDA:
        sys.exit(f"--device: {settings['peer']} runs on the cpu only")
    settings["warmup"] = arguments.seconds / 3 if arguments.warmup is None else arguments.warmup
    return settings


def import_peer(module):
    try:
        peer = importlib.import_module(module)
        missing = peer.missing() if hasattr(peer, "missing") else None
    except ImportError as error:
        missing = f"{error}: expected the packages of bench/peers/requirements.txt"
    if missing:
        print(missing, file=sys.stderr)
        sys.exit(UNAVAILABLE)
    return peer


def measured(settings, weights_file):
    module, readable, at_least = PEERS[settings["peer"]]
    if settings["model"] not in readable:
        sys.exit(f"--model: {settings['peer']} reads {', '.join(readable)} only")
    dataset = data.load(settings["data"])
    if settings["model"] == "tree_lstm" and dataset.examples[0].tree is None:
        sys.exit(f"--data: tree_lstm reads trees, which {settings['data']} has not")
    sizes = (settings["embed"], settings["hidden"], dataset.classes)
    shape_of = models.shapes(settings["model"], dataset.vocabulary, *sizes)
    weights = models.weights(shape_of, weights_file)
    batches = data.minibatches(dataset.examples, settings["batch"])
    peer = import_peer(module)
    if hasattr(peer, "run"):  # it measures itself
        losses, steps = peer.run(settings, weights, batches, at_least)
    else:
        batches = batches[: getattr(peer, "MINIBATCHES", len(batches))]
        step = peer.make(settings, weights, dataset)
        losses = measure.check(step, batches, settings["check_steps"])
        steps = []
        if settings["seconds"] > 0:
            # What compiles as it goes has to have seen every shape first.
            warm_steps = len(batches) if getattr(peer, "COMPILES", False) else 0
            timing = settings["seconds"], settings["warmup"], warm_steps, at_least
            steps = measure.run(step, batches, *timing)
    fields = measure.summary(steps, batches, settings, dataset.classes)
    return {**fields, "first_losses": losses}


def peak_resident_bytes():
    """Of this process, or of a program that it ran (DyNet's) if that took more."""
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return 1024 * max(resource.getrusage(one).ru_maxrss for one in who)


def versions():
    found = {"python": platform.python_version(), "numpy": numpy.__version__}
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].__version__
    return {**found, "safetensors": safetensors.__version__}


def main():
    arguments = parse_arguments()
    settings = settings_of(arguments)
    try:
        fields = measured(settings, arguments.load_weights)
    except (data.DataError, models.WeightsError, OSError) as error:
        sys.exit(str(error))
    fields["peak_resident_bytes"] = peak_resident_bytes()
    text = json.dumps({**fields, "settings": settings, "versions": versions()}, indent=1)
    if arguments.json == "-":
        print(text)
    else:
        with open(arguments.json, "w", encoding="utf-8") as file:
            print(text, file=file)


if __name__ == "__main__":
    main()
