"""Tree-LSTM by recursion, node by node, eager: what the equations look like when typed in.

The words of a minibatch are looked up in one call and the softmax is one call, since sparse
gradients a leaf and a loss a node would slow it down without being the point.
"""

import torch
import torch.nn.functional as F

from pytorch_step import make_step


def prepare(examples):
    trees = []
    for example in examples:
        word = example.tree.word.tolist()
        trees.append(children(word, 0, first_children(word)))
    words = torch.cat([torch.from_numpy(e.tree.word[e.tree.word >= 0]) for e in examples])
    labels = torch.cat([torch.from_numpy(e.tree.label) for e in examples])
    return trees, words, labels


def first_children(word):
    """For each node the place of its left child, 0 at leaves."""
    inner = 0
    first = []
    for w in word:
        first.append(0 if w >= 0 else 2 * inner + 1)
        inner += w < 0
    return first


def children(word, node, first):
    """The tree below `node` as nested pairs (node, children)."""
    left = first[node]
    if not left:
        return node, ()
    return node, (children(word, left, first), children(word, left + 1, first))


def encode(p, tree, leaves, hidden):
    """(h, c) of the root; leaves is an iterator over inputs by node, hidden collects h by node."""
    node, below = tree
    if not below:
        i, o, g = F.linear(leaves[node], p["w_leaf"], p["b_leaf"]).chunk(3)
        c = i.sigmoid() * g.tanh()
    else:
        hl, cl = encode(p, below[0], leaves, hidden)
        hr, cr = encode(p, below[1], leaves, hidden)
        i, fl, fr, o, g = F.linear(torch.cat([hl, hr]), p["u"], p["b"]).chunk(5)
        c = i.sigmoid() * g.tanh() + fl.sigmoid() * cl + fr.sigmoid() * cr
    h = o.sigmoid() * c.tanh()
    hidden[node] = h
    return h, c


def loss(p, batch):
    trees, words, labels = batch
    inputs = iter(F.embedding(words, p["embed"], sparse=True).unbind())
    hidden = []
    for tree in trees:
        leaves = {node: next(inputs) for node in sorted(leaf_nodes(tree))}
        by_node = {}
        encode(p, tree, leaves, by_node)
        hidden += [by_node[node] for node in range(len(by_node))]
    logits = F.linear(torch.stack(hidden), p["out"], p["out_bias"])
    return F.cross_entropy(logits, labels, reduction="sum") / len(trees)


def leaf_nodes(tree):
    node, below = tree
    return [node] if not below else leaf_nodes(below[0]) + leaf_nodes(below[1])


def make(settings, weights, dataset):
    return make_step(settings, weights, prepare, loss)
