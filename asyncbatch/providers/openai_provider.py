"""OpenAI: the baseline of its family; every fact is in openai.yaml."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class OpenAIBatchProvider(OpenAICompatibleProvider):
    """Batches on OpenAI's API, and on whatever speaks it under another base URL."""

    PROVIDER_NAME = "openai"
