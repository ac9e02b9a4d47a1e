"""A gateway from a dict: checked as a whole, every mistake named with the nearest right spelling."""

from llmgate import ConfigError, Gateway, Retry

config = {
    "providers": {"pretend": {"kind": "simulated", "latency": "20ms"}},
    "routes": {"fast": ["pretend/small"]},
    "retry": {"max_attempts": 2, "base_delay": "250ms"},
    "timeouts": {"total": "20s"},
}

with Gateway(config) as gateway:
    print(gateway.chat("fast", "Hello!").text)
    print("a section is a constructor:", gateway.config.retry == Retry(max_attempts=2, base_delay="250ms"))
    print("what was said comes back:  ", gateway.config.model_dump() == config)

try:
    Gateway(config | {"retry": {"max_atempts": 2}, "timeouts": {"total": "20 parsecs"}})
except ConfigError as error:
    print(error)
