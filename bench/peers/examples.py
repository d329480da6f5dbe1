"""Training examples as arrays: bracket trees (sst:DIR) and CoNLL-U sentences (conllu:DIR).

Made by load(), consumed by every peer. Words are ids in order of first appearance over the tokens
of the training split, 0 being <unk>: the numbering of Espalier's data/vocabulary.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy

UNIVERSAL_TAGS = (
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
)


class DataError(Exception):
    """Bad input; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Tree:
    """A binary tree breadth first: the k-th inner node's children are nodes 2k + 1 and 2k + 2."""

    depth: numpy.ndarray  # of each node, the root's being 0
    word: numpy.ndarray  # -1 at inner nodes
    label: numpy.ndarray


@dataclass(frozen=True)
class Example:
    words: numpy.ndarray  # of the tokens, in reading order
    labels: numpy.ndarray  # of the tokens
    tree: Tree | None = None


@dataclass(frozen=True)
class Dataset:
    examples: list[Example]
    vocabulary: int
    classes: int


def load(spec):
    """The training split of `spec`."""
    kind, _, folder = spec.partition(":")
    readers = {"sst": read_sst, "conllu": read_conllu}
    if kind not in readers or not folder:
        raise DataError(f"--data: found '{spec}', expected sst:DIR or conllu:DIR")
    return readers[kind](Path(folder))


def read_sst(folder):
    words = {"<unk>": 0}
    path = folder / "train.txt"
    examples = []
    with open(path, encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                examples.append(tree_example(parse_brackets(line, words)))
            except (IndexError, ValueError, StopIteration):
                found = f"{path}:{number}: found '{line[:40].strip()}...'"
                raise DataError(f"{found}, expected a labelled binary tree") from None
    return Dataset(examples, len(words), 5)


def parse_brackets(line, words):
    """The root of a tree as nested tuples (label, word, children)."""
    # Words are verbatim; only ASCII white space separates.
    tokens = iter(re.findall(r"[()]|[^() \t\r\n\v\f]+", line))
    stack = [[0, -1, []]]
    for token in tokens:
        if token == "(":
            stack.append([int(next(tokens)), -1, []])
        elif token == ")":
            node = stack.pop()
            stack[-1][2].append(node)
        else:
            stack[-1][1] = words.setdefault(token, len(words))
    (root,) = stack.pop()[2]
    return root


def tree_example(root):
    nodes, depths, place = [root], [0], 0
    while place < len(nodes):
        children = nodes[place][2]
        if len(children) not in (0, 2) or (nodes[place][1] >= 0) == bool(children):
            raise ValueError
        nodes += children
        depths += [depths[place] + 1] * len(children)
        place += 1
    leaves, stack = [], [root]
    while stack:
        node = stack.pop()
        stack += reversed(node[2])
        if not node[2]:
            leaves.append(node)
    tree = Tree(ints(depths), ints(n[1] for n in nodes), ints(n[0] for n in nodes))
    return Example(ints(n[1] for n in leaves), ints(n[0] for n in leaves), tree)


def read_conllu(folder):
    """FORM as word and UPOS as label of each token; ranges (3-4) and empty nodes (5.1) are none."""
    paths = sorted(folder.glob("*-train.conllu"))
    if len(paths) != 1:
        raise DataError(f"{folder}: found {len(paths)} files *-train.conllu, expected one")
    words, tags = {"<unk>": 0}, {tag: n for n, tag in enumerate(UNIVERSAL_TAGS)}
    examples = []
    for block in paths[0].read_text(encoding="utf-8").split("\n\n"):
        rows = [line.split("\t") for line in block.split("\n") if line and line[0] != "#"]
        tokens = [row for row in rows if row[0].isdigit()]
        if not tokens:
            continue
        bad = [row for row in rows if len(row) != 10] or [r for r in tokens if r[3] not in tags]
        if bad:
            raise DataError(f"{paths[0]}: found {bad[0]}, expected ten fields, the fourth a tag")
        # A space within a word becomes U+00A0, as in Espalier's vocabulary.
        forms = [row[1].replace(" ", "\u00a0") for row in tokens]
        ids = ints(words.setdefault(form, len(words)) for form in forms)
        examples.append(Example(ids, ints(tags[row[3]] for row in tokens)))
    return Dataset(examples, len(words), len(UNIVERSAL_TAGS))


def ints(values):
    return numpy.fromiter(values, dtype=numpy.int64)


def minibatches(examples, size):
    """Consecutive examples, `size` at a time; what is left over at the end is not used."""
    if not 0 < size <= len(examples):
        raise DataError(f"--batch: found {size}, expected 1 to {len(examples)}")
    return [examples[at : at + size] for at in range(0, len(examples) - size + 1, size)]
