"""The gateway for programs in other languages: it listens, and answers in whatever format it is asked in."""

import json
import threading
from queue import Queue
from urllib.request import Request, urlopen

from llmgate import Gateway
from llmgate.config.server import ServerSettings
from llmgate.surfaces.serving import server

CONFIG = {"providers": {"pretend": {"kind": "simulated"}}, "routes": {"fast": ["pretend/small"]}}
told: Queue[str] = Queue()


def ask(path: str, **body: object) -> dict:
    data = json.dumps({"model": "fast", "messages": [{"role": "user", "content": "Hello!"}], **body}).encode()
    with urlopen(Request(address + path, data, {"content-type": "application/json"})) as answer:
        return json.load(answer)


# From the shell: python -m llmgate serve llmgate.yaml --port 8080
running = server(Gateway(CONFIG), ServerSettings(port=0), told.put)
thread = threading.Thread(target=running.run)
thread.start()
address = told.get()

print("as OpenAI:   ", ask("/v1/chat/completions")["choices"][0]["message"]["content"])
print("as Anthropic:", ask("/v1/messages", max_tokens=100)["content"][0]["text"])
with urlopen(f"{address}/health/ready") as answer:
    print("health:      ", json.load(answer))

running.should_exit = True  # what SIGTERM does: take nobody new, let the others finish, close the gateway
thread.join()
