"""What an installation brings."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE_MAX = 20  # distributions; each one is somebody else's release that must be trusted


def core_distributions() -> set[str]:
    """llmgate and all that it needs, without extras, as installed here."""
    found: set[str] = set()
    left = ["llmgate"]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in requires(name) or []:
            condition = requirement.partition(";")[2]
            needed = re.match(r"[A-Za-z0-9._-]+", requirement)
            if needed and "extra ==" not in condition and not elsewhere(condition):
                left.append(re.sub(r"[-_.]+", "-", needed[0]).lower())
    return found


def elsewhere(condition: str) -> bool:
    """Whether a requirement is for another Python or system than this one."""
    old = re.search(r'python_version\s*<\s*"(\d+)\.(\d+)"', condition)
    if old and sys.version_info >= (int(old[1]), int(old[2])):
        return True
    return "win32" in condition or "Windows" in condition or "emscripten" in condition


def test_the_core_is_small() -> None:
    """
    A core install brings at most twenty distributions, llmgate among them.
    """
    try:
        found = core_distributions()
    except PackageNotFoundError as error:
        pytest.skip(f"not installed here: {error}")

    assert len(found) <= CORE_MAX, sorted(found)


def test_no_optional_library_is_needed() -> None:
    """
    Without aiohttp the default engine works, and asking for the other one names the extra.
    """
    code = """
import sys
sys.modules["aiohttp"] = None
from llmgate import ConfigError, Gateway
config = {"providers": {"local": {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}}}
Gateway(config).close()
try:
    Gateway(config | {"http": {"engine": "aiohttp"}})
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert "llmgate[fast]" in done.stdout, done.stderr


def test_the_type_marker_is_shipped() -> None:
    """
    Type checkers find the types of an installed llmgate.
    """
    assert (ROOT / "llmgate" / "py.typed").is_file()
