"""Rows for Gemini in its own shapes: everything that `rows` has for OpenAI."""

import json

MODEL = "gemini-2.5-flash"
EMBEDDER = "gemini-embedding-001"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GOOGLE_SCHEMA = {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}, "required": ["a"]}
ANY = {"functionCallingConfig": {"mode": "ANY"}}


def said(prompt="hello", role="user"):
    return {"role": role, "parts": [{"text": prompt}]}


def chat(prompt="hello", **changes):
    return {"contents": [said(prompt)], **changes}


def json_config(**schema):
    return {"generationConfig": {"responseMimeType": "application/json", **schema}}


def tools(**parameters):
    return {"tools": [{"functionDeclarations": [{"name": "get_weather", **parameters}]}]}


TURNS = [
    said("what is the weather?"),
    {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {"a": 1}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {"output": "sun"}}}]},
]
IMAGE = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}

BODIES = {
    "plain": chat(),
    "system": chat(systemInstruction={"parts": [{"text": "be short"}]}),
    "cut": chat(generationConfig={"maxOutputTokens": 1, "temperature": 0.5, "topP": 0.9, "topK": 40, "seed": 7}),
    "many": chat(generationConfig={"candidateCount": 2}),
    "tool": chat(**tools(parametersJsonSchema=SCHEMA), toolConfig=ANY),
    "googletool": chat(**tools(parameters=GOOGLE_SCHEMA), toolConfig=ANY),
    "turns": {"contents": TURNS, **tools(parametersJsonSchema=SCHEMA)},
    "image": {"contents": [{"role": "user", "parts": [{"text": "what is it?"}, IMAGE]}]},
    "refusal": chat("[[refuse]]"),
    "schema": chat(**json_config(responseJsonSchema=SCHEMA)),
    "googleschema": chat(**json_config(responseSchema=GOOGLE_SCHEMA)),
    "json": chat(**json_config()),
    "thoughts": chat("[[think:9]][[cached:7]]", generationConfig={"thinkingConfig": {"includeThoughts": True}}),
    "safe": chat(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
}
EMBEDDINGS = {
    "plain": {"content": {"parts": [{"text": "hello"}]}},
    "small": {"content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_DOCUMENT", "outputDimensionality": 8},
}


def encode_rows(bodies):
    """Give the lines of a batch's input."""
    return b"".join(json.dumps({"key": key, "request": body}).encode() + b"\n" for key, body in bodies.items())


def inline(bodies):
    return [{"request": body, "metadata": {"key": key}} for key, body in bodies.items()]
