"""The examples that this system was specified with run word for word.

Source: the specification's first two examples, in the order in which a reader meets them.
"""

import ast
import inspect
from functools import partial

from asyncbatch import BatchPoller
from asyncbatch.emulator import Emulator
from asyncbatch.registry import batch_provider_registry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime

FIRST = """
from uuid import uuid4
from asyncbatch import BatchMode, batch_provider_registry
from asyncbatch.dto import UsageInfo
from asyncbatch.providers.openai_provider import OpenAIBatchProvider

batch_provider_registry.register(OpenAIBatchProvider)
provider_class = batch_provider_registry.get("openai")
provider = provider_class(config={"api_key": "your-key"})
if provider.supports_model("gpt-4.1-mini"):
    submissions = await provider.prepare_payloads(batch_id=uuid4(), model="gpt-4.1-mini", mode=BatchMode.CHAT,
                                                  requests=[{"messages": [{"role": "user", "content": "Hello"}]}])
"""

SECOND = """
async with batch_provider_registry as registry:                    # = registry.open() with the defaults
    openai = registry.create("openai")                             # key from the environment
    submitted = [await openai.submit(s) for s in submissions]
    async with BatchPoller() as poller:                            # one task watches them all
        watched = [poller.watch(openai, r.provider_batch_id) for r in submitted]
        async for batch in poller.as_completed(watched):           # a handle: provider, provider_batch_id, status, results()
            async for row in batch.results():
                print(row.request_id, row.status, row.text, row.usage)
"""


async def run(source, names):
    """Run a piece of code as an asynchronous prompt would."""
    done = eval(compile(source, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.isawaitable(done):
        await done


async def test_the_examples_of_the_specification_run_as_they_stand(monkeypatch, capsys):
    clock = VirtualClock()
    names = {"BatchPoller": partial(BatchPoller, runtime=virtual_runtime(clock))}  # so that nobody waits
    with Emulator(clock=clock.now) as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        await run(FIRST, names)
        await run(SECOND, names)
        history = [record.kind for record in emulator.history if record.kind != "request"]
    batch_provider_registry.clear()

    assert history == ["upload", "create"]
    (printed,) = capsys.readouterr().out.splitlines()
    assert printed.startswith("0000000 succeeded echo: Hello UsageInfo(prompt_tokens=")
