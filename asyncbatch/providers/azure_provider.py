"""Azure OpenAI: OpenAI's protocol but for the facts of its YAML, and for input in a storage account, which is refused.

Source: Azure/azure-rest-api-specs (AzureOpenAI/authoring/stable/2024-10-21), MicrosoftDocs/azure-ai-docs (batch how-to, FAQ).
"""

from collections.abc import Mapping
from typing import Any

from asyncbatch.exceptions import ConfigError
from asyncbatch.providers._openai_wire import OpenAICompatibleProvider

_OF_STORAGE = ("input_blob", "output_folder")


class AzureBatchProvider(OpenAICompatibleProvider):
    """Batches on Azure OpenAI; a model is the name of a deployment."""

    PROVIDER_NAME = "azure"

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse blobs: such a batch keeps no metadata, so one whose create was lost would not be found again."""
        super().check_options(options)
        named = next((word for word in _OF_STORAGE if word in options), None)
        if named is not None:
            message = f"{self.PROVIDER_NAME}: {named} is not supported: requests are uploaded, and answers downloaded"
            raise ConfigError(message, code="blobs.unsupported", hint="leave it out")
