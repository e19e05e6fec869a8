"""Nebius Token Factory: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class NebiusBatchProvider(OpenAICompatibleProvider):
    """Batches on Nebius Token Factory."""

    PROVIDER_NAME = "nebius"
