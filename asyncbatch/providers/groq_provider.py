"""Groq: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class GroqBatchProvider(OpenAICompatibleProvider):
    """Batches on Groq."""

    PROVIDER_NAME = "groq"
