"""A batch server in the box: it speaks each provider's own protocol over real HTTP, on loopback, with a scripted clock.

It is a second opinion. It shares no code and no facts with the rest of the library; its dialects are written from the
providers' documentation, and the official SDKs are its conformance tests.

    with Emulator() as emulator:
        os.environ.update(emulator.env("openai"))
        ...
"""

from asyncbatch.emulator import faults
from asyncbatch.emulator.data_dir import DataDirError
from asyncbatch.emulator.emulator import PORT, Emulator, serve
from asyncbatch.emulator.faults import Fault
from asyncbatch.emulator.history import Record, decode_history, paid_twice
from asyncbatch.emulator.life import Pace, Phase
from asyncbatch.emulator.model import Answer, Ask, Failure, Message, Tool, ToolCall

__all__ = [
    "PORT",
    "Answer",
    "Ask",
    "DataDirError",
    "Emulator",
    "Failure",
    "Fault",
    "Message",
    "Pace",
    "Phase",
    "Record",
    "Tool",
    "ToolCall",
    "decode_history",
    "faults",
    "paid_twice",
    "serve",
]
