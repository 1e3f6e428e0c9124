"""The columns that engines get, as types of Arrow."""

from typing import Any

from ancf import _text
from ancf.data.ids import IdMap
from ancf.errors import InvalidDataError
from ancf.models.base import Recommender


def id_type(ids: IdMap) -> Any:
    """The type of a column of these ids; UUIDs are text there."""
    import pyarrow as pa

    return {"int": pa.int64(), "bytes": pa.binary()}.get(ids.kind, pa.string())


def lists_schema(model: Recommender) -> Any:
    """The columns of ``model.recommend(...).to_arrow()``."""
    import pyarrow as pa

    fields = [("user_id", id_type(model.user_ids_)), ("item_id", id_type(model.item_ids_))]
    if model.item_names_ is not None:
        fields.append(("name", pa.string()))
    return pa.schema([*fields, ("score", pa.float32()), ("rank", pa.int64()), ("source", pa.string())])


def id_kind(column_type: Any) -> str:
    """What a column of this type holds: "int", "str", "bytes", or what else it is called."""
    import pyarrow as pa

    if pa.types.is_dictionary(column_type):
        return id_kind(column_type.value_type)
    if pa.types.is_integer(column_type):
        return "int"
    if pa.types.is_string(column_type) or pa.types.is_large_string(column_type) or pa.types.is_string_view(column_type):
        return "str"
    if pa.types.is_binary(column_type) or pa.types.is_large_binary(column_type) or pa.types.is_binary_view(column_type):
        return "bytes"
    return str(column_type)


def check_column(what: str, column: str, kind: str, type_name: str, ids: IdMap) -> None:
    """Refuse a column whose type the model's ids cannot have: text where they are numbers would be no user at all.

    ``kind`` is what the column holds ("int", "str" or "bytes", else its own name), ``type_name`` what it is called.
    """
    wanted = "str" if ids.kind == "uuid" else ids.kind
    if kind != wanted:
        words = {"int": "whole numbers", "str": "text", "bytes": "bytes"}
        raise InvalidDataError(
            f"{what}: the column {column!r} is {type_name}, but the ids of the model are {words[wanted]} "
            f"({_text.format_list(ids.values[:3])}). Cast the column to {words[wanted]} as the training table had them."
        )
