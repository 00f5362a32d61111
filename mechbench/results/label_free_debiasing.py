"""Result of taking out a bias towards a label without looking at right labels."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

METHOD, CALIBRATED, CHOSEN_EDIT = "debiasing", "calibrated labels", "chosen edit"
SAME_RANDOM = "same edit, random neurons"
KIND, N_NEURONS, LAMBDA = "kind", "n_neurons", "lambda"
REMOVED, LEVELLED = "first label removed", "moved to later labels"
KINDS = (REMOVED, LEVELLED)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelFreeDebiasing(Result):
    """Debiasing that is chosen on calibration prompts by the labels' distribution alone.

    Nothing but "right label" uses right labels (``uses_right_label``), and only to be compared
    with; ``statement`` says what the others assume. The axis ``debiasing``: "no edit"; "calibrated
    labels", which subtracts from each label's log-probability its mean over the calibration prompts
    that offer it (``offsets`` (option), nats, mean zero); "chosen edit", the edit of value vectors
    that makes the labels most even; the same on random active neurons (``n_random`` draws,
    averaged; the control); and Li and Gao's "right label" edit of the same neurons.

    ``rates`` (estimate measure debiasing argmax items) are shares of the test prompts, "accuracy"
    and "answered first label", on those that fail, whose right option is the first, a later one,
    and all; ``n`` (items) counts them. ``gain`` (estimate debiasing argmax items) is the accuracy
    minus that without an edit, paired by prompt. ``answers`` (estimate debiasing argmax answered)
    are the shares of all answers.

    ``neurons`` are the candidates, largest direct pull to the first label first; ``pull`` (neuron)
    is that mean in logits over the calibration prompts, against the mean of the later labels.
    ``unevenness`` (kind n_neurons lambda) is what the choice minimises on ``n_calibration``
    prompts: the total variation distance between the mean probabilities of the labels and of
    anything else, and those of a model that spreads all on the labels evenly;
    ``unevenness_unedited`` is the model's own. ``chosen`` names the edit (kind, n_neurons, lambda).

    Intervals are 95 % bootstrap intervals over the test prompts that a number is about.
    """

    statement: str
    uses_right_label: dict[str, bool]
    rates: xr.DataArray
    gain: xr.DataArray
    answers: xr.DataArray
    n: xr.DataArray
    n_calibration: int
    n_random: int
    neurons: tuple[str, ...]
    pull: xr.DataArray
    offsets: xr.DataArray
    unevenness: xr.DataArray
    unevenness_unedited: float
    chosen: dict[str, str | int | float]
