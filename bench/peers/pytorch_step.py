"""One optimizer step in PyTorch, for peers that differ only in how they compute the loss.

A peer gives prepare(examples) -> batch and loss(params, batch) -> scalar. AdaGrad and SGD touch
only the rows of the embedding that the minibatch read.
"""

import time

import torch

torch.sparse.check_sparse_tensor_invariants.disable()  # said aloud, else it warns
torch.set_flush_denormal(True)  # as Espalier and DyNet do
# Single precision, on a GPU too, where cuDNN would round factors to TF32 unless told not to.
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False


def parameters(weights, device="cpu"):
    return {
        name: torch.nn.Parameter(torch.from_numpy(values.copy()).to(device))
        for name, values in weights.items()
    }


def moved(batch, device):
    """The same batch with all its tensors on the device."""
    if isinstance(batch, torch.Tensor):
        return batch.pin_memory().to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: moved(part, device) for name, part in batch.items()}
    if isinstance(batch, tuple) and any(isinstance(part, torch.Tensor) for part in batch):
        return tuple(moved(part, device) for part in batch)
    return batch


def optimizers(kind, lr, params, fused=True):
    """The embedding's gradient is sparse and needs a rule without fusion; the rest is fused, or one
    call for all where there is no fused rule."""
    rest = [p for name, p in params.items() if name != "embed"]
    if kind == "sgd":
        return [
            torch.optim.SGD([params["embed"]], lr=lr),
            torch.optim.SGD(rest, lr=lr, fused=fused, foreach=not fused),
        ]
    return [
        torch.optim.Adagrad([params["embed"]], lr=lr, eps=1e-10),
        torch.optim.Adagrad(rest, lr=lr, eps=1e-10, fused=fused, foreach=not fused),
    ]


def train_step(prepare, loss_of, params, rules):
    def step(examples):
        begin = time.perf_counter()
        batch = prepare(examples)
        prepared = time.perf_counter()
        loss = loss_of(params, batch)
        forward = time.perf_counter()
        loss.backward()
        backward = time.perf_counter()
        for rule in rules:
            rule.step()
            rule.zero_grad(set_to_none=True)
        value = loss.item()
        parts = {
            "record": prepared - begin,
            "forward": forward - prepared,
            "backward": backward - forward,
            "update": time.perf_counter() - backward,
        }
        return value, parts

    return step


def forward_step(prepare, loss_of, params):
    @torch.inference_mode()
    def step(examples):
        begin = time.perf_counter()
        batch = prepare(examples)
        prepared = time.perf_counter()
        value = loss_of(params, batch).item()
        return value, {"record": prepared - begin, "forward": time.perf_counter() - prepared}

    return step


def make_step(settings, weights, prepare, loss_of):
    """The function that measure.run calls."""
    torch.set_num_threads(settings["threads"])
    device = settings["device"]
    params = parameters(weights, device)

    def placed(examples):
        batch = prepare(examples)
        return batch if device == "cpu" else moved(batch, device)

    if settings["pass"] == "forward":
        return forward_step(placed, loss_of, params)
    rules = optimizers(settings["optimizer"], settings["lr"], params, fused=device == "cpu")
    return train_step(placed, loss_of, params, rules)
