"""Samples as others may send them: with other types, odd numbers and characters, keys twice, cut, and bent at any byte."""

import json

from hypothesis import strategies as st

DEEP = 1_200  # more than any decoder goes down
ODD = (
    *(
        b"null",
        b"true",
        b"false",
        b"0",
        b"-1",
        b"-0",
        b"1.5",
        b"1e3",
        b"2147483648",
        b"9223372036854775808",
        b"1e308",
        b"1e999",
    ),
    *(b"NaN", b"Infinity", b"-Infinity", b"9" * 400, b"9" * 5_000, b"0." + b"3" * 5_000, b"01", b".5", b"1_000"),
    *(
        b'""',
        b'" "',
        b'"x"',
        b'"0"',
        b'"-1"',
        b'"1e5"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
        b'"a\\nb"',
        b'"\\r"',
    ),
    *('"\u2028\u2029\u0085"'.encode(), b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"a\rb"', b"\xef\xbb\xbf7", b"'x'", b'"open'),
    *(
        b'"../../x"',
        b'"x?y#z"',
        b'"%2e%2e"',
        b'"a b"',
        b'"' + b"x" * 70_000 + b'"',
        b'"1970-01-01T00:00:00Z"',
        b'"9999-12-31"',
    ),
    *(
        b"[]",
        b"{}",
        b"[null]",
        b"[[]]",
        b"[{}]",
        b'[{"":0}]',
        b'{"":""}',
        b'{"a":{"a":1},"a":[]}',
        b'{"error":{}}',
        b'{"message":[7]}',
    ),
    *(b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP, b"[" * 70_000),
)
BENT = (
    b"",
    b"\0",
    b"\n",
    b"\r",
    b"\r\n",
    b"\xff",
    b"\xef\xbb\xbf",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\xe2\x80\xa8",
)
MARK = "\x01{}\x01"


def places(value, path=()):
    """Name every place in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def put(value, path, new):
    """Give the value with another one in a place."""
    if not path:
        return new
    head, *rest = path
    if isinstance(value, dict):
        return {key: put(item, rest, new) if key == head else item for key, item in value.items()}
    return [put(item, rest, new) if index == head else item for index, item in enumerate(value)]


def take_out(value, path):
    *way, last = path
    holder = value
    for step in way:
        holder = holder[step]
    less = (
        {k: v for k, v in holder.items() if k != last}
        if isinstance(holder, dict)
        else holder[:last] + holder[last + 1 :]
    )
    return put(value, tuple(way), less)


def again(value, path):
    """Give the JSON of a value in which a key stands twice, or an element."""
    *way, last = path
    holder = value
    for step in way:
        holder = holder[step]
    if isinstance(holder, list):
        return dumped(put(value, tuple(way), [*holder, holder[last]]))
    marked = dumped(put(value, tuple(way), {**holder, "\x02": None}))
    return marked.replace(b'"\\u0002":null', f"{json.dumps(last)}:null".encode())


def dumped(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


@st.composite
def bent_json(draw, samples, odd=ODD):
    """Samples of JSON with one to three places of another value, or without one, or with one twice."""
    value = json.loads(draw(st.sampled_from(samples)))
    written = {}
    for number in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        deed = draw(st.sampled_from(["put", "put", "put", "drop", "twice"])) if path else "put"
        if deed == "drop":
            value = take_out(value, path)
        elif deed == "twice":
            return draw(bent_bytes([again(value, path)], most=0))
        else:
            mark = MARK.format(number)
            written[json.dumps(mark).encode()] = draw(st.sampled_from(odd))
            value = put(value, path, mark)
    data = dumped(value)
    for mark, token in written.items():
        data = data.replace(mark, token)
    return data


@st.composite
def bent_bytes(draw, samples, most=3):
    """Samples cut at any byte, and with some other bytes in them."""
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, most))):
        at, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        end = end if draw(st.booleans()) else at + draw(st.integers(0, 2))
        data = data[:at] + draw(st.sampled_from(BENT) | st.binary(max_size=3)) + data[end:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 4)) == 0 else data


def bent(samples, odd=ODD):
    """Samples of JSON in every way in which they may be bent."""
    samples = [sample if isinstance(sample, bytes) else dumped(sample) for sample in samples]
    return st.one_of(bent_json(samples, odd), bent_json(samples, odd), bent_bytes(samples), st.sampled_from(odd))


def any_text():
    """Texts with what is odd in headers and names."""
    odd = [
        "",
        " ",
        "0",
        "-1",
        "1e999",
        "nan",
        "inf",
        "1_000",
        "٣",
        "²",
        "9" * 5_000,
        "\ud800",
        "\0",
        "\x85",
        "\u2028",
        "a\r\nb",
    ]
    return st.text(max_size=20) | st.sampled_from(odd) | st.binary(max_size=20).map(lambda data: data.decode("latin-1"))
