"""The report of gpu-check as Markdown: results, and the performance aimed for."""

from gpu_check_plan import ROUNDED

SST_TREES = 8544


def milliseconds(result):
    return result["step_seconds"]["median"] * 1e3


def aims(bench):
    """A dict for each aim: what, aim, measured (None if not measured), reached (None likewise)."""

    def found(setting, program="auto"):
        return bench.get(setting, {}).get(program)

    train, large = "train 150/300, batch 25", "train 150/300, batch 256"
    ours = found(train)

    def over(setting, program):
        mine, theirs = found(setting), found(setting, program)
        return mine and theirs and mine["examples_per_second"] / theirs["examples_per_second"]

    def inference(size):
        result = found(f"infer {size}/{size}, batch 10")
        return result and milliseconds(result)

    epoch = found(large)
    walked = found(train, "walk")
    rows = [
        ("training 150/300, batch 25: speedup over pytorch-level", "≥", 10,
         over(train, "pytorch-level")),
        ("training 150/300, batch 25: speedup over pytorch-graphs", "≥", 3,
         over(train, "pytorch-graphs")),
        ("training 150/300, batch 25: speedup over pytorch-node", "≥", 100,
         over(train, "pytorch-node")),
        ("training 150/300, batch 256: seconds for 8,544 trees", "<", 0.5,
         epoch and SST_TREES / epoch["examples_per_second"]),
        ("inference 256/256, batch 10: ms per step", "<", 0.5, inference(256)),
        ("inference 512/512, batch 10: ms per step", "<", 1, inference(512)),
        ("training 150/300, batch 25: launches of a walked step", "≤", 4,
         walked and walked["device_launches"]),
        ("training 150/300, batch 25: compilations after the warm-up", "≤", 0,
         ours and ours["compilations_after_warmup"]),
    ]
    reached = {"≥": lambda a, b: a >= b, "<": lambda a, b: a < b, "≤": lambda a, b: a <= b}
    return [
        {"what": what, "aim": f"{sign} {aim}", "measured": value,
         "reached": None if value is None else reached[sign](value, aim)}
        for what, sign, aim, value in rows
    ]


def row(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(*heads):
    return ["", row(heads), row(["---"] * len(heads))]


def number(value, digits=3):
    return "" if value is None else f"{value:.{digits}g}"


def device_lines(device):
    peak = device["peak_flops_per_second"]
    rates = ", ".join(f"{name} {number(value and value * 1e-12)}" for name, value in peak.items())
    lines = ["", f"Peak, TFLOP/s of a large contraction: {rates}. Copies, bytes read and written: "
             f"{number(device['copy_bytes_per_second'] * 1e-9)} GB/s."]
    if device["costs"]:
        costs = ", ".join(f"{name} {number(value)}" for name, value in device["costs"].items())
        lines += ["", f"Costs, s: {costs}."]
    return lines


def of_peak(result, way, device):
    peak = (device or {}).get("peak_flops_per_second", {})
    peak = peak.get(way if way in ROUNDED else "single")
    rate = result.get("model_flops_per_second")
    return number(rate / peak) if rate and peak else ""


def bench_lines(report):
    lines = table("setting", "program", "examples/s", "ms per step", "of peak", "launches",
                  "replays", "walks", "barriers", "cuBLAS calls", "host µs", "wait µs", "losses")
    warnings = []
    for setting, programs in report["bench"].items():
        for program, result in programs.items():
            counts = [number(result.get(name), 4) for name in
                      ("device_launches", "device_replays", "device_walks", "grid_barriers",
                       "device_contractions")]
            wait = result["seconds"].get("wait")
            host = None if wait is None else result["step_seconds"]["median"] - wait
            micro = ["" if value is None else f"{value * 1e6:.0f}" for value in (host, wait)]
            lines.append(row([setting, program, f"{result['examples_per_second']:.0f}",
                              f"{milliseconds(result):.3f}",
                              of_peak(result, program, report.get("device")), *counts, *micro,
                              "same" if result["same_losses"] else "DIFFERENT"]))
            warnings += [f"* {setting}, {program}: {text}" for text in result.get("warnings", ())]
    return [*lines, *(["", "Warnings:", "", *warnings] if warnings else [])]


def tests_lines(tests):
    lines = ["", f"{tests['passed']} passed, {tests['skipped']} skipped, "
             f"{len(tests['failed'])} failed, {len(tests['unfinished'])} unfinished of "
             f"{tests['listed']} tests."]
    for what in ("failed", "unfinished"):
        lines += [f"* {what}: {name}" for name in tests[what]]
    return lines


def markdown(report):
    lines = [f"# gpu-check {report['call']}: Espalier {report['version']} on "
             f"{report['gpu'] or 'no GPU'}", "",
             f"{report['seconds']:.0f} s of {report['limit']:.0f}."]
    if report["dry_run"] or not report["gpu"]:
        lines += ["", "**Not measured on a GPU: a dry run at small sizes. The figures have no "
                  "meaning.**"]
    if "tests" in report:
        lines += tests_lines(report["tests"])
    if report.get("device"):
        lines += device_lines(report["device"])
    if report.get("aims"):
        lines += table("aim", "", "measured", "reached")
        for aim in report["aims"]:
            value = "not measured" if aim["measured"] is None else number(aim["measured"])
            reached = {None: "", True: "yes", False: "no"}[aim["reached"]]
            lines.append(row([aim["what"], aim["aim"], value, reached]))
    if report.get("bench"):
        lines += ["", "Medians over whole steps, minibatches in shuffled order; replays are means."]
        lines += bench_lines(report)
    lines += table("step", "result", "seconds")
    for step in report["steps"]:
        lines.append(row([step["name"], step["state"].replace("|", "/"), step["seconds"]]))
    return "\n".join(lines) + "\n"
