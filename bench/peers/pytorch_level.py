"""Tree-LSTM batched by hand, level by level, in PyTorch: what a skilled user writes.

Nodes are grouped by their distance from the root, so the children of a level are exactly the next
level. Breadth first, siblings are neighbours: the next level's states [2n, H], seen as [n, 2H], are
the operands of this level without a copy. All leaves are computed in one call, and the softmax of
all nodes in one call. Autograd does the rest.
"""

import numpy
import torch
import torch.nn.functional as F

from pytorch_step import make_step


def prepare(examples):
    """Merges the trees into levels; a few vectorized calls, whatever the number of trees."""
    depth = numpy.concatenate([e.tree.depth for e in examples])
    word = numpy.concatenate([e.tree.word for e in examples])
    label = numpy.concatenate([e.tree.label for e in examples])
    # Stable, so that each level keeps the order of its parents, breadth first.
    order = numpy.argsort(depth, kind="stable")
    word, label = word[order], label[order]
    inner = word < 0
    begin = numpy.concatenate([[0], numpy.cumsum(numpy.bincount(depth))])
    inner_before = numpy.concatenate([[0], numpy.cumsum(inner)])
    inner_at = inner_before[begin]
    inner_count = numpy.diff(inner_at)
    leaf_count = numpy.diff(begin) - inner_count

    # Within a level, the place of each node in [its inner nodes; its leaves].
    level = depth[order]
    inner_rank = inner_before[:-1] - inner_at[level]
    leaf_rank = numpy.arange(len(word)) - begin[level] - inner_rank
    place = numpy.where(inner, inner_rank, inner_count[level] + leaf_rank)
    return {
        "trees": len(examples),
        "words": torch.from_numpy(word[~inner]),
        "labels": torch.from_numpy(numpy.concatenate([label[~inner], label[inner]])),
        "places": torch.from_numpy(place),
        "nodes": numpy.diff(begin).tolist(),
        "inner": inner_count.tolist(),
        "leaves": leaf_count.tolist(),
    }


def leaf_cell(x, w, b):
    i, o, g = F.linear(x, w, b).chunk(3, 1)
    c = i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def node_cell(h, c, u, b):
    """h [2n, H] and c [2n, H] of the children, siblings side by side, to h and c [n, H]."""
    hidden = h.shape[1]
    gates = F.linear(h.view(-1, 2 * hidden), u, b)
    sigmoids, g = gates.split([4 * hidden, hidden], 1)
    i, fl, fr, o = sigmoids.sigmoid().chunk(4, 1)
    cl, cr = c.view(-1, 2 * hidden).chunk(2, 1)
    c = torch.addcmul(torch.addcmul(i * g.tanh(), fl, cl), fr, cr)
    return o * c.tanh(), c


def join(inner, leaves, place):
    """The states of a level in its own order; inner nodes and leaves come apart."""
    if inner is None:
        return leaves
    if not len(leaves):
        return inner
    return torch.cat([inner, leaves]).index_select(0, place)


def summed_loss(h, out, bias, labels):
    return F.cross_entropy(F.linear(h, out, bias), labels, reduction="sum")


def loss(p, batch, **cells):
    return loss_of_words(p, F.embedding(batch["words"], p["embed"], sparse=True), batch, **cells)


def loss_of_words(p, x, batch, leaf_cell=leaf_cell, node_cell=node_cell, summed_loss=summed_loss):
    """x: the vectors of batch["words"]."""
    leaf_h, leaf_c = leaf_cell(x, p["w_leaf"], p["b_leaf"])
    leaf_hs, leaf_cs = leaf_h.split(batch["leaves"]), leaf_c.split(batch["leaves"])
    places = batch["places"].split(batch["nodes"])
    h = c = None
    levels = []
    for level in reversed(range(len(leaf_hs))):
        if batch["inner"][level]:
            h, c = node_cell(h, c, p["u"], p["b"])
            levels.append(h)
        if level:
            place = places[level]
            h, c = join(h, leaf_hs[level], place), join(c, leaf_cs[level], place)
    every = torch.cat([leaf_h, *reversed(levels)])
    return summed_loss(every, p["out"], p["out_bias"], batch["labels"]) / batch["trees"]


def make(settings, weights, dataset):
    return make_step(settings, weights, prepare, loss)
