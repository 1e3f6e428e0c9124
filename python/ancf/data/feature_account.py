"""What becomes of a table of attributes beside the ids of a purchase table."""

import numpy as np

from ancf.data.events import ItemTexts
from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.errors import InvalidDataError


def filled_texts(texts: ItemTexts | None, others: ItemTexts | None) -> ItemTexts | None:
    """Texts, with others where there is none."""
    if texts is None or others is None:
        return others if texts is None else texts
    return np.where(np.array([text is None for text in texts], bool), others, texts)


def account_of_features(features: Features, ids: IdMap, of: str) -> str:
    """One line about a table of attributes beside these ids.

    Raises
    ------
    InvalidDataError
        If it has none of them.
    """
    report, what = features.report, of[:-1]
    n_known = int((ids.positions(features.ids.values) >= 0).sum())
    if len(ids) and not n_known:
        hint = ids.hint(features.ids[0])
        raise InvalidDataError(
            f"{what}_features: none of the {features.n_rows:,} ids of {report.source} ({features.ids[0]!r}, …) is "
            f"{'an item' if of == 'items' else 'a user'} of this table ({ids[0]!r}, …). "
            + (f"{hint[0].upper()}{hint[1:]}: give" if hint else "Give")
            + " ids as they stand there. If their column is another one, rename it to 'id', or name it: "
            f"ancf.read_features(table, of={of!r}, id=...)."
        )
    parts = [f"{what} features of {report.source}: {features.n_rows:,} row{'' if features.n_rows == 1 else 's'}"]
    parts[0] += f": {features.describe()}"
    without = len(ids) - n_known
    for number, text in ((without, "without attributes"), (features.n_rows - n_known, "without a purchase")):
        if number:
            parts.append(f"{number:,} {what}{'' if number == 1 else 's'} {text}")
    parts += [str(each) for each in (*report.reasons, *report.notes)]
    if report.ignored:
        parts.append(f"nothing stands in {', '.join(report.ignored)}")
    return "; ".join(parts)
