"""Runs the steps of a plan within the time of a call, and writes the results after each step.

Each step runs under `timeout`. It gets its planned time and the time that earlier steps did not use.
A step for which less than its planned time is left does not run, and the report says so.
"""

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import gpu_check_plan as plan

MOST_BYTES = 15 << 20  # of the archive; larger ones leave out the kernels


class Steps:
    def __init__(self, call, folder, limit, dry=False, cache=None):
        self.call, self.folder = call, folder
        self.begin = time.monotonic()
        scale = limit / plan.LIMIT  # a longer limit gives every step of a slow machine more time
        self.deadline = self.begin + limit - plan.RESERVE * scale
        self.steps = plan.of_call(call, dry)
        for step in self.steps:
            step.seconds *= scale
        self.work = Path(tempfile.mkdtemp(prefix="gpu-check-"))
        self.cache = cache or self.work / "cache"
        self.logs = self.work / "logs"
        self.logs.mkdir()
        self.report = {"call": call, "limit": limit, "steps": []}
        self.lock = threading.Lock()
        self.running = set()
        self.stopped = False

    def given(self, step):
        """The seconds that the step may take; None if fewer than planned are left."""
        step.begun = True
        left = self.deadline - time.monotonic()
        planned = step.seconds + sum(s.seconds for s in self.steps if not s.begun)
        seconds = min(left, step.seconds + max(0, left - planned))
        if seconds >= step.seconds:
            return seconds
        self.add(step.name, f"not run: no time was left ({step.seconds:.0f} s planned)", 0)
        return None

    def add(self, name, state, seconds, **more):
        entry = {"name": name, "state": state, "seconds": round(seconds, 2), **more}
        with self.lock:
            self.report["steps"].append(entry)
        print(f"{name}: {state} ({seconds:.1f} s)", flush=True)
        return entry

    def run(self, name, command, seconds, environment, log=None):
        """(the entry of the report, the output)"""
        log = log or re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".log"
        began = time.monotonic()
        command = ["timeout", "--kill-after=5", f"{max(seconds, 0.1):.1f}", *map(str, command)]
        with open(self.logs / log, "wb") as output:
            with self.lock:
                if self.stopped:
                    return {"state": "not run: stopped"}, ""
                process = subprocess.Popen(command, env=environment, cwd=self.work, stdout=output,
                                           stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
                self.running.add(process)
            status = process.wait()
            self.running.discard(process)
        text = (self.logs / log).read_text(encoding="utf-8", errors="replace")
        last = text.strip().rpartition("\n")[2][:300]
        states = {0: "ok", 124: f"took longer than {seconds:.0f} s",
                  126: f"not run: {last}", 127: f"not run: {last}"}
        states[137] = states[-9] = states[124]
        state = states.get(status) or f"failed with {status}: {last}"
        return self.add(name, state, time.monotonic() - began, given=round(seconds, 1),
                        log=log), text

    def stop(self):
        """Ends the running steps; no step begins after this."""
        self.stopped = True  # without the lock: the code that a signal interrupts may hold it
        for process in list(self.running):
            process.terminate()

    def write(self, markdown, last=False):
        """Replaces the JSON file, the table and the archive atomically. Only the last archive has
        the kernels."""
        self.report["seconds"] = round(time.monotonic() - self.begin, 1)
        kept = self.cache.parent != self.work
        self.report["kernel_cache"] = str(self.cache) if kept else self.archive(kernels=last)
        if kept:
            self.archive(kernels=False)
        text = json.dumps(self.report, indent=1) + "\n"
        self.replace(f"{self.call}.json", text.encode())
        self.replace(f"{self.call}.md", markdown(self.report).encode())

    def archive(self, kernels):
        bytes_of = io.BytesIO()
        with tarfile.open(fileobj=bytes_of, mode="w:gz", compresslevel=6) as archive:
            archive.add(self.logs, "logs")
            if kernels and self.cache.is_dir():
                archive.add(self.cache, "cache")
        if kernels and bytes_of.tell() > MOST_BYTES:
            self.archive(kernels=False)
            return f"left out: {bytes_of.tell() >> 20} MiB with it"
        self.replace(f"{self.call}.tar.gz", bytes_of.getvalue())
        return "archived" if kernels else "not yet"

    def replace(self, name, content):
        part = self.folder / f".{name}.part"
        part.write_bytes(content)
        os.replace(part, self.folder / name)

    def close(self):
        shutil.rmtree(self.work, ignore_errors=True)
