"""What the head of a download says of its length, as far as it is one."""

import pytest

from asyncbatch.transport import Http
from asyncbatch.transport.transfers import Transfer


class Sink:
    size = 0

    def clear(self):
        pass


@pytest.mark.parametrize("text", ["9" * 5_000, "9" * 19, "-1", "+7", "7 ", "٣", "0x7", "1_0", "", "7,7"])
def test_a_length_that_is_none_is_not_compared_and_no_error_of_pythons(text):
    pouring = Transfer(Sink(), is_lines=True).begin(200, {"Content-Length": text}, Http())

    assert pouring.frame.length is None


def test_a_file_whose_length_is_none_cannot_be_gone_on_with():
    transfer = Transfer(Sink(), is_lines=True)
    transfer.begin(200, {"Content-Length": "9" * 5_000, "ETag": '"e"', "Accept-Ranges": "bytes"}, Http())

    assert transfer.headers() == {}
