"""One function, several calls: captured, they are one call with one bill, one deadline and one list of attempts."""

import openai

from llmgate import Gateway, Response

gateway = Gateway(
    {
        "providers": {
            "shaky": {"kind": "simulated", "failures": {"overloaded": 1.0}},
            "steady": {"kind": "simulated"},
        },
        "routes": {"fast": ["shaky/small", "steady/small"]},
        "prices": {"steady/*": {"input": 1, "output": 2}},
        "retry": {"base_delay": "1ms", "max_delay": "1ms"},
    }
)
client = openai.OpenAI(api_key="unused", base_url="http://llmgate/v1", http_client=gateway.http_client())


@gateway.wrap(capture=True, timeout="20s")
def improve(text: str) -> Response:
    """Drafts with an SDK, then polishes with the gateway itself."""
    draft = client.chat.completions.create(model="fast", messages=[{"role": "user", "content": text}])
    return gateway.chat("steady/large", f"Say it better: {draft.choices[0].message.content}")


reply = improve("hello")
for attempt in reply.attempts:
    print(f"{attempt.deployment}: {attempt.kind}", f"(inside {attempt.inside})" if attempt.inside else "")
print(f"{reply.usage.total_tokens} tokens, ${reply.cost}")
stats = gateway.stats()
print(f"{stats.calls} calls, {stats.attempts} upstream attempts, {stats.input_tokens + stats.output_tokens} tokens")
gateway.close()
