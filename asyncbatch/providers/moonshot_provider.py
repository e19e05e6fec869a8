"""Moonshot: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class MoonshotBatchProvider(OpenAICompatibleProvider):
    """Batches on Moonshot."""

    PROVIDER_NAME = "moonshot"
