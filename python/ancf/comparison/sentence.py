"""The one sentence that says who won, by how much, and whether that is more than luck.

The best of several is chosen by the very figures that are tested, so the p-values are corrected for all pairs of
models. "More than luck" takes both tests below .05. Where the attention model is in the comparison and did not win, the
sentence begins with that.
"""

from collections.abc import Sequence

from ancf.comparison.pairs import Difference, lower_is_better


def format_p(p: float | None) -> str:
    """As it is usually written: three decimals, and no zero where it is below a thousandth."""
    return "–" if p is None else "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1"


def format_difference(value: float) -> str:
    """With its sign."""
    return f"{value:+.4f}" if round(value, 4) else "0.0000"


def verdict_sentence(
    lead: Difference | None, values: dict[str, float], ours: Sequence[str], metric: str, unfinished: Sequence[str]
) -> str:
    """The sentence about the best model and the one behind it.

    Parameters
    ----------
    lead : the best against the best of the others; None where there is only one
    values : model → value of the metric
    ours : the names of attention models
    unfinished : names without a result
    """
    left_out = f" ({_names(unfinished)} did not finish)" if unfinished else ""
    if lead is None:
        if not values:
            return f"No model has a result{left_out}."
        name, value = next(iter(values.items()))
        return f"{name} reaches {metric} {value:.4f}, and there is nothing else to hold it against{left_out}."
    best, second = lead.first, lead.second
    amount = _amount(lead, values)
    if not lead.value:
        return f"Nobody won: {best} and {second} have the same {metric}, {values[best]:.4f}{left_out}."
    our_best = max(
        (name for name in ours if name in values),
        key=lambda name: -values[name] if lower_is_better(metric) else values[name],
        default=None,
    )
    if our_best is not None and best not in ours:
        head = f"{our_best} lost: {best} is the best with {metric} {values[best]:.4f}"
        if second != our_best:
            head += f" ({our_best} {values[our_best]:.4f})"
        return f"{head}, {amount}, {_luck(lead)}{left_out}."
    return f"{best} won with {metric} {values[best]:.4f}, {amount}, {_luck(lead)}{left_out}."


def ablation_sentence(
    whole: Sequence[Difference], steps: Sequence[Difference], metric: str, unfinished: Sequence[str]
) -> str:
    """What attention adds as a whole, and what each piece does.

    Parameters
    ----------
    whole : the best piece against those that have no attention
    steps : each piece against the one it is added to
    """
    left_out = f" ({_names(unfinished)} did not finish)" if unfinished else ""
    if not steps:
        return f"No two pieces have a result{left_out}."
    parts = []
    if whole:
        against = [
            f"{abs(each.value):.4f} {'below' if each.value < 0 else 'above'} {each.second} ({_interval(each)}"
            f"{'more than luck' if each.more_than_luck else 'may be luck'})"
            for each in whole
        ]
        parts.append(f"{whole[0].first} has the best {metric}, {_names(against)}")
    certain = [
        f"{each.first} {f'adds {abs(each.value):.4f} to' if each.is_better else f'takes {abs(each.value):.4f} from'} "
        f"{each.second}"
        for each in steps
        if each.more_than_luck
    ]
    open_ones = [each.first for each in steps if not each.more_than_luck]
    if certain:
        parts.append(f"piece by piece, {_names(certain)}, more than luck")
    if open_ones:
        parts.append(f"what {_names(open_ones)} {'changes' if len(open_ones) == 1 else 'change'} may be luck")
    text = f"{'; '.join(parts)}{left_out}."
    return text if whole else f"In {metric}, {text}"


def _amount(lead: Difference, values: dict[str, float]) -> str:
    other = values[lead.second]
    percent = f"{100 * abs(lead.value / other):.0f} %" if other else ""
    relation = "below" if lower_is_better(lead.metric) else "above"
    size = f"{abs(lead.value):.4f}"
    interval = f" ({_interval(lead).removesuffix(', ')})" if lead.interval else ""
    share = f" or {percent}" if percent and percent != "0 %" else ""
    return f"{size}{share} {relation} {lead.second}{interval}"


def _interval(each: Difference) -> str:
    if each.interval is None:
        return ""
    return f"95 % interval {each.interval[0]:.4f} to {each.interval[1]:.4f}, "


def _luck(lead: Difference) -> str:
    verdict = lead.more_than_luck
    if verdict is None:
        return "and there are too few customers to tell whether that is more than luck"
    corrected = f", corrected for {lead.n_pairs} pairs of models" if lead.n_pairs > 1 else ""
    tests = ", ".join(
        f"{name} p {'' if text.startswith('<') else '= '}{text}"
        for name, text in (("paired t", format_p(lead.p_t)), ("Wilcoxon", format_p(lead.p_wilcoxon)))
        if text != "–"
    )
    return f"{'and that is more than luck' if verdict else 'but that may be luck'} ({tests}{corrected})"


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
