"""Perplexity speaks OpenAI's protocol; what it does otherwise is in perplexity.yaml."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class PerplexityBatchProvider(OpenAICompatibleProvider):
    """Batches of Perplexity's Agent API."""

    PROVIDER_NAME = "perplexity"
