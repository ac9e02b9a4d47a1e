"""Another library's function behind the gateway: its exceptions are understood by their `status_code`."""

from llmgate import Gateway


class SDKError(Exception):
    """Stands for the errors of any SDK: they carry the HTTP status."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code


statuses = [503, 429, 200, 400]


def completion(model: str, prompt: str) -> str:
    """Stands for the library's own call, `litellm.completion` or any other."""
    status = statuses.pop(0)
    if status != 200:
        raise SDKError(status)
    return f"{model}: You said {prompt}"


gateway = Gateway({"retry": {"base_delay": "10ms"}})
ask = gateway.wrap(completion)  # coroutine functions, generators and async generators are wrapped the same way

print(ask("small", "hello"), "- after a 503 and a 429, which were tried again")
try:
    ask("small", "hello")
except SDKError as error:
    print(f"a 400 is not tried again, and comes out as it is: {error!r}")
print("attempts in all:", gateway.stats().attempts)
gateway.close()
