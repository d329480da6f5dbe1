"""What the peers' models have in common: shapes, weights, and the arithmetic they stand for.

Parameter names, shapes and gate orders (tree_lstm: i, o, g and i, f_l, f_r, o, g; lstm:
i, f, o, g) are those of Espalier's models, so weights travel as safetensors.
"""

import math

import numpy
from safetensors.numpy import load_file

MODELS = ("tree_lstm", "lstm")


class WeightsError(Exception):
    """Weights that do not fit the model."""


def shapes(model, vocabulary, embed, hidden, classes):
    cell = {
        "tree_lstm": {
            "w_leaf": [3 * hidden, embed],
            "b_leaf": [3 * hidden],
            "u": [5 * hidden, 2 * hidden],
            "b": [5 * hidden],
        },
        "lstm": {"w": [4 * hidden, embed], "u": [4 * hidden, hidden], "b": [4 * hidden]},
    }[model]
    classifier = {"out": [classes, hidden], "out_bias": [classes]}
    return {"embed": [vocabulary, embed], **cell, **classifier}


def weights(shape_of, file=None, seed=1):
    """Those in `file`, or else uniform ones: ±0.05 for the embedding, Glorot, zero biases."""
    if file is None:
        random = numpy.random.default_rng(seed)
        return {name: uniform(random, name, shape) for name, shape in shape_of.items()}
    loaded = load_file(file)
    found = {name: list(values.shape) for name, values in loaded.items()}
    if found != shape_of:
        raise WeightsError(f"{file}: found {found}, expected {shape_of}")
    return {name: numpy.ascontiguousarray(loaded[name]) for name in shape_of}


def uniform(random, name, shape):
    if len(shape) == 1:
        return numpy.zeros(shape, numpy.float32)
    bound = 0.05 if name == "embed" else math.sqrt(6 / sum(shape))
    return random.uniform(-bound, bound, shape).astype(numpy.float32)


def flops(model, examples, embed, hidden, classes, training):
    """The contractions of the model; twice as much again for the gradients."""
    tokens = sum(len(e.words) for e in examples)
    if model == "lstm":
        forward = tokens * (8 * hidden * (embed + hidden) + 2 * classes * hidden)
    else:
        nodes = node_count(model, examples)
        inner = nodes - tokens
        forward = 6 * hidden * embed * tokens + 20 * hidden * hidden * inner
        forward += 2 * classes * hidden * nodes
    return forward * (3 if training else 1)


def node_count(model, examples):
    """Nodes of the trees; tokens for a model that reads sequences."""
    if model == "lstm":
        return sum(len(e.words) for e in examples)
    return sum(len(e.tree.word) for e in examples)
