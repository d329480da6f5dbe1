"""The steps of gpu-check, with the seconds planned for each.

The most important steps come first, so that the steps without time left are at the end.
"""

from dataclasses import dataclass, field

LIMIT = 480  # seconds of a call
RESERVE = 15  # seconds of these, for writing the results at the end

TREES = "tree_lstm"
# Tests for the sanitizer: a training step, with launches and with a walk.
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
        """Two settings for which this is equal share their kernels."""
        return self.model, self.hidden, self.embed, self.step


# The ways to run a setting, with the flags of `espalier bench step`.
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
ROUNDED = ("tf32", "bf16")  # ways with rounded factors in contractions

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
# For a dry run: most ways and peers once, at small sizes.
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
    needed: bool = False  # whether the call fails if this step fails or does not run
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
    """First all settings with default options, then the peers, then the other ways."""
    steps = [Step("info", 10), Step("nvidia-smi", 5), Step("device", 10, needed=True),
             Step("compile", 50)]
    ours, peers, others = [], [], []
    seen = set()  # (kernels, kind of contractions) of earlier steps: these are compiled
    for setting in settings:
        for way in ("auto", *setting.ways):
            by = "bf16" if way == "bf16" else "cublas" if way in ("cublas", "tf32") else "auto"
            key = (*setting.kernels(), by)
            # The first step of its kind also compiles and runs trials of contractions.
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
    """(the plan as text, whether it fits into the time of a call)"""
    steps = of_call(call, dry)
    total = sum(step.seconds for step in steps)
    lines = [f"{step.seconds:6.0f} s  {step.name}" for step in steps]
    lines.append(f"{total:6.0f} s  in total, of {LIMIT - RESERVE} s")
    return "\n".join(lines), total <= LIMIT - RESERVE
