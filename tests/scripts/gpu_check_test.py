"""scripts/gpu-check with programs that only pretend: time, cuts, results and exits.

    python3 tests/scripts/gpu_check_test.py [TestCase]
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/gpu-check"

# Both write down that they ran. $HANGS holds words of the command lines that never end.
ESPALIER = """#!/bin/sh
echo "espalier $*" >> "$CALLED"
for word in $HANGS; do
  case " $* " in *" $word "*) sleep ${HANG:-1000} & wait ;; esac
done
for last; do :; done
case "$1 $2" in
  "info ") echo espalier ;;
  "bench device") cat "$DEVICE" > "$last" ;;
  "bench step")
    case " $* " in *" ${FAILS:-none} "*) echo it broke; exit 1 ;; esac
    case " $* " in *" ${DIFFERS:-none} "*) loss=2 ;; *) loss=1 ;; esac
    sed "s/LOSS/$loss/g" "$STEP" > "$last" ;;
esac
"""
CUDA_TESTS = """#!/bin/sh
case "$*" in *--gtest_list_tests*) printf 'A.\\n  one\\n  two  # GetParam() = 2\\n  three\\n'; exit ;; esac
[ "${GTEST_SHARD_INDEX:-0}" = 0 ] || exit 0
cat "$TESTED"
"""
DEVICE = {"gpu": "pretended", "copy_bytes_per_second": 1e12, "costs": {"launch": 1e-6},
          "peak_flops_per_second": {"single": 1e12, "tf32": 2e12, "bf16": None}}
STEP = {"examples_per_second": 10, "step_seconds": {"median": 1e-3}, "first_losses": ["LOSS"] * 3,
        "seconds": {"wait": 1e-4}, "device_launches": 1, "device_replays": 0.5, "device_walks": 1,
        "grid_barriers": 9, "device_contractions": 0, "compilations_after_warmup": 0,
        "model_flops_per_second": 1e11, "warnings": ["a warning"]}
PASSED = "[ RUN      ] A.one\n[       OK ] A.one (1 ms)\n"
SKIPPED = "[ RUN      ] A.two\nwhy\n[  SKIPPED ] A.two (0 ms)\n"
FAILED = "[ RUN      ] A.three\n[  FAILED  ] A.three, where GetParam() = 3 (2 ms)\n"


class GpuCheck(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.results = self.folder / "results"
        self.environment = {**os.environ, "TMPDIR": temporary.name}
        step = json.dumps(STEP).replace('"LOSS"', "LOSS")
        for name, text in {"espalier": ESPALIER, "cuda_tests": CUDA_TESTS, "device": json.dumps(DEVICE),
                           "step": step, "tested": PASSED + SKIPPED, "called": ""}.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        for variable in ("device", "step", "tested", "called"):
            self.environment[variable.upper()] = str(self.folder / variable)

    def command(self, call, *more):
        return [sys.executable, SCRIPT, call, self.results, "--programs", self.folder, "--dry-run",
                "--sst", self.folder / "none", "--ud", self.folder / "none", *map(str, more)]

    def run_check(self, call, *more, **variables):
        done = subprocess.run(self.command(call, *more), env={**self.environment, **variables},
                              capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.returncode

    def report(self, call):
        files = {f"{call}.{kind}" for kind in ("json", "md", "tar.gz")}
        self.assertEqual({path.name for path in self.results.iterdir()}, files)
        self.assertEqual((self.results / f"{call}.tar.gz").read_bytes()[:2], b"\x1f\x8b")
        with tarfile.open(self.results / f"{call}.tar.gz") as archive:
            self.logs = archive.getnames()
        self.table = (self.results / f"{call}.md").read_text()
        return json.loads((self.results / f"{call}.json").read_text())

    def states(self, report):
        return {step["name"]: step["state"] for step in report["steps"]}

    def test_plans_fit(self):
        for call in ("tests", "bench"):
            for more in ([], ["--dry-run"]):
                done = subprocess.run([sys.executable, SCRIPT, call, "--plan", *more],
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout)
        for setting in ("train 150/300, batch 25", "train 150/300, batch 256", "train 512/512, batch 64",
                        "train 512/512, batch 256", "train 64/64, batch 25", "infer 150/300, batch 1",
                        "infer 150/300, batch 10", "infer 150/300, batch 256",
                        "lstm train 256/256, batch 64"):
            plan = subprocess.run([sys.executable, SCRIPT, "bench", "--plan"], capture_output=True,
                                  text=True).stdout
            self.assertIn(f"  {setting}: auto\n", plan)
            self.assertIn(f"  {setting}: no walk\n", plan)

    def test_bench_leaves_three_files(self):
        self.assertEqual(self.run_check("bench"), 0)
        report = self.report("bench")
        self.assertEqual(report["device"], DEVICE)
        programs = report["bench"]["infer 8/8, batch 2"]
        self.assertEqual(set(programs), {"auto", "no walk", "walk", "launches", "tile", "cublas",
                                         "tf32", "bf16"})
        for result in programs.values():
            self.assertTrue(result["same_losses"])
            self.assertEqual(result["device_replays"], 0.5)
        self.assertIn("logs/device.log", self.logs)
        self.assertIn("The figures have no meaning", self.table)
        self.assertIn("a warning", self.table)
        self.assertIn("| 0.05 |", self.table)  # of the peak in TF32
        called = (self.folder / "called").read_text().split("\n")
        steps = [line for line in called if line.startswith("espalier bench step")]
        self.assertGreater(len(steps), 10)
        self.assertTrue(all("--shuffle" in line for line in steps))
        self.assertLess(called.index(next(line for line in called if "bench device" in line)),
                        called.index(steps[0]))

    def test_time_is_kept(self):
        begun = time.monotonic()
        self.assertEqual(self.run_check("bench", "--limit", 6, HANGS="step"), 1)
        self.assertLess(time.monotonic() - begun, 20)  # of a loaded machine
        states = self.states(self.report("bench"))
        self.assertRegex(states["train 8/8, batch 2: auto"], "took longer|no time was left")
        self.assertIn("took longer", " ".join(states.values()))
        self.assertIn("| took longer", self.table)

    def test_what_does_not_fit_is_said(self):
        self.assertEqual(self.run_check("bench", "--limit", 0.01), 1)
        states = self.states(self.report("bench"))
        self.assertIn("no time was left", states["lstm infer 8/8, batch 2: auto"])
        self.assertIn("infer 8/8, batch 2: bf16", states)

    def test_a_cut_leaves_what_there_is(self):
        process = subprocess.Popen(self.command("bench"), stdout=subprocess.DEVNULL,
                                   env={**self.environment, "HANGS": "bf16"})
        while "bf16" not in (self.folder / "called").read_text():
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=60), 128 + signal.SIGTERM)
        report = self.report("bench")
        self.assertIn("tf32", report["bench"]["infer 8/8, batch 2"])
        self.assertNotIn("bf16", report["bench"]["infer 8/8, batch 2"])
        self.assertEqual([path.name for path in self.folder.glob("gpu-check-*")], [])

    def test_a_kill_leaves_what_there_is(self):
        process = subprocess.Popen(self.command("bench"), stdout=subprocess.DEVNULL,
                                   env={**self.environment, "HANGS": "bf16", "HANG": "20"})
        while "bf16" not in (self.folder / "called").read_text():
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        process.kill()  # what hangs ends by itself
        process.wait()
        self.assertIn("tf32", self.report("bench")["bench"]["infer 8/8, batch 2"])

    def test_programs_that_fail_or_differ_fail_the_check(self):
        self.assertEqual(self.run_check("bench", FAILS="tf32"), 1)
        states = self.states(self.report("bench"))
        self.assertEqual(states["infer 8/8, batch 2: tf32"], "failed with 1: it broke")
        self.assertEqual(states["infer 8/8, batch 2: bf16"], "ok")
        self.assertEqual(self.run_check("bench", DIFFERS="tf32"), 1)
        result = self.report("bench")["bench"]["infer 8/8, batch 2"]["tf32"]
        self.assertFalse(result["same_losses"])
        self.assertIn("DIFFERENT", self.table)

    def test_tests_are_counted(self):
        self.assertEqual(self.run_check("tests"), 0)
        tests = self.report("tests")["tests"]
        self.assertEqual((tests["listed"], tests["passed"], tests["skipped"]), (3, 1, 1))
        states = self.states(self.report("tests"))
        for tool in ("memcheck", "racecheck"):
            for way in ("launched", "walked"):
                self.assertEqual(states[f"{tool}, {way}"], "ok")
        for text, what in ((FAILED, "failed"), ("[ RUN      ] A.three\n", "unfinished")):
            (self.folder / "tested").write_text(PASSED + text)
            self.assertEqual(self.run_check("tests"), 1)
            self.assertEqual(self.report("tests")["tests"][what], ["A.three"])
            self.assertIn(f"* {what}: A.three", self.table)
        (self.folder / "tested").write_text(SKIPPED)
        self.assertEqual(self.run_check("tests"), 1)


if __name__ == "__main__":
    unittest.main()
