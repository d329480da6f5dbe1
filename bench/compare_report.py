"""Writes RESULTS.md and results.svg from the measurements that bench/compare keeps."""

import os
import platform
import statistics
import subprocess

from compare_chart import chart
from compare_settings import PEERS, SETTINGS, words

PARTS = ("record", "schedule", "layout", "plan", "forward", "backward", "update")


def machine(root):
    """The machine and the version of Espalier that are measured."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        model = names[0] if names else model
    git = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    done = subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return {"processor": model, "cores": os.cpu_count(), "commit": done.stdout.strip()}


def middle(results, field):
    return statistics.median(result[field] for result in results)


def ratios(found, peer, ours="ours"):
    """Nodes per second of Espalier over those of the peer, one ratio per round."""
    pairs = zip(found[ours], found[peer])
    return [a["nodes_per_second"] / b["nodes_per_second"] for a, b in pairs]


def measured(store):
    """(name, entry) of the measured settings, in the order of SETTINGS."""
    return [(name, store[name]) for name in SETTINGS if name in store]


def peers_of(entry):
    return [peer for peer in entry["found"] if peer in PEERS]


def ratios_text(store):
    lines = []
    for name, entry in measured(store):
        for peer in peers_of(entry):
            r, unshared = ratios(entry["found"], peer), ratios(entry["found"], peer, "unshared")
            spread = f"min {min(r):.2f}, median {statistics.median(r):.2f}, max {max(r):.2f}"
            spread += f"; without sharing {statistics.median(unshared):.2f}"
            lines.append(f"{name:10} ours / {peer:15}  {spread}")
    return "\n".join(lines)


def count_text(store):
    """The number of measured rows of peers, and the rows that were left out, with the reasons."""
    rows = sum(len(peers_of(entry)) for _, entry in measured(store))
    missing = [
        f"- {words(SETTINGS[name])}: {PEERS[peer]}: {' '.join(why.split())}"
        for name, entry in measured(store)
        for peer, why in entry["missing"].items()
    ]
    head = f"Rows of peers: {rows} measured, {len(missing)} left out{':' if missing else '.'}"
    return "\n".join([head, *missing])


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def row_of_ours(name, entry, kind):
    ours = entry["found"][kind]
    steps = [result["step_seconds"] for result in ours]
    low, step, high = (1e3 * statistics.median(s[k] for s in steps) for k in ("q1", "median", "q3"))
    return [
        words(SETTINGS[name]) if kind == "ours" else "— without sharing",
        f"{middle(ours, 'examples_per_second'):,.0f}",
        f"{middle(ours, 'nodes_per_second'):,.0f}",
        f"{middle(ours, 'microseconds_per_token'):.2f}",
        f"{statistics.median(map(as_written, ours)):.2f}",
        f"{middle(ours, 'model_flops_per_second') / 1e9:,.0f}",
        f"{middle(ours, 'fraction_of_peak'):.2f}",
        f"{middle(ours, 'fraction_of_roofline'):.2f}",
        f"{step:.3g} ({low:.3g} to {high:.3g})",
    ]


def as_written(result):
    """Operations of every recorded call, as a fraction of the peak."""
    more = result["model_flops_unshared"] / result["model_flops"]
    return result["fraction_of_peak"] * more


def row_of_shares(name, entry):
    ours = entry["found"]["ours"]
    parts = [statistics.median(r["seconds"].get(part, 0) for r in ours) for part in PARTS]
    return [words(SETTINGS[name]), *(f"{100 * part / sum(parts):.1f} %" for part in parts)]


def rows_of_peers(name, entry):
    rows = []
    for peer in peers_of(entry):
        results, r = entry["found"][peer], ratios(entry["found"], peer)
        rows.append([
            words(SETTINGS[name]),
            PEERS[peer],
            f"{middle(results, 'examples_per_second'):,.0f}",
            f"{middle(results, 'nodes_per_second'):,.0f}",
            f"{middle(results, 'model_flops_per_second') / 1e9:,.1f}",
            f"{statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f})",
            f"{statistics.median(ratios(entry['found'], peer, 'unshared')):.2f}",
        ])
    return rows


def provenance(name, entry):
    ours = entry["found"]["ours"][0]
    rest = [entry["found"][peer][0] for peer in peers_of(entry)]
    versions = {k: v for result in rest for k, v in result["versions"].items()}
    listed = "".join(f", {k} {v}" for k, v in sorted(versions.items()))
    where = entry["machine"]
    flags = f" --flags '{entry['flags']}'" if entry["flags"] else ""
    command = (
        f"bench/compare --only {name} --rounds {entry['rounds']} --seconds {entry['seconds']:g}"
    )
    return (
        f"- `{command}{flags}`: {entry['date']}, {where['processor']}, {where['cores']} cores, "
        f"{ours['settings']['threads']} threads, {ours['settings']['target']}; "
        f"espalier {ours['settings']['espalier']} ({where['commit']}){listed}"
    )


TEXT = """# Espalier beside its peers

Written by `bench/compare`; [benchmarks.md](../docs/benchmarks.md) explains the figures,
[peers/README.md](peers/README.md) the peers. All figures are medians over whole steps: recording,
scheduling, forward, backward and update. The data is the training split of the Stanford Sentiment
Treebank, and that of UD English EWT for the LSTM. Sizes are hidden/embedding.

![nodes per second of Espalier and the peers](results.svg)

## Espalier

{ours}

Equal calls without randomness, such as the leaves of a word that occurs several times, run once per
minibatch (`--share on`, the default). GFLOP/s and the fractions of peak and roofline count the
operations that are computed. "As written" counts the operations of every recorded call instead.
Shares of the time of a step:

{shares}

## The peers

A speedup is Espalier's nodes per second over the peer's: the median over the rounds (lowest to
highest). Before timing, both sides took three optimizer steps from the same weights and computed the
same losses within 1e-4. No peer shares equal calls; the last column is the speedup of Espalier without
sharing.

{peers}

{count}

## How it was measured

{provenance}
"""


def sections_of_others(file):
    """The sections of RESULTS.md after those written here: other measurements, which are kept."""
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    start = old.find("\n## ", old.find("\n## How it was measured") + 1)
    return old[start:] if start >= 0 and "\n## How it was measured" in old else ""


def write(store, folder):
    rows = measured(store)
    head = ["setting", "trees/s", "nodes/s", "µs per token", "of peak, as written", "GFLOP/s",
            "of peak", "of roofline", "step, ms (quartiles)"]
    peer_head = ["setting", "peer", "trees/s", "nodes/s", "GFLOP/s", "speedup",
                 "speedup without sharing"]
    text = TEXT.format(
        ours=table(head, [row_of_ours(*row, kind) for row in rows for kind in ("ours", "unshared")]),
        shares=table(["setting", *PARTS], [row_of_shares(*row) for row in rows]),
        peers=table(peer_head, [line for row in rows for line in rows_of_peers(*row)]),
        count=count_text(store),
        provenance="\n".join(provenance(*row) for row in rows),
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "RESULTS.md"
    file.write_text(text + sections_of_others(file), encoding="utf-8")
    groups = []
    for name, entry in rows:
        bars = [
            (label, middle(entry["found"][kind], "nodes_per_second"))
            for label, kind in (("Espalier", "ours"), ("Espalier, without sharing", "unshared"))
        ]
        bars += [
            (PEERS[peer], middle(entry["found"][peer], "nodes_per_second"))
            for peer in peers_of(entry)
        ]
        groups.append((words(SETTINGS[name]), bars))
    (folder / "results.svg").write_text(chart(groups), encoding="utf-8")
