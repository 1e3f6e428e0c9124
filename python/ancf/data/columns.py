"""Which column of a purchase table is which: recognized by name, in the languages and spellings that shops use.

A heading is compared without case, spaces and punctuation (``Customer ID`` = ``customer_id`` = ``CustomerID``).
A column has at most one role. What is not recognized can be named.
"""

from collections.abc import Mapping, Sequence
from typing import Any

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
    "basket": (
        *("basketid", "invoiceno", "invoice", "orderid", "invoiceid", "invoicenumber", "transactionid", "sessionid"),
        *("basket", "ordernumber", "orderno", "order", "receiptid", "receipt", "ticketid", "cartid", "session"),
        *("transaction", "bestellnummer", "belegnummer", "rechnungsnummer"),
    ),
}
"""Normalized headings for each role, most preferred first."""

ColumnChoice = str | int | bool | None
"""How a caller names a column: its heading, its position from 0, False for none, None to have it recognized."""

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


def recognize_columns(headings: Sequence[Any], chosen: Mapping[str, ColumnChoice], source: str) -> dict[str, int]:
    """The position of the column of each role that is there.

    Parameters
    ----------
    headings : sequence
        As they stand in the table.
    chosen : mapping role → heading, position, False or None
        What the caller said.

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
        if isinstance(choice, int) and not isinstance(choice, bool) and choice not in headings:
            position = choice if 0 <= choice < len(headings) else -1
        else:
            position = next((at for at, heading in enumerate(headings) if heading == choice), -1)
            if position < 0:
                same = [at for at, heading in enumerate(normalized) if heading == normalize_heading(choice)]
                position = same[0] if len(same) == 1 else -1
        if position < 0:
            raise InvalidParameterError(
                f"{keyword}={choice!r}: {source} has no such column. It has {format_headings(headings)}."
            )
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
    if absent:
        example = ", ".join(f"{role}={str(heading)!r}" for role, heading in zip(absent, headings, strict=False))
        raise InvalidDataError(
            f"{source}: no column is recognized as the {' or the '.join(absent)}. Found: {format_headings(headings)}. "
            f"Name {'them' if len(absent) > 1 else 'it'}, for example {example}; "
            "a file without a header line needs header=False and positions such as user=0, item=1."
        )
    return {role: found[role] for role in KNOWN_HEADINGS if role in found}
