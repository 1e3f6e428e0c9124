"""Hostile model files, built by hand: each asks for more than it is, or says what cannot be.

    python tests/reliability/attacks/model_files.py folder      writes them, for trying by hand

``headers()`` are files whose header lies; ``sealed()`` makes a file whose hashes are all right, so that what it says
reaches the code behind the hashes.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

ABOUT = {"format": "ancf-1", "ancf": "{}", "sha256.header": "0" * 64}


def framed(text, data=b"", length=None):
    """A file of this header, with its true length or another."""
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def sealed(tensors, metadata, about=None):
    """A file with every hash in its place; ``tensors`` is name → (dtype, shape, bytes), ``metadata`` text."""
    widths = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "U8": 1, "BOOL": 1}
    order = sorted(tensors, key=lambda name: (-widths.get(tensors[name][0], 1), name))
    head, data = {}, b""
    about = {"format": "ancf-1", "ancf": metadata, "sha256.header": "0" * 64, **(about or {})}
    for name in order:
        dtype, shape, raw = tensors[name]
        head[name] = {"data_offsets": [len(data), len(data) + len(raw)], "dtype": dtype, "shape": list(shape)}
        about[f"sha256.{name}"] = hashlib.sha256(raw).hexdigest()
        data += raw
    head["__metadata__"] = about

    def text():
        raw = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return raw + b" " * (-len(raw) % 8)

    about["sha256.header"] = hashlib.sha256(text()).hexdigest()
    return framed(text(), data)


def headers():
    """Name → bytes."""
    about = json.dumps(ABOUT, separators=(",", ":"))

    def entry(dtype="F32", shape="[1]", offsets="[0,4]", more=""):
        return f'{{"__metadata__":{about},"x":{{"data_offsets":{offsets},"dtype":"{dtype}","shape":{shape}{more}}}}}'

    huge = 1 << 62
    escapes, one_key = r"\n" * 125_000, '{"":0},'
    return {
        "nothing": b"",
        "seven bytes": b"\0" * 7,
        "a picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 200,
        "a pickle": b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x94\x8c\x04true\x85\x94R\x94.",
        "a zip": b"PK\x03\x04" + b"\0" * 60,
        "length of everything": framed(b"{}", length=2**64 - 1),
        "length of a terabyte": framed(b"{}", length=1 << 40),
        "length one beyond the file": framed(b"{}      ", length=9),
        "length of the most a header may have, not there": framed(b"{}", length=256 << 10),
        "no JSON": framed("not json at all"),
        "a list": framed("[]"),
        "a number": framed("1e999"),
        "not UTF-8": framed(b'{"\xff\xfe":1}'),
        "no metadata": framed("{}"),
        "metadata of numbers": framed('{"__metadata__":{"format":1,"ancf":2}}'),
        "metadata twice": framed(f'{{"__metadata__":{about},"__metadata__":{about}}}'),
        "hostile text in the metadata": framed(
            json.dumps({"__metadata__": {**ABOUT, "ancf": "__import__('os').system('true')"}})
        ),
        "ten thousand brackets": framed("[" * 10_000),
        "brackets within brackets": framed(f'{{"__metadata__":{about},"x":{"[" * 9000}{"]" * 9000}}}'),
        "a hundred thousand zeros": framed(f'{{"__metadata__":{about},"x":[{"0," * 100_000}0]}}'),
        "a hundred thousand objects": framed(f'{{"__metadata__":{about},"x":[{"{}," * 80_000}{{}}]}}'),
        "objects of one key": framed(f'{{"__metadata__":{about},"x":[{one_key * 199}0]}}'),
        "a text of escapes": framed(f'{{"__metadata__":{about},"x":"{escapes}"}}'),
        "two hundred thousand tensors": framed(
            "{" + ",".join(f'"{at}":{{"dtype":"U8"}}' for at in range(200_000)) + f',"__metadata__":{about}}}'
        ),
        "a shape of 2^62": framed(entry(shape=f"[{huge}]"), b"\0" * 4),
        "a product beyond 2^64": framed(entry(shape="[4294967296,4294967296,16]"), b"\0" * 4),
        "a product that wraps to four": framed(entry(shape=f"[{(1 << 62) + 1}]"), b"\0" * 4),
        "a negative shape": framed(entry(shape="[-1]"), b"\0" * 4),
        "a shape of fractions": framed(entry(shape="[1.5]"), b"\0" * 4),
        "a shape of text": framed(entry(shape='["1"]'), b"\0" * 4),
        "a shape beyond 2^64": framed(entry(shape=f"[{1 << 70}]"), b"\0" * 4),
        "bytes beyond the end": framed(entry(shape="[1000]", offsets="[0,4000]"), b"\0" * 4),
        "bytes from behind": framed(entry(offsets="[4,0]"), b"\0" * 4),
        "bytes that begin late": framed(entry(offsets="[4,8]"), b"\0" * 8),
        "bytes that belong to nobody": framed(entry(), b"\0" * 8),
        "three offsets": framed(entry(offsets="[0,4,4]"), b"\0" * 4),
        "an unknown dtype": framed(entry(dtype="F128"), b"\0" * 4),
        "objects as dtype": framed(entry(dtype="O"), b"\0" * 4),
        "one key too many": framed(entry(more=',"code":"import os"'), b"\0" * 4),
        "a wrong hash": framed(entry(), b"\0" * 4),
        "a name of null bytes": framed(f'{{"__metadata__":{about},"\\u0000":{{}}}}'),
        "overlapping tensors": framed(
            f'{{"__metadata__":{about},"a":{{"data_offsets":[0,4],"dtype":"F32","shape":[1]}},'
            f'"b":{{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}}}',
            b"\0" * 4,
        ),
        "an old format": framed(json.dumps({"__metadata__": {**ABOUT, "format": "ancf-0"}})),
        "spaces before the header": framed(b"        " + json.dumps({"__metadata__": ABOUT}).encode()),
    }


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in headers().items():
        (folder / f"{name.replace(' ', '-').replace('^', '')}.ancf").write_bytes(raw)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
