"""A gateway from a YAML file, and what it will do with a call before it does it."""

from pathlib import Path

from llmgate import Gateway

with Gateway.from_yaml(Path(__file__).with_name("llmgate.yaml")) as gateway:
    print("\n".join(gateway.explain("fast", "Hello!")))
    reply = gateway.chat("fast", "Hello!", tenant="acme")
    print(f"{reply.deployment} says: {reply.text}")

# The same file, from the shell: what contradicts itself in it, and the worst case of one call.
#     python -m llmgate check examples/llmgate.yaml
