"""What the creates of datasets and jobs take, read strictly: unknown fields and wrong types are refused.

Source: the fact sheet of Fireworks' batch inference, "Input = dataset" and "Create".
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.json_values import is_object

_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_COUNT = re.compile(r"[0-9]{1,18}")
_DATASET = {"displayName": str, "userUploaded": dict, "exampleCount": object, "format": str, "externalUrl": str}
_JOB = {
    "model": str,
    "inputDatasetId": str,
    "outputDatasetId": str,
    "displayName": str,
    "precision": str,
    "systemPrompt": str,
    "inferenceParameters": dict,
}
_PARAMETERS = {
    "maxTokens": int,
    "temperature": int | float,
    "topP": int | float,
    "topK": int,
    "n": int,
    "extraBody": str,
}
_IN_BODY = {"maxTokens": "max_tokens", "topP": "top_p", "topK": "top_k"}


class Order(Struct, kw_only=True):
    """What a job was created from.

    Attributes:
        input: The full name of the dataset of its rows.
        output: That of the dataset of its answers.
        example_count: How many rows the former was said to have.
        parameters: What rows ask for that say nothing else.
        is_deleted: Whether its record was deleted once it was over.
        is_output_deleted: Whether the dataset of its answers was.
    """

    model: str
    input: str
    output: str
    example_count: int
    display_name: str = ""
    system_prompt: str = ""
    precision: str = "PRECISION_UNSPECIFIED"
    parameters: dict[str, Any] = {}
    is_deleted: bool = False
    is_output_deleted: bool = False


class NewDataset(NamedTuple):
    dataset_id: str
    display_name: str
    example_count: int


def read_object(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusalError(400, "the body is no JSON") from error
    if not is_object(document):
        raise RefusalError(400, "the body is no JSON object")
    return document


def read_id(value: Any, what: str) -> str:
    """Read a name that a client chooses."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise RefusalError(400, f"invalid {what} {value!r}: it has 1 to 63 lower-case letters, digits and hyphens")
    return value


def read_dataset(body: bytes) -> NewDataset:
    document = read_object(body)
    _check(document, {"datasetId": str, "dataset": dict}, "")
    dataset: dict[str, Any] = document.get("dataset", {})
    _check(dataset, _DATASET, "dataset.")
    return NewDataset(
        dataset_id=read_id(document.get("datasetId"), "dataset_id"),
        display_name=dataset.get("displayName", ""),
        example_count=_read_count(dataset.get("exampleCount")),
    )


def _read_count(value: Any) -> int:
    """Read an int64, which JSON has as a text. Without it nothing can be uploaded later on."""
    if not isinstance(value, str) or not _COUNT.fullmatch(value):
        raise RefusalError(400, f"invalid dataset.example_count: {value!r}")
    return int(value)


def read_job(body: bytes) -> dict[str, Any]:
    """Read the body of a create, and see that it has what it needs; whether that is there is not looked at."""
    document = read_object(body)
    _check(document, _JOB, "")
    missing = next((name for name in ("model", "inputDatasetId") if not document.get(name)), None)
    if missing is not None:
        raise RefusalError(400, f"{missing} is required")
    parameters: dict[str, Any] = document.get("inferenceParameters", {})
    _check(parameters, _PARAMETERS, "inferenceParameters.")
    if "extraBody" in parameters:
        read_object(parameters["extraBody"].encode())
    return document


def defaults_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the parameters of a job put into each body that says nothing of it."""
    named = {_IN_BODY.get(name, name): value for name, value in parameters.items() if name != "extraBody"}
    return {**named, **(read_object(parameters["extraBody"].encode()) if "extraBody" in parameters else {})}


def _check(document: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for name, value in document.items():
        if name not in known:
            raise RefusalError(400, f'unknown field "{where}{name}"')
        if not isinstance(value, known[name]) or isinstance(value, bool):
            raise RefusalError(400, f"invalid value for field {where}{name}: {value!r}")
