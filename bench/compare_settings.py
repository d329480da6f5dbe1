"""The settings that bench/compare measures, and the peers that can run each of them."""

UNAVAILABLE = 3  # exit status of peers/run.py if a peer cannot run on this machine

TREES = ("pytorch-level", "pytorch-compile", "pytorch-node", "dynet")
PEERS = {
    "pytorch-level": "PyTorch, batched by level by hand",
    "pytorch-compile": "the same under torch.compile",
    "pytorch-node": "PyTorch, node by node",
    "pytorch-lstm": "PyTorch, nn.LSTM on packed sequences",
    "dynet": "DyNet, automatic batching (one thread)",
}


def trees(hidden, embed, batch, step="train"):
    return {
        "model": "tree_lstm",
        "data": "sst",
        "hidden": hidden,
        "embed": embed,
        "batch": batch,
        "pass": step,
        "peers": TREES,
    }


SETTINGS = {
    "train-512": trees(512, 512, 64),
    "train-256": trees(256, 256, 64),
    "train-150": trees(150, 300, 25),
    "train-64": trees(64, 64, 25),
    "forward-1": trees(150, 300, 1, "forward"),
    "lstm-256": {
        **trees(256, 256, 64),
        "model": "lstm",
        "data": "ud_ewt",
        "peers": ("pytorch-lstm", "dynet"),
    },
}


def flags_of(setting, data, threads):
    """The flags that `espalier bench step` and peers/run.py share."""
    kind = {"sst": "sst", "ud_ewt": "conllu"}[setting["data"]]
    flags = ["--data", f"{kind}:{data / setting['data']}", "--threads", threads]
    for name in ("model", "hidden", "embed", "batch", "pass"):
        flags += [f"--{name}", setting[name]]
    return [*flags, "--optimizer", "adagrad"]


def words(setting):
    """The setting in words, for tables."""
    model = {"tree_lstm": "Tree-LSTM", "lstm": "LSTM"}[setting["model"]]
    what = {"train": "training", "forward": "inference"}[setting["pass"]]
    sizes = f"{setting['hidden']}/{setting['embed']}"
    return f"{model} {what}, {sizes}, batch {setting['batch']}"
