"""DashScope: OpenAI's protocol but for the facts of its YAML."""

from asyncbatch.providers._openai_wire import OpenAICompatibleProvider


class DashScopeBatchProvider(OpenAICompatibleProvider):
    """Batches on DashScope."""

    PROVIDER_NAME = "dashscope"
