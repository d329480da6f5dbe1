"""pytorch-level with every step captured in a CUDA graph and replayed.

A graph holds one minibatch: its topology, its words and its labels. So a fixed list of minibatches
is prepared and captured once, and what is timed is the replay and the way of the loss to the host:
neither trees nor indices are looked at again. No user can train like that; it is the most that
replaying could give. On a CPU the same step runs without a graph.
"""

import time

import numpy
import torch

from pytorch_level import loss_of_words, prepare
from pytorch_step import moved, parameters

COMPILES = True  # all minibatches are captured before time is taken
MINIBATCHES = 40
EPSILON = 1e-10


class Trainer:
    """Params, AdaGrad's or SGD's state, and a step on static tensors: no sparse tensor, whose
    shape would not be known when a graph is captured."""

    def __init__(self, settings, weights):
        self.device = settings["device"]
        self.rate = settings["lr"]
        self.adagrad = settings["optimizer"] == "adagrad"
        self.trains = settings["pass"] == "train"
        self.params = parameters(weights, self.device)
        self.embed = self.params.pop("embed").detach()
        self.dense = list(self.params.values())
        self.sums = [torch.zeros_like(p) for p in (self.embed, *self.dense)]

    def batch(self, examples):
        batch = prepare(examples)
        rows, places = numpy.unique(batch["words"].numpy(), return_inverse=True)
        batch["rows"] = torch.from_numpy(rows)
        batch["row_places"] = torch.from_numpy(places.reshape(-1))
        return batch if self.device == "cpu" else moved(batch, self.device)

    def step(self, batch):
        words = self.embed.index_select(0, batch["words"])
        if not self.trains:
            with torch.no_grad():
                return loss_of_words(self.params, words, batch)
        words.requires_grad_()
        loss = loss_of_words(self.params, words, batch)
        of_words, *gradients = torch.autograd.grad(loss, [words, *self.dense])
        with torch.no_grad():
            shape = len(batch["rows"]), self.embed.shape[1]
            of_rows = torch.zeros(shape, device=self.device)
            of_rows.index_add_(0, batch["row_places"], of_words)
            self.update_rows(batch["rows"], of_rows)
            self.update(gradients)
        return loss.detach()

    def update_rows(self, rows, gradient):
        if self.adagrad:
            sums = self.sums[0].index_select(0, rows).addcmul_(gradient, gradient)
            self.sums[0].index_copy_(0, rows, sums)
            gradient = gradient / (sums.sqrt() + EPSILON)
        self.embed.index_add_(0, rows, gradient, alpha=-self.rate)

    def update(self, gradients):
        if not self.adagrad:
            torch._foreach_add_(self.dense, gradients, alpha=-self.rate)
            return
        torch._foreach_addcmul_(self.sums[1:], gradients, gradients)
        roots = torch._foreach_sqrt(self.sums[1:])
        torch._foreach_add_(roots, EPSILON)
        torch._foreach_addcdiv_(self.dense, gradients, roots, value=-self.rate)

    def state(self):
        return [self.embed, *(p.detach() for p in self.dense), *self.sums]


def warm_up(trainer, batch):
    """Libraries make their workspaces before a capture; the params stay as they were."""
    before = [values.clone() for values in trainer.state()]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            trainer.step(batch)
    torch.cuda.current_stream().wait_stream(stream)
    for values, old in zip(trainer.state(), before, strict=True):
        values.copy_(old)


def make(settings, weights, dataset):
    torch.set_num_threads(settings["threads"])
    trainer = Trainer(settings, weights)
    replays = {}  # by minibatch: a function that runs its step and gives the loss
    pools = []

    def capture(batch):
        if trainer.device == "cpu":
            return lambda: trainer.step(batch)
        if not pools:
            warm_up(trainer, batch)
            pools.append(torch.cuda.graph_pool_handle())
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pools[0]):
            loss = trainer.step(batch)

        def replay():
            graph.replay()
            return loss

        replay.keeps = batch  # whose memory the graph reads
        return replay

    def step(examples):
        key = id(examples)
        if key not in replays:
            replays[key] = capture(trainer.batch(examples))
        begin = time.perf_counter()
        value = replays[key]().item()
        return value, {"forward": time.perf_counter() - begin}

    return step
