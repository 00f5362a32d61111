"""The queries of the page Multi-hop: of the generated world, or of a file that a user brings."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.specs import prompts_file
from apps.common.subject import subject
from apps.common.text import plain
from apps.parts.hops import FILE_OF_HOPS, GENERATED_HOPS, USUAL, offered
from mechbench.errors import TaskError
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import Run
from mechbench.tasks.kept_queries import MOST_MEGABYTES, MOST_ROWS, keep_queries, kept_queries

_FILE = state.Hex("file", 16)
_KINDS = ("train", "id_test", "id_ood", "ood_id", "ood_ood")
_FAMILIES = ("relation_first", "entity_first")
_AS_TRAINED = "as trained"
_READS_AT_IS = ("twohop-is",)  # bundled models whose one hop is answered behind "is"
_LAYOUT = (
    "Columns e1_label, e2_label, e3_label; r1_template ('the performer of {}') or r1_label, and "
    "the same of r2; optionally e1_aliases and so on, e2_type, kind, source_prompt: the layout of "
    f"Biran et al. 2024. At most {MOST_MEGABYTES} MB and {MOST_ROWS} rows."
)


def queries(run: Run | None) -> tuple[str, dict[str, Any]] | None:
    """The model's name and the task of a spec; None where a file is still to be brought."""
    usual = {} if run is None else ExperimentSpec.model_validate(run.spec).task.params
    model, part = subject(
        run,
        tasks=(GENERATED_HOPS, FILE_OF_HOPS),
        offered=offered(),
        usual=USUAL,
        unseeded=(FILE_OF_HOPS,),
        weights="Its weights are taken as they are.",
    )
    if part["name"] == FILE_OF_HOPS:
        params = _of_file(usual)
        return None if params is None else (model, {**part, "params": params})
    return model, {**part, "params": _of_world(model, usual)}


def _of_world(model: str, usual: dict[str, Any]) -> dict[str, Any]:
    left, right = st.columns(2)
    with left:
        kinds = state.several(
            "Chains",
            state.Several("kinds", _KINDS, tuple(usual.get("kinds", ("id_test",)))),
            help="Which facts the two hops use: id_test are compositions that training left out; "
            "ood facts were trained as one hop only (Wang et al. 2024, grokked transformers).",
        )
    with right:
        one_hop = state.select(
            "One hop is read",
            state.Choice(
                "one_hop",
                (_AS_TRAINED, "entity", "is", "english"),
                usual.get("one_hop", _AS_TRAINED),
            ),
            help="Where the answer of a single hop is read: at the entity itself, or behind 'is'. "
            "It must be as the model was trained; english makes whole phrases, for models of "
            "natural text.",
        )
    if one_hop == _AS_TRAINED:
        one_hop = "is" if model in _READS_AT_IS else "entity"
    return {"kinds": list(kinds), "one_hop": one_hop}


def _of_file(usual: dict[str, Any]) -> dict[str, Any] | None:
    family = state.select(
        "Second relation",
        state.Choice("family", _FAMILIES, usual.get("family", _FAMILIES[0])),
        help="relation_first: 'the spouse of {}'. entity_first: '{} is married to', which then "
        "ends the prompt (Biran et al. 2024).",
    )
    brought = st.file_uploader(
        "File of queries",
        type=["csv", "jsonl"],
        max_upload_size=MOST_MEGABYTES,
        key="hops-file",
        help=_LAYOUT,
    )
    folder = prompts_file("x").parent
    if brought is not None:
        state.write(file=keep_queries(brought.name, brought.getvalue(), folder).stem)
    queries_id = state.read(_FILE)
    if queries_id:
        try:
            path = kept_queries(queries_id, folder)
        except TaskError as error:
            st.warning(plain(str(error)))
            return None
        st.caption(plain(f"Kept as {path.name}; the address names it."))
        return {"path": str(path), "family": family}
    if "path" in usual:
        return {"path": usual["path"], "family": family}
    st.info(plain(f"Bring a CSV or JSONL file of queries. {_LAYOUT}"))
    return None
