"""Makes the Python environment of the peers, which is used by bench/compare.

A copy of requirements.txt is written into the environment last. Without it, an interrupted
installation is assumed, and the environment is made again.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "bench/peers/requirements.txt"
FOLDER = ROOT / "build/peers/venv"


def say(text):
    print(text, file=sys.stderr, flush=True)


def succeeds(command):
    try:
        return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0
    except OSError:
        return False


def packages(text):
    """The lines of a requirements file that name packages."""
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def ready_python(folder=FOLDER, requirements=REQUIREMENTS, run=succeeds):
    """(the interpreter of the environment, None), which is made if needed, or (None, the reason) if it
    cannot be made. Packages that cannot be installed are reported; peers that need them are left out."""
    python, stamp = folder / "bin/python", folder / "requirements.txt"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return python, None
    say(f"making {folder} from {requirements}")
    if not run([sys.executable, "-m", "venv", "--clear", folder]):
        return None, f"`{sys.executable} -m venv {folder}` failed: no environment for the peers"
    install = [python, "-m", "pip", "install", "-q"]
    if run([*install, "-r", requirements]):
        stamp.write_text(wanted)
        return python, None
    for package in packages(wanted):
        if not run([*install, package]):
            say(f"{package} cannot be installed: peers that need it are left out")
    return python, None
