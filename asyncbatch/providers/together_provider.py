"""Together: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class TogetherBatchProvider(OpenAICompatibleProvider):
    """Batches on Together."""

    PROVIDER_NAME = "together"
