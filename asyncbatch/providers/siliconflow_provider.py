"""SiliconFlow: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class SiliconFlowBatchProvider(OpenAICompatibleProvider):
    """Batches on SiliconFlow."""

    PROVIDER_NAME = "siliconflow"
