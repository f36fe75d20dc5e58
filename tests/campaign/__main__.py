"""``python -m campaign``: run parts one after the other, each in a process of its own, and show what they found."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from campaign import faults, worker
from campaign.state import MOST_FINDINGS, State

ROOT = Path(__file__).parents[2]
#: The parts, and each one's share of the time.
PARTS = {
    "differential": 6,
    "files": 4,
    "kills": 2,
    "faults": 4,
    "concurrency": 2,
    "growth": 2,
    "sanitize": 3,
}
#: The last words of a process that ended on its own: a sanitizer's report, or where each thread stood.
LAST_WORDS = 3000
#: A case that takes longer has stopped for ever.
PATIENCE = 180.0
SANITIZED = ROOT / "build" / "sanitize" / "site"


def environment(part: str) -> dict[str, str]:
    """Return the environment of a part's process: under sanitizers the extension and the runtime that it needs."""
    found = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    if part == "sanitize" and SANITIZED.is_dir():
        runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        found |= {
            "PYTHONSAFEPATH": "1",
            "PYTHONPATH": os.pathsep.join([str(SANITIZED), str(ROOT / "tests")]),
            "LD_PRELOAD": runtime.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
    if part == "faults" and faults.built():
        found["LD_PRELOAD"] = str(faults.SHIM)
    return found


def position(path: Path) -> int:
    """Return the number of the case that a process was in last."""
    return int.from_bytes(path.read_bytes()[:8], "little") if path.exists() else -1


def watched(command: list[str], part: str, folder: Path) -> str:
    """Run a part's process to its end; return what went wrong, or nothing."""
    log, at = folder / f"{part}.log", folder / f"{part}.at"
    at.unlink(missing_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment(part), cwd=folder)
        last, since = -1, time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            if (now := position(at)) != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                process.send_signal(signal.SIGABRT)  # every thread's place goes to the log
                time.sleep(1)
                process.kill()
                process.wait()
                return f"no end after {PATIENCE:.0f} s: {log.read_text(errors='replace')[-LAST_WORDS:]}"
    if process.returncode == 0:
        return ""
    return f"ended with status {process.returncode}: {log.read_text(errors='replace')[-LAST_WORDS:]}"


def campaign(part: str, seed: int, seconds: float, folder: Path) -> State:
    """Run a part for a while, in a new process where one ended before its time."""
    end, again = time.monotonic() + seconds, True
    while True:
        left = end - time.monotonic()
        command = [sys.executable, "-m", "campaign", part, "--worker", *(["--again"] if again else [])]
        command += ["--seed", str(seed), "--minutes", str(max(left, 0) / 60), "--out", str(folder)]
        problem = watched(command, part, folder)
        state, again = State.read(folder, part, seed), False
        if not problem:
            return state
        number = max(position(folder / f"{part}.at"), 0)
        state.add(number, problem)
        state.cases = max(state.cases, number + 1)
        state.write(folder)
        if time.monotonic() >= end or len(state.findings) >= MOST_FINDINGS or not (folder / f"{part}.at").exists():
            return state


def report(states: list[State]) -> None:
    """Print what was done, then what was found."""
    print(f"{'part':<14}{'cases':>10}{'calls':>12}{'seconds':>9}{'findings':>10}")
    for each in states:
        if each.skipped:
            print(f"{each.part:<14}skipped: {each.skipped}")
        else:
            print(f"{each.part:<14}{each.cases:>10}{each.calls:>12}{each.seconds:>9.0f}{len(each.findings):>10}")
    for each in states:
        for number, text in sorted(each.findings.items()):
            again = f"PYTHONPATH=tests .venv/bin/python -m campaign {each.part} --seed {each.seed} --case {number}"
            print(f"\n{each.part}, case {number} (again: {again})\n  {text}")


def main() -> int:
    """Run what was asked for; return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m campaign", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--minutes", type=float, default=3.0, help="for all parts together")
    parser.add_argument("--hours", type=float, default=0.0, help="instead of minutes")
    parser.add_argument("--seed", type=int, default=1, help="another seed has other cases, and begins anew")
    parser.add_argument("--case", type=int, help="run this case of a part alone, in this process")
    parser.add_argument(
        "--every", action="store_true", help="with the part faults: each allocation and write in turn, not random ones"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "campaign", help="where state and findings are kept")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    parts = arguments.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"parts must be some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    folder = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    seconds = 60 * (60 * arguments.hours or arguments.minutes)
    if arguments.worker:
        worker.work(parts[0], arguments.seed, seconds, folder, arguments.again)
        return 0
    if arguments.every and parts != ["faults"]:
        parser.error(f"--every must be given with the part faults alone, got {', '.join(parts)}")
    if arguments.case is not None or arguments.every:
        if "LD_PRELOAD" not in os.environ and "LD_PRELOAD" in environment(parts[0]):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment(parts[0]))
        if arguments.every:
            faults.sweep()
            return 0
        run = worker.prepared(parts[0])
        print(run(worker.generator(parts[0], arguments.seed, arguments.case)), "calls, nothing found")
        return 0
    print(f"seed {arguments.seed}, {seconds / 60:g} minutes, state in {folder}", flush=True)
    shares = sum(PARTS[part] for part in parts)
    states = []
    for part in parts:
        print(f"{part}...", flush=True)
        states.append(campaign(part, arguments.seed, seconds * PARTS[part] / shares, folder))
    report(states)
    return int(any(state.findings for state in states))


if __name__ == "__main__":
    sys.exit(main())
