"""A fallback, a stream, a cache hit and a limit that waits, from two providers that only pretend."""

import time

from llmgate import Gateway, Response

gateway = Gateway(
    {
        "providers": {
            "primary": {"kind": "simulated", "failures": {"overloaded": 1}},  # always too busy
            "backup": {"kind": "simulated", "tokens_per_second": 50},
        },
        "routes": {"fast": ["primary/small", "backup/large"]},  # tried in order
        "cache": {"ttl": "1h"},
        "rate_limit": {"requests": "3/3s"},
    }
)


def tell(what: str, reply: Response, since: float) -> None:
    tried = " ▸ ".join(f"{attempt.deployment} {attempt.kind}" for attempt in reply.attempts) or "nobody was asked"
    print(f"{what:9} {time.monotonic() - since:.1f} s, cached: {reply.cached}, attempts: {tried}")
    print(f"          {reply.text}")


start = time.monotonic()
reply = gateway.chat("fast", "Why is the sky blue?")
tell("fallback", reply, start)

start = time.monotonic()
with gateway.stream("fast", "Why is grass green?") as stream:
    words = [chunk.text for chunk in stream if chunk.text]
tell(f"stream/{len(words)}", stream.response, start)

start = time.monotonic()
tell("cache hit", gateway.chat("fast", "Why is the sky blue?"), start)

start = time.monotonic()
tell("limited", gateway.chat("fast", "Three calls in three seconds; this is the fourth."), start)

print("in all   ", gateway.stats().outcomes, "of which cached", gateway.stats().cached)
gateway.close()
