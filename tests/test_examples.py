"""The examples run without a key, and print what they are there to show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

KEY_LINES = {
    "async_many": "100 answers, the last: You said: Question 99",
    "capture": "3 calls, 3 upstream attempts",
    "custom_middleware": "refused: the prompt is longer than 100 bytes",
    "decorator": "life: 42 (it still ran 3 times: the cache knew)",
    "dict_config": 'retry.max_atempts: unknown option; did you mean "max_attempts"?',
    "drop_in": "You said: Hello! (steady/small, after 2 attempts)",
    "errors": "AllAttemptsFailed (rate_limited, 429, worth another try in 90 s)",
    "media": "ranking: 'The red fox lives in the forest.', cached: memory",
    "quickstart": "cached: memory, attempts: nobody was asked",
    "routing": "by_weight  {'eu/small': 9, 'us/small': 3}",
    "server": "as Anthropic: You said: Hello!",
    "simulate": "with a fallback: 99.9% of 4448 calls succeeded, for $8.26",
    "streaming": "broken: stream_interrupted after 'Air scatters '",
    "testing_with_llmgate": "passed: test_a_retry_waits_as_long_as_it_is_asked_to",
    "wrap_library": "a 400 is not tried again, and comes out as it is: SDKError('HTTP 400')",
    "yaml_config": "pretend/small says: You said: Hello!",
}


def test_every_example_is_run() -> None:
    """
    No example is forgotten here.
    """
    assert sorted(KEY_LINES) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", KEY_LINES)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    """
    It ends well, warns of nothing, needs no key and no particular directory, and prints what it is there to show.
    """
    environ = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    environ["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        capture_output=True, text=True, check=False, timeout=30, cwd=tmp_path, env=environ,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)
    assert KEY_LINES[name] in done.stdout
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", KEY_LINES)
def test_an_example_is_short_and_says_what_it_shows(name: str) -> None:
    """
    One idea a file: a docstring first, and not more than fits on a screen.
    """
    text = (EXAMPLES / f"{name}.py").read_text()

    assert text.startswith('"""')
    assert text.count("\n") <= 45
