"""Doubleword: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class DoublewordBatchProvider(OpenAICompatibleProvider):
    """Batches on Doubleword."""

    PROVIDER_NAME = "doubleword"
