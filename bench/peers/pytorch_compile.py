"""pytorch_level with its cells and its loss under torch.compile(dynamic=True).

The number of levels differs from minibatch to minibatch, so the loop over levels stays in Python:
compiled whole, it would be compiled anew for every number of levels.
"""

import torch

import pytorch_level
from pytorch_step import make_step

COMPILES = True  # a whole round of minibatches warms up


def make(settings, weights, dataset):
    torch.set_num_threads(settings["threads"])  # before anything is compiled for them
    cells = {
        name: torch.compile(getattr(pytorch_level, name), dynamic=True)
        for name in ("leaf_cell", "node_cell", "summed_loss")
    }
    return make_step(
        settings, weights, pytorch_level.prepare, lambda p, b: pytorch_level.loss(p, b, **cells)
    )
