"""What importing llmgate costs: time and memory over a bare Python."""

from __future__ import annotations

import statistics
import subprocess
import sys

__all__ = ["footprint"]

CODE = """
import time
def rss():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1024
start, before = time.perf_counter(), rss()
import llmgate
{more}
print((time.perf_counter() - start) * 1e3, rss() - before)
"""


def _of(more: str) -> tuple[float, float]:
    runs = []
    for _ in range(5):
        code = CODE.format(more=more)
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        runs.append((float(out[0]), float(out[1])))
    return statistics.median(ms for ms, _ in runs), statistics.median(mb for _, mb in runs)


def footprint() -> str:
    rows = {"import llmgate": "", "import llmgate; llmgate.Gateway": "llmgate.Gateway"}
    lines = [f"{'footprint':44}{'ms':>10}{'MB':>10}"]
    for name, more in rows.items():
        ms, mb = _of(more)
        lines.append(f"  {name:42}{ms:10.1f}{mb:10.1f}")
    return "\n".join(lines)
