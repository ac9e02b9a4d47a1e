"""What a name means that a caller gives for a model."""

from __future__ import annotations

from llmgate import Gateway


def test_models_that_callers_make_up_take_bounded_memory() -> None:
    """
    However many models callers name, the gateway remembers only so many of them.
    """
    with Gateway({"providers": {"here": {"kind": "simulated"}}}) as gateway:
        for number in range(1100):
            gateway.chat(f"here/{number}", "hello")

        assert 1000 == len(gateway.health()["deployments"])
