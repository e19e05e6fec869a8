"""Novita: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class NovitaBatchProvider(OpenAICompatibleProvider):
    """Batches on Novita."""

    PROVIDER_NAME = "novita"
