"""Parasail: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class ParasailBatchProvider(OpenAICompatibleProvider):
    """Batches on Parasail."""

    PROVIDER_NAME = "parasail"
