"""Zhipu: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class ZhipuBatchProvider(OpenAICompatibleProvider):
    """Batches on Zhipu."""

    PROVIDER_NAME = "zhipu"
