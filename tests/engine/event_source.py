"""A reader of event streams, written from the HTML standard: a second opinion on what we send."""

import codecs


class EventSource:
    """Reads an event stream as the HTML standard tells browsers to ("Server-sent events", interpreting an event stream)."""

    def __init__(self):
        self.last_event_id = ""
        self.seen = []
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._type, self._data, self._id = "", "", ""

    def feed(self, piece):
        text = self._rest + self._decode(piece)
        *lines, self._rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines:
            self._line(line)

    def _line(self, line):
        if not line:
            self._dispatch()
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._type = value
        elif field == "data":
            self._data += value + "\n"
        elif field == "id" and "\0" not in value:
            self._id = value

    def _dispatch(self):
        self.last_event_id = self._id
        if self._data:
            self.seen.append((self._type or "message", self._data.removesuffix("\n"), self.last_event_id))
        self._type, self._data = "", ""
