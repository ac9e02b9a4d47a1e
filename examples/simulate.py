"""What would an outage do? Two configurations through the same quarter of an hour, on virtual time."""

from llmgate.simulation import simulate

pretend = {"kind": "simulated"}
alone = {
    "providers": {"cheap": pretend, "other": pretend},
    "routes": {"fast": ["cheap/m"]},
    "prices": {"cheap/*": {"input": 1, "output": 4}, "other/*": {"input": 2, "output": 5}},
}
both = {**alone, "routes": {"fast": ["cheap/m", "other/m"]}}

for name, config in (("alone", alone), ("with a fallback", both)):
    report = simulate(config, "outage", seed=7)
    total, cheap = report.total, report.deployments["cheap/m"]
    opened = next(turn.at_s for turn in cheap.circuit if turn.state == "open")
    print(f"{name}: {total.success_rate:.1%} of {total.calls} calls succeeded, for ${total.cost:.2f}")
    print(f"  its circuit opened {cheap.openings} times, first at {opened:.0f} s; the outage began at 240 s")
