"""What errors tell: what happened, to whom, after how many attempts, and when to come back."""

from llmgate import AllAttemptsFailed, Gateway, GatewayError

gateway = Gateway(
    {
        "providers": {
            "one": {"kind": "simulated", "failures": {"rate_limited": 1}, "retry_after": "90s"},
            "two": {"kind": "simulated", "failures": {"upstream_error": 1}},
            "fine": {"kind": "simulated"},
        },
        "routes": {"fast": ["one/small", "two/small"]},
        "rate_limit": {"requests_per_minute": 2, "on_limit": "reject"},
        "retry": {"base_delay": "10ms"},
    }
)

calls = [
    ("fast", "Two deployments fail; one of them twice more."),
    ("one/small", "It asked for a rest a moment ago."),
    ("fats", "There is no such route."),
    ("fine/small", []),
    ("fine/small", "The second call of this minute."),
    ("fine/small", "The third."),
]
for model, messages in calls:
    try:
        print("answer:", gateway.chat(model, messages).text)
    except GatewayError as error:
        after = "" if error.retry_after is None else f", worth another try in {error.retry_after:.0f} s"
        print(f"{type(error).__name__} ({error.kind}, {error.status}{after})\n    {error.message}")
        print("".join(f"    {a.deployment} {a.reason}: {a.kind}\n" for a in error.attempts), end="")
        if isinstance(error, AllAttemptsFailed):  # an ExceptionGroup that speaks for its most telling attempt
            print(f"    it speaks for {error.telling!r}")
gateway.close()
