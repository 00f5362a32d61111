"""Result of measuring how often the first label is answered where it is wrong."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

ACCURACY_FIRST, ACCURACY_LATER = "accuracy, gold first", "accuracy, gold later"
ARTICLE_TOP, ARTICLE_PROBABILITY = "likeliest token", "probability"


@dataclass(frozen=True, kw_only=True, eq=False)
class AnchoredBias(Result):
    """Shares of prompts, by labels, by argmax and by set.

    The axis ``labels`` names label families by their first label; the first entry is the task's
    own (``own``, with the labels in order), the others are the same questions under other labels.
    ``left_out`` says of families that could not be used why. The axis ``argmax`` tells the answer
    by the likeliest token of the whole vocabulary ("any token") from that by the likeliest of the
    labels that the prompt offers ("offered labels").

    ``rates`` (estimate measure labels argmax set): "anchored" is the share answered with the first
    label among prompts whose right option is not the first; "accuracy" over all prompts, and over
    those whose right option is the first, and is a later one. ``n`` (items set) counts prompts.
    ``wrong`` (estimate labels argmax option) is the share answered with each option among prompts
    that offer it and in which it is wrong: later options are the control of the first one.
    ``chance`` (set) is the mean of 1 / options over prompts whose right option is not the first.

    ``without_article`` (estimate labels argmax) is the anchored rate under the own labels minus
    that under other ones, paired by prompt: the part that is due to the token and not to the
    place. ``article`` (estimate measure labels) is how likely the own first label's token is under
    each family of labels: share of prompts in which it is the likeliest token, and mean
    probability; under other labels it is no label, so what is left is a prior of the token.

    ``confusion`` (labels argmax gold answered) counts prompts; options go by place, under the own
    labels' names, and "other token" is an answer that is no offered label. ``failing`` are the
    indices of the prompts that fail: the right option is not the first, and the likeliest token of
    the vocabulary is the own first label.

    Intervals are 95 % bootstrap intervals over the prompts that a share is about.
    """

    own: tuple[str, ...]
    left_out: dict[str, str]
    rates: xr.DataArray
    n: xr.DataArray
    wrong: xr.DataArray
    chance: xr.DataArray
    without_article: xr.DataArray
    article: xr.DataArray
    confusion: xr.DataArray
    failing: tuple[int, ...]
