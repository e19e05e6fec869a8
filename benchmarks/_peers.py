"""Other libraries, pointed at the benchmarks' server: what more than one benchmark needs of them.

Each is asked for one batch of everything, looks for news as often as it lets itself be told, and keeps quiet: what it would
print or log is not measured. Nothing else of them is changed, but that a body goes nowhere where only the body is asked for.
"""

import asyncio
import os
from typing import Any

from benchmarks._frame import Place
from benchmarks._work import MODEL

LOOK_S = 0.02
_LONG_S = 600.0


class Uploads:
    """Stands in for `files` of an OpenAI client: takes the body of one upload, and never answers who sent it.

    Whoever waits for the answers of those requests is ended with the event loop, when nobody measures any more.
    """

    def __init__(self) -> None:
        self.rows: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def create(self, *, file: Any, **_words: Any) -> None:
        body = file[1] if isinstance(file, tuple) else file
        self.rows.set_result(sum(1 for _ in body))
        await asyncio.Event().wait()


def autobatcher_client(place: Place, **words: Any) -> Any:
    """Give its client in the mode that makes batches (`24h`; by default it sends each request singly)."""
    from autobatcher import BatchOpenAI
    from loguru import logger

    logger.disable("autobatcher")
    sizes = {"batch_size": place.case.count, "batch_window_seconds": _LONG_S, "poll_interval_seconds": LOOK_S}
    where = {"api_key": "bench", "base_url": f"{place.url}/v1"}
    return BatchOpenAI(completion_window="24h", **where, **{**sizes, **words})


def langasync_settings(place: Place) -> Any:
    from langasync.settings import LangasyncSettings

    where = os.path.join(place.directory, f"langasync-{place.nonce}")
    return LangasyncSettings(openai_api_key="bench", openai_base_url=f"{place.url}/v1", base_storage_path=where)


def langchain_model() -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=MODEL, api_key="bench", max_tokens=16, temperature=0)


def inspect_model(place: Place) -> Any:
    from inspect_ai.model import BatchConfig, GenerateConfig, get_model
    from inspect_ai.model._providers.util.batch_log import set_batch_log_callback

    set_batch_log_callback(lambda _line: None)
    count = place.case.count
    batch = BatchConfig(size=count, send_delay=_LONG_S, tick=LOOK_S)
    config = GenerateConfig(batch=batch, max_connections=count, max_tokens=16, temperature=0)
    where = {"base_url": f"{place.url}/v1", "api_key": "bench", "responses_api": False}
    return get_model(f"openai/{MODEL}", config=config, memoize=False, **where)


def inspect_batcher(model: Any) -> Any:
    """Give the part of a model that makes and watches batches, which it makes itself at its first question."""
    model.api._resolve_batcher(model.config, for_responses_api=False)
    return model.api._completions_batcher


def curator_llm(place: Place) -> Any:
    """Give its `LLM` with a prompt per row, as its guide has it: one batch, no display, nothing told to its makers.

    It looks for news at least a second apart; the server says at its first look that the batch is over.
    """
    os.environ.update(
        TELEMETRY_ENABLED="false", CURATOR_DISABLE_RICH_DISPLAY="1", HF_HOME=os.path.join(place.directory, "hf"),
        HF_HUB_OFFLINE="1",
    )  # fmt: skip
    from bespokelabs import curator

    class Feeling(curator.LLM):
        def prompt(self, row: dict[str, Any]) -> Any:
            return row["messages"]

    where = {"api_key": "bench", "base_url": f"{place.url}/v1"}
    return Feeling(
        model_name=MODEL, batch=True, backend="openai", generation_params={"max_tokens": 16, "temperature": 0},
        backend_params={**where, "batch_size": place.case.count, "batch_check_interval": 1},
    )  # fmt: skip


def curator_rows(requests: Any) -> Any:
    from datasets import Dataset

    return Dataset.from_list([{"messages": body["messages"]} for body in requests])
