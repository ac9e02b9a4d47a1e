"""Any function of yours becomes a call: with retries, a cache, a limit and a deadline around it."""

from llmgate import Gateway

gateway = Gateway()
questions: list[str] = []


def from_the_archive(question: str) -> str:
    return f"(from the archive) {question}: 41"


@gateway.wrap(retry={"max_attempts": 3, "base_delay": "10ms"}, cache="1h", rate_limit="60/min", timeout="20s")
def answer(question: str) -> str:
    """Fails twice, then works."""
    questions.append(question)
    if len(questions) < 3:
        raise OSError("the line is dead")
    return f"{question}: 42"


@gateway.wrap(fallback=from_the_archive)
def broken(question: str) -> str:
    raise OSError("the line is dead")


print(answer("life"), f"(the function ran {len(questions)} times)")
print(answer(question="life"), f"(it still ran {len(questions)} times: the cache knew)")
print(broken("life"))
print(answer.__name__, answer.__doc__)
gateway.close()
