"""nn.LSTM on packed sequences, a label at every token.

Words are looked up in the packed order directly, so nothing is padded and nothing is repacked.
nn.LSTM has two biases; the second is held at zero, so that the arithmetic is the model's.
"""

import numpy
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import PackedSequence

from pytorch_step import forward_step, moved, optimizers, train_step


def prepare(examples):
    """Words and labels of all first tokens, then all second ones, ...: longest example first."""
    lengths = numpy.array([len(e.words) for e in examples])
    by_length = numpy.argsort(-lengths, kind="stable")
    words = numpy.concatenate([examples[n].words for n in by_length])
    labels = numpy.concatenate([examples[n].labels for n in by_length])
    time = numpy.concatenate([numpy.arange(n) for n in lengths[by_length]])
    order = numpy.argsort(time, kind="stable")
    return {
        "examples": len(examples),
        "words": torch.from_numpy(words[order]),
        "labels": torch.from_numpy(labels[order]),
        "batch_sizes": torch.from_numpy(numpy.bincount(time)),
    }


def reorder(values):
    """Gates i, f, o, g in the order of nn.LSTM: i, f, g, o."""
    i, f, o, g = numpy.split(values, 4)
    return torch.from_numpy(numpy.concatenate([i, f, g, o]))


class Tagger(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.embed = torch.nn.Parameter(torch.from_numpy(weights["embed"].copy()))
        self.lstm = torch.nn.LSTM(weights["w"].shape[1], weights["u"].shape[1])
        self.out = torch.nn.Linear(*reversed(weights["out"].shape))
        with torch.no_grad():
            self.lstm.weight_ih_l0.copy_(reorder(weights["w"]))
            self.lstm.weight_hh_l0.copy_(reorder(weights["u"]))
            self.lstm.bias_ih_l0.copy_(reorder(weights["b"]))
            self.lstm.bias_hh_l0.zero_()
            self.out.weight.copy_(torch.from_numpy(weights["out"]))
            self.out.bias.copy_(torch.from_numpy(weights["out_bias"]))
        self.lstm.bias_hh_l0.requires_grad_(False)

    def forward(self, batch):
        x = F.embedding(batch["words"], self.embed, sparse=True)
        h, _ = self.lstm(PackedSequence(x, batch["batch_sizes"]))
        loss = F.cross_entropy(self.out(h.data), batch["labels"], reduction="sum")
        return loss / batch["examples"]


def make(settings, weights, dataset):
    torch.set_num_threads(settings["threads"])
    device = settings["device"]
    tagger = Tagger(weights).to(device)

    def placed(examples):
        batch = prepare(examples)
        if device == "cpu":
            return batch
        # Sizes of packed sequences belong to the host.
        return {**moved(batch, device), "batch_sizes": batch["batch_sizes"]}

    def loss(params, batch):
        return tagger(batch)

    params = {name: p for name, p in tagger.named_parameters() if p.requires_grad}
    if settings["pass"] == "forward":
        return forward_step(placed, loss, params)
    rules = optimizers(settings["optimizer"], settings["lr"], params, fused=device == "cpu")
    return train_step(placed, loss, params, rules)
