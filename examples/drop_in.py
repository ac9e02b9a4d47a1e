"""Code that stands on an SDK, unchanged, through the gateway: routes, fallbacks and the SDK's own exceptions."""

import openai

from llmgate import Gateway

gateway = Gateway(
    {
        "providers": {
            "shaky": {"kind": "simulated", "failures": {"overloaded": 1.0}},
            "steady": {"kind": "simulated"},
        },
        "routes": {"fast": ["shaky/small", "steady/small"]},
        "retry": {"base_delay": "1ms", "max_delay": "1ms"},
    }
)
client = openai.OpenAI(api_key="unused", base_url="http://llmgate/v1", http_client=gateway.http_client())


def ask(model: str) -> str:
    """Your own code: it knows the SDK and nothing else."""
    answer = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "Hello!"}]
    )
    told = answer.headers["x-llmgate-deployment"], answer.headers["x-llmgate-attempts"]
    return f"{answer.parse().choices[0].message.content} ({told[0]}, after {told[1]} attempts)"


print(ask("fast"))
try:
    ask("shaky/small")
except openai.InternalServerError as error:
    print("the SDK's own exception:", type(error).__name__, error.status_code, error.code)
gateway.close()
