"""What a provider cannot do, in words, worked out from its facts: for tables and pages."""

from asyncbatch.catalog._facts import ProviderFacts
from asyncbatch.enums import BatchStatus, InputMode


def cannot_of(facts: ProviderFacts) -> tuple[str, ...]:
    """Name what a user of other providers may miss at this one."""
    kept, windows = facts.retention, facts.windows
    has_file = InputMode.FILE in facts.inputs
    missing = {
        "cancel a batch": not facts.cancels,
        "keep metadata with a batch": not facts.takes_metadata,
        "take requests in a file": not has_file,
        "take requests in the create": InputMode.INLINE not in facts.inputs,
        "be given another time for a batch": (windows is not None and windows.is_one) or not facts.wire.has_window,
        "be told when to delete an upload": has_file and kept.input_expiry is None,
        "be told when to delete answers": kept.output_expiry is None,
        "give the answers of an expired batch": BatchStatus.EXPIRED not in facts.answers_after,
        "give the answers of a cancelled batch": BatchStatus.CANCELLED not in facts.answers_after,
        "say why a batch failed": not facts.wire.has_reasons,
        "tell of an end by a webhook": facts.webhooks is None,
    }
    return tuple(what for what, is_missing in missing.items() if is_missing)
