"""Numbers and texts as the report writes them."""

import re

MINUS = "\N{MINUS SIGN}"
# What a page cannot hold, or would not show: control characters, halves of surrogate pairs, no characters at all.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Text from outside without what no page may hold.

    >>> printable("a\\x00b")
    'a�b'
    """
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def shortened(text: str, longest: int) -> str:
    """The beginning of a long text.

    >>> shortened("Popular(window=14)", 12)
    'Popular(win…'
    """
    text = " ".join(printable(text).split())
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def number(value: float | None) -> str:
    """A figure, to four decimals; a dash for none.

    >>> number(0.25), number(None)
    ('0.2500', '–')
    """
    return "–" if value is None else f"{value:.4f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference, with its sign.

    >>> signed(0.5), signed(0.0), signed(None)
    ('+0.5000', '0.0000', '–')
    """
    if value is None:
        return "–"
    return f"{value:+.4f}".replace("-", MINUS) if round(value, 4) else "0.0000"


def interval(ends: tuple[float, float] | None, *, with_sign: bool = False) -> str:
    """Its two ends; empty for none.

    >>> interval((0.1, 0.25))
    '0.1000 to 0.2500'
    """
    write = signed if with_sign else number
    return "" if ends is None else f"{write(ends[0])} to {write(ends[1])}"


def percent(share: float) -> str:
    """A part of one, in one piece.

    >>> [each.replace("\N{NO-BREAK SPACE}", " ") for each in map(percent, (0.256, 0.004, 0.0))]
    ['26 %', '0.4 %', '0 %']
    """
    number = f"{100 * share:.0f}" if share >= 0.01 or not share else f"{100 * share:.1f}"
    return f"{number}\N{NO-BREAK SPACE}%"


def seconds(value: float | None) -> str:
    """A time.

    >>> seconds(0.123), seconds(75.25), seconds(None)
    ('0.12', '75.2', '–')
    """
    return "–" if value is None else f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def megabytes(n_bytes: int | None) -> str:
    """A size in millions of bytes.

    >>> megabytes(1_250_000), megabytes(None)
    ('1.2', '–')
    """
    return "–" if n_bytes is None else f"{n_bytes / 1e6:,.1f}"


def count(value: int, thing: str) -> str:
    """A number of things.

    >>> count(1, "customer"), count(1200, "customer")
    ('1 customer', '1,200 customers')
    """
    return f"{value:,} {thing}{'' if value == 1 else 's'}"
