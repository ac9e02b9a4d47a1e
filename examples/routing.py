"""How a route chooses: in order, in turn, by weight, by cost; and who is asked when all of them fail."""

from collections import Counter

from llmgate import Gateway

both = ["eu/large", "us/large"]
config = {
    "providers": {
        "eu": {"kind": "simulated", "latency": "2ms"},
        "us": {"kind": "simulated"},
        "down": {"kind": "simulated", "failures": {"overloaded": 1}},
    },
    "routes": {
        "ordered": both,
        "in_turn": {"strategy": "round_robin", "deployments": both},
        "by_weight": {
            "strategy": "weighted",
            "deployments": [{"target": "eu/small", "weight": 3}, {"target": "us/small", "weight": 1}],
        },
        "cheapest": {"strategy": "cost", "deployments": both},
        "rescued": {"deployments": "down/large", "fallback": both},
    },
    "prices": {"eu/*": {"input": "$3", "output": "$15"}, "us/*": {"input": "$2", "output": "$8"}},
}

with Gateway(config) as gateway:
    for route in config["routes"]:
        answered = Counter(gateway.chat(route, f"Question {n}").deployment for n in range(12))
        print(f"{route:10}", dict(answered))
    reply = gateway.chat("cheapest", "What do you cost?")
    used = reply.usage
    print(f"one answer cost ${reply.cost:f}: {used.input_tokens} tokens read, {used.output_tokens} written")
    print("circuit of the one that is down:", gateway.health()["deployments"]["down/large"]["circuit"]["state"])
