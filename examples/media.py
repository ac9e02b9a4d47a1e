"""An image, a voice and what it said, a ranking, and a video that is waited for, from a provider that only pretends."""

from llmgate import Gateway, VideoJob

gateway = Gateway(
    {
        "providers": {"pretend": {"kind": "simulated", "job_time": "300ms"}},
        "cache": {"ttl": "1h"},
    }
)

image = gateway.image("pretend/painter", "a fox in the snow").data[0]
print(f"image:   {image.media_type}, {len(image.content or b'')} bytes")

speech = gateway.speak("pretend/voice", "The fox says nothing.", voice="alloy")
heard = gateway.transcribe("pretend/ear", ("fox.wav", speech.content))
print(f"speech:  {speech.media_type}, {len(speech.content)} bytes; heard: {heard.text!r}")

documents = ["Whales live in the sea.", "The red fox lives in the forest.", "A fox is red."]
for _ in range(2):
    ranking = gateway.rerank("pretend/ranker", "where does the red fox live", documents, top_n=1)
    print(f"ranking: {ranking.results[0].document!r}, cached: {ranking.cached}")

print(f"tokens:  {gateway.count_tokens('pretend/small', 'How long is this?').input_tokens}")


def tell(job: VideoJob) -> None:
    print(f"video:   {job.status} {job.progress} %")


job = gateway.video("pretend/films", "a fox in the snow")
job.wait(poll="110ms", on_progress=tell)
print(f"film:    {len(job.content())} bytes; job {job.deployment}, cost {job.cost}")
gateway.close()
