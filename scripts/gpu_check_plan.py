"""What gpu-check does, step by step, with the seconds that each step is given.

Steps come in the order of their weight: what does not fit any more is at the end.
"""

from dataclasses import dataclass, field

LIMIT = 480  # seconds of a call
RESERVE = 15  # of these, for the results at the end

TREES = "tree_lstm"
# One by one, for the sanitizer: a training step, launched and walked.
SANITIZED = {way: f"Ways/TrainingSteps.AreThoseOfTheCpu/{way}" for way in ("launched", "walked")}


@dataclass(frozen=True)
class Setting:
    model: str
    hidden: int
    embed: int
    batch: int
    step: str = "train"
    ways: tuple = ()
    peers: tuple = ()

    def name(self):
        what = "train" if self.step == "train" else "infer"
        model = "" if self.model == TREES else f"{self.model} "
        return f"{model}{what} {self.hidden}/{self.embed}, batch {self.batch}"

    def kernels(self):
        """Settings with the same ones compile nothing twice."""
        return self.model, self.hidden, self.embed, self.step


# Flags of `espalier bench step`.
WAYS = {
    "auto": (),
    "no walk": ("--persistent", "off"),
    "walk": ("--persistent", "on"),
    "launches": ("--cuda-graphs", "off", "--persistent", "off"),
    "tile": ("--contractions", "tile"),
    "cublas": ("--contractions", "cublas"),
    "tf32": ("--precision", "tf32"),
    "bf16": ("--precision", "bf16"),
}
ROUNDED = ("tf32", "bf16")  # factors of products, so losses differ by that

SETTINGS = (
    Setting(TREES, 150, 300, 25, ways=("no walk", "walk", "launches", "tile", "cublas", "bf16"),
            peers=("pytorch-level", "pytorch-graphs", "pytorch-node")),
    Setting(TREES, 150, 300, 256, ways=("no walk", "cublas", "bf16"),
            peers=("pytorch-level", "pytorch-graphs")),
    Setting(TREES, 512, 512, 64, ways=("no walk", "walk", "cublas", "tf32", "bf16"),
            peers=("pytorch-level",)),
    Setting(TREES, 512, 512, 256, ways=("no walk", "cublas", "bf16"), peers=("pytorch-level",)),
    Setting(TREES, 64, 64, 25, ways=("no walk", "walk"), peers=("pytorch-level",)),
    Setting(TREES, 150, 300, 1, "forward", ("no walk", "walk"), ("pytorch-level",)),
    Setting(TREES, 150, 300, 10, "forward", ("no walk", "walk")),
    Setting(TREES, 150, 300, 256, "forward", ("no walk",)),
    Setting(TREES, 256, 256, 10, "forward"),
    Setting(TREES, 512, 512, 10, "forward"),
    Setting("lstm", 256, 256, 64, ways=("no walk", "walk"), peers=("pytorch-lstm",)),
)
# Of a dry run: each way and peer once, at sizes that measure nothing.
DRY_SETTINGS = (
    Setting(TREES, 8, 8, 2, ways=("walk",), peers=("pytorch-level",)),
    Setting(TREES, 8, 8, 2, "forward", ways=tuple(WAYS)[1:], peers=("pytorch-node",)),
    Setting("lstm", 8, 8, 2, "forward", peers=("pytorch-lstm",)),
)
PEER_SECONDS = {"pytorch-level": 9, "pytorch-graphs": 14, "pytorch-node": 12, "pytorch-lstm": 9}


@dataclass
class Step:
    name: str
    seconds: float
    needed: bool = False  # whether the check fails where this does not go through
    setting: Setting | None = None
    way: str = ""
    peer: str = ""
    begun: bool = field(default=False, compare=False)


def tests_plan(settings):
    return [
        Step("info", 10),
        Step("nvidia-smi", 5),
        Step("list of tests", 10, needed=True),
        Step("tests", 280, needed=True),
        Step("sanitizer", 140, needed=True),
    ]


def bench_plan(settings):
    """First all settings as they are used, then peers, then other ways."""
    steps = [Step("info", 10), Step("nvidia-smi", 5), Step("device", 10, needed=True),
             Step("compile", 50)]
    ours, peers, others = [], [], []
    seen = set()  # of what is compiled, by kernels and how products are done
    for setting in settings:
        for way in ("auto", *setting.ways):
            by = "bf16" if way == "bf16" else "cublas" if way in ("cublas", "tf32") else "auto"
            key = (*setting.kernels(), by)
            # What is met first tries and compiles products.
            seconds = 5 if key in seen else 11 if setting.step == "train" else 6
            seen.add(key)
            step = Step(f"{setting.name()}: {way}", seconds, way == "auto", setting, way)
            (ours if way == "auto" else others).append(step)
        for peer in setting.peers:
            peers.append(Step(f"{setting.name()}: {peer}", PEER_SECONDS[peer], False, setting,
                              peer=peer))
    return [*steps, *ours, *peers, *others]


PLANS = {"tests": tests_plan, "bench": bench_plan}


def of_call(call, dry):
    return PLANS[call](DRY_SETTINGS if dry else SETTINGS)


def text(call, dry):
    """The plan for people, and whether it fits."""
    steps = of_call(call, dry)
    total = sum(step.seconds for step in steps)
    lines = [f"{step.seconds:6.0f} s  {step.name}" for step in steps]
    lines.append(f"{total:6.0f} s  of {LIMIT - RESERVE}")
    return "\n".join(lines), total <= LIMIT - RESERVE
