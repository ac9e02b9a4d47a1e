"""`python -m llmgate`: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmgate import __version__
from llmgate.surfaces.cli import main

GOOD = """
providers:
  pretend: {kind: simulated}
routes:
  fast: [pretend/a, pretend/b]
prices:
  pretend/*: {input: 1, output: 2}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "llmgate.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_configuration(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    check prints the worst case of each route and ends with 0.
    """
    assert 0 == main(["check", str(file)])
    assert (
        "the worst case of one call (a prompt of 1000 tokens and an answer of 1024):\n"
        "  fast: 6 attempts, 2m (10m as a stream), $0.018288\n"
        "0 errors, 0 warnings\n",
        "",
    ) == capsys.readouterr()


def test_findings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Warnings are printed and end with 0; errors end with 1.
    """
    file.write_text(GOOD.replace("pretend/b]", "pretend/a]"))
    assert 0 == main(["check", str(file), "--tokens", "10"])
    out = capsys.readouterr().out
    assert out.startswith("warning: routes.fast.deployments[1]: pretend/a can never be reached")
    assert "a prompt of 10 tokens" in out and out.endswith("0 errors, 1 warning\n")

    file.write_text("providers: {groq: {}}\nroutes: {fast: [groq/a]}\n")
    assert 1 == main(["check", str(file)])
    assert "error: providers.groq: no key; set GROQ_API_KEY" in capsys.readouterr().out


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    --json prints the same for programs.
    """
    assert 0 == main(["check", "--json", str(file)])
    assert {
        "findings": [],
        "worst": {
            "fast": {"attempts": 6, "seconds": 120.0, "stream_seconds": 600.0, "dollars": "0.018288", "unpriced": []}
        },
        "tokens": 1000,
    } == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", ["check", "explain"])
def test_a_wrong_configuration(file: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A configuration that cannot be used is an error with its path and the right spelling, and ends with 1.
    """
    file.write_text(GOOD + "retry: {max_atempts: 3}\n")

    assert 1 == main([command, str(file)])
    out, err = capsys.readouterr()
    assert "" == out
    assert 'error: retry.max_atempts: unknown option; did you mean "max_attempts"?\n' == err

    file.write_text("providers: [}")
    assert 1 == main([command, str(file)])
    assert "line 1" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "explain"])
def test_a_file_that_is_not_there(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A file that cannot be found is a wrong command: 2, and the message names the file.
    """
    assert 2 == main([command, str(tmp_path / "missing.yaml")])
    assert "missing.yaml cannot be read: No such file" in capsys.readouterr().err
    assert 2 == main([command, str(tmp_path)])


def test_explain(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    explain prints the steps of every route, or of one, or of provider/model.
    """
    file.write_text(GOOD.replace("routes:", "routes:\n  slow: [pretend/c]"))
    assert 0 == main(["explain", str(file)])
    out = capsys.readouterr().out
    assert ["slow", "fast"] == [line for line in out.splitlines() if line and not line.startswith(" ")]

    assert 0 == main(["explain", str(file), "--route", "pretend/x", "--stream"])
    out = capsys.readouterr().out
    assert out.startswith("pretend/x\n  1. deadline: the call is over after 10m")
    assert "among pretend/x\n" in out


def test_explain_needs_no_key(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Missing keys are told aside; the steps are printed all the same.
    """
    file.write_text("providers: {groq: {}}\nroutes: {fast: [groq/a]}\n")

    assert 0 == main(["explain", str(file)])
    out, err = capsys.readouterr()
    assert "ordered among groq/a" in out
    assert "providers.groq: no key; set GROQ_API_KEY" in err


def test_explain_a_route_that_is_none(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    An unknown route is a wrong command, with the nearest name.
    """
    assert 2 == main(["explain", str(file), "--route", "fats"])
    out, err = capsys.readouterr()
    assert "" == out and 'did you mean "fast"?' in err


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """
    schema prints the JSON Schema of a configuration.
    """
    assert 0 == main(["schema"])
    schema = json.loads(capsys.readouterr().out)
    assert {"providers", "routes", "retry", "cache"} <= set(schema["properties"])


@pytest.mark.parametrize(
    "arguments", [[], ["check"], ["nope"], ["check", "x.yaml", "--tokens", "0"], ["explain", "x", "--y"]]
)
def test_wrong_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    A command that is none ends with 2 and shows how it is used.
    """
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert 2 == ended.value.code
    assert "usage: llmgate" in capsys.readouterr().err


def test_as_a_module(file: Path) -> None:
    """
    python -m llmgate is this command, and its exit code is the process's.
    """
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "llmgate", *arguments]
        done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
        return done.returncode, done.stdout

    assert (0, f"llmgate {__version__}\n") == run("--version")
    file.write_text("providers: {groq: {api_key: }}\nroutes: {fast: [groq/a]}\n")
    assert 1 == run("check", str(file))[0]
