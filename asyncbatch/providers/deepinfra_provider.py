"""DeepInfra: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class DeepInfraBatchProvider(OpenAICompatibleProvider):
    """Batches on DeepInfra."""

    PROVIDER_NAME = "deepinfra"
