"""What the core needs to make a user's list by itself, from the rows of the journal to JSON (``_core.ListMaker``).

That is the short form of ``ServedModel.recommend`` for what is asked most, and its bytes are the same: a list without
filters and rules, of a user whose events since then add to their history. The core says where it is not enough, and
then the general way is asked.
"""

import msgspec

from ancf import _native
from ancf.scoring.scorer import Scorer
from ancf.serving.counting import Counting
from ancf.serving.item_texts import ItemTexts

_KINDS = ("int", "str")
"""Ids that the core reads from a text."""


def make_list_maker(
    scorer: Scorer,
    counting: Counting,
    texts: ItemTexts,
    variant: str,
    version: str,
) -> "_native.ListMaker | None":
    """That of a model; None where its lists need more."""
    is_special = any(each is not None for each in (scorer.past, scorer.stock, scorer.rejected, scorer.unbought))
    if is_special or not {scorer.user_ids.kind, scorer.item_ids.kind} <= {*_KINDS}:
        return None
    known = scorer.purchases
    encoded = msgspec.json.encode({"variant": variant, "model_version": version})
    return _native.ListMaker(
        scorer.ranker,
        scorer.user_ids.native_index,
        scorer.item_ids.native_index,
        (texts.ids, texts.names if texts.has_names else None, texts.categories if texts.has_categories else None),
        scorer.seen,
        has_all=scorer.had is scorer.seen,
        purchases=None if known is None else (known.counts, known.weights, known.times, known.until),
        counted=known is not None and known.times is not None and scorer.encoder.counts_purchases,
        folding=scorer.encoder.folding(scorer),
        weights=counting.weights.known,
        seq=counting.seq,
        until=counting.until,
        ending=b'],%b,"took_ms":' % encoded[1:-1],
    )
