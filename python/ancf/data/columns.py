"""Which column of a purchase table is which: recognized by name, in the languages and spellings that shops use.

A heading is compared without case, spaces and punctuation (``Customer ID`` = ``customer_id`` = ``CustomerID``).
A column has at most one role. What is not recognized can be named.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from ancf.errors import InvalidDataError, InvalidParameterError

KNOWN_HEADINGS: dict[str, tuple[str, ...]] = {
    "user": (
        *("userid", "customerid", "clientid", "memberid", "visitorid", "householdid", "householdkey", "accountid"),
        *("shopperid", "buyerid", "reviewerid", "personid", "customernumber", "customerno", "custid", "uid"),
        *("user", "customer", "client", "member", "visitor", "household", "account", "shopper", "buyer", "reviewer"),
        *("person", "usercode", "customercode", "username", "customerkey", "userkey", "cardid", "loyaltycard"),
        *("kundennummer", "kundennr", "kundenid", "kunde", "idclient", "numeroclient", "idcliente", "cliente"),
    ),
    "item": (
        *("itemid", "productid", "stockcode", "sku", "articleid", "asin", "movieid", "bookid", "trackid", "songid"),
        *("artistid", "isbn", "ean", "gtin", "upc", "productcode", "itemcode", "productno", "productnumber"),
        *("itemnumber", "itemno", "articlenumber", "articleno", "skuid", "iid", "item", "product", "article"),
        *("materialid", "material", "goodsid", "contentid", "gameid", "venueid", "poiid", "locationid", "movie"),
        *("book", "track", "song", "artist", "artikelnummer", "artikelnr", "artikel", "produkt", "produktid"),
        *("idproduit", "produit", "idproducto", "producto"),
    ),
    "weight": (
        *("weight", "quantity", "qty", "count", "amount", "units", "rating", "score", "stars", "playcount", "plays"),
        *("purchases", "numberofitems", "nitems", "menge", "anzahl", "quantite", "cantidad"),
    ),
    "time": (
        *("datetime", "timestamp", "invoicedate", "orderdate", "purchasedate", "transactiondate", "eventtime"),
        *("orderdatetime", "purchasetime", "date", "time", "createdat", "orderedat", "unixreviewtime", "day", "ts"),
        *("unixtime", "eventtimestamp", "tdat", "datum", "zeit", "bestelldatum", "fecha", "zeitpunkt"),
    ),
    "clock": (
        *("time", "timeofday", "clock", "clocktime", "ordertime", "purchasetime", "invoicetime", "transactiontime"),
        *("transtime", "eventtime", "zeit", "uhrzeit", "hora", "heure"),
    ),
    "name": (
        *("itemname", "productname", "description", "itemtitle", "producttitle", "title", "name", "productdescription"),
        *("itemdescription", "articlename", "bezeichnung", "artikelbezeichnung", "libelle", "descripcion"),
    ),
    "category": (
        *("category", "itemcategory", "productcategory", "categoryname", "department", "categoryid", "categorycode"),
        *("producttype", "genre", "genres", "kategorie", "warengruppe", "categorie", "categoria"),
    ),
    "event": (
        *("eventtype", "event", "action", "actiontype", "eventname", "interactiontype", "interaction", "behavior"),
        *("behaviour", "behaviortype", "behaviourtype", "useraction", "activitytype", "ereignis", "aktion"),
    ),
    "basket": (
        *("basketid", "invoiceno", "invoice", "orderid", "invoiceid", "invoicenumber", "transactionid", "sessionid"),
        *("basket", "ordernumber", "orderno", "order", "receiptid", "receipt", "ticketid", "cartid", "session"),
        *("transaction", "bestellnummer", "belegnummer", "rechnungsnummer"),
    ),
}
"""Normalized headings for each role, most preferred first."""

RATING_HEADINGS = frozenset(
    {"rating", "ratings", "userrating", "reviewrating", "score", "reviewscore", "stars", "star", "overall", "bewertung"}
)
"""Normalized headings of a column that says how much somebody liked an item, not how much of it they bought."""

ColumnChoice = str | tuple[Any, ...] | int | bool | None
"""How a caller names a column: its heading (a tuple where the headings have levels), its position from 0, False for
none, None to have it recognized."""

TimeChoice = ColumnChoice | Sequence[str | int]
"""The same for times, which may stand in two columns: ``["date", "time"]``."""


def choose_time(chosen: Mapping[str, Any]) -> dict[str, ColumnChoice]:
    """What the caller chose, with the second of two columns of times as the role ``clock``.

    Raises
    ------
    InvalidParameterError
        If more or less than two columns were named.
    """
    time = chosen.get("time")
    if isinstance(time, Sequence) and not isinstance(time, str):
        if len(time) != 2:
            raise InvalidParameterError(
                f'time={time!r}: give one column, or a date and a clock: time=["date", "time"].'
            )
        return {**chosen, "time": time[0], "clock": time[1]}
    return {**chosen, "clock": None if time is None else False}


def normalize_heading(heading: Any) -> str:
    """A heading without case, spaces and punctuation."""
    return "".join(letter for letter in str(heading).casefold() if letter.isalnum())


def format_headings(headings: Sequence[Any]) -> str:
    """The headings of a table for a message, at most 30 of them."""
    return ", ".join(repr(str(heading)) for heading in headings[:30]) + (", …" if len(headings) > 30 else "")


def recognize_columns(
    headings: Sequence[Any], chosen: Mapping[str, ColumnChoice], source: str, full: Sequence[Any] | None = None
) -> dict[str, int]:
    """The position of the column of each role that is there.

    Parameters
    ----------
    headings : sequence
        As they stand in the table.
    chosen : mapping role → heading, position, False or None
        What the caller said.
    full : sequence, optional
        The headings with all of their levels, where they have several: a caller may name a column by these, too.

    Raises
    ------
    InvalidDataError
        If the user or the item column is not found; lists what is there and how to name it.
    InvalidParameterError
        If a column was named that is not there, or for two roles.

    Examples
    --------
    >>> recognize_columns(["Invoice No", "StockCode", "Qty", "CustomerID"], {}, "shop.csv")
    {'user': 3, 'item': 1, 'weight': 2, 'basket': 0}
    """
    normalized = [normalize_heading(heading) for heading in headings]
    found: dict[str, int] = {}
    for role, choice in chosen.items():
        if choice is None or choice is False:
            continue
        keyword = "time" if role == "clock" else role
        position = _find_choice(keyword, choice, headings, full or headings, source)
        if position in found.values():
            other = next(name for name, at in found.items() if at == position)
            raise InvalidParameterError(
                f"{keyword}={choice!r}: this column of {source} is named for {other} already. Name another one."
            )
        found[role] = position
    for role, names in KNOWN_HEADINGS.items():
        if role in found or chosen.get(role) is False:
            continue
        taken = set(found.values())
        for name in names:
            position = next((at for at, heading in enumerate(normalized) if heading == name and at not in taken), -1)
            if position >= 0:
                found[role] = position
                break
    absent = [role for role in ("user", "item") if role not in found]
    for role in absent:
        if chosen.get(role) is False:
            raise InvalidParameterError(f"{role}=False: a purchase has a user and an item. Name the column.")
    if absent:
        example = ", ".join(f"{role}={str(heading)!r}" for role, heading in zip(absent, headings, strict=False))
        raise InvalidDataError(
            f"{source}: no column is recognized as the {' or the '.join(absent)}. Found: {format_headings(headings)}. "
            f"Name {'them' if len(absent) > 1 else 'it'}, for example {example}; "
            "a file without a header line needs header=False and positions such as user=0, item=1."
        )
    return {role: found[role] for role in KNOWN_HEADINGS if role in found}


def is_position(choice: Any) -> bool:
    """Whether a caller's choice is a number, and not True or False."""
    return isinstance(choice, (int, np.integer)) and not isinstance(choice, (bool, np.bool_))


def _find_choice(role: str, choice: Any, headings: Sequence[Any], full: Sequence[Any], source: str) -> int:
    """The position of the column that a caller named."""
    if not (isinstance(choice, (str, tuple)) or is_position(choice)):
        listed = isinstance(choice, (Sequence, np.ndarray)) or hasattr(choice, "__array__")
        shown = f"a {type(choice).__name__}" if listed else repr(choice)
        remedy = "; ids for the rows and columns of a table of users × items go with layout='matrix'" if listed else ""
        raise InvalidParameterError(
            f"{role} is {shown}; it must be a heading of {source}, a position from 0, or False{remedy}. "
            f"It has {format_headings(full)}."
        )
    for names in (full, headings):
        for at, heading in enumerate(names):
            if type(heading) is type(choice) and heading == choice:
                return at
    if is_position(choice):
        same = [at for at, heading in enumerate(headings) if is_position(heading) and heading == choice]
        if same or 0 <= choice < len(headings):
            return same[0] if same else int(choice)
    else:
        wanted = normalize_heading(choice)
        for names in (full, headings):
            same = [at for at, heading in enumerate(names) if normalize_heading(heading) == wanted]
            if len(same) == 1:
                return same[0]
    near = get_close_matches(str(choice).casefold(), [str(heading).casefold() for heading in headings], 1, 0.6)
    meant = next((heading for heading in headings if near and str(heading).casefold() == near[0]), None)
    hint = "" if meant is None else f" Did you mean {meant!r}?"
    raise InvalidParameterError(
        f"{role}={choice!r}: {source} has no such column. It has {format_headings(full)}.{hint}"
    )


def repeated_columns(
    headings: Sequence[Any], places: Mapping[str, int], chosen: Mapping[str, ColumnChoice]
) -> dict[str, list[int]]:
    """For each role whose heading stands more than once, the positions of the other columns with this heading.

    A column that was chosen by its position, or by a spelling that only it has, is no other's double.

    Examples
    --------
    >>> repeated_columns(["user", "item", "User", "item"], {"user": 0, "item": 1}, {"user": "user"})
    {'item': [3]}
    """
    repeated = {}
    for role, place in places.items():
        choice, heading = chosen.get(role), headings[place]
        if is_position(choice) and not is_position(heading):
            continue
        if isinstance(choice, tuple) or (choice and normalize_heading(choice) != normalize_heading(heading)):
            continue  # one of several levels was named
        exact = choice is not None and choice == heading
        others = [
            at
            for at, other in enumerate(headings)
            if at != place
            and at not in places.values()
            and (other == heading if exact else normalize_heading(other) == normalize_heading(heading))
        ]
        if others:
            repeated[role] = others
    return repeated


def ignored_columns(headings: Sequence[Any], places: Collection[int]) -> list[str]:
    """The headings that are in no role, in the order of the table."""
    return [str(heading) for at, heading in enumerate(headings) if at not in places]
