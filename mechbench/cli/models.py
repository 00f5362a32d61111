"""``mechbench models``."""

from typing import Annotated, Any

import typer


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Everything as JSON on stdout, unrounded.")
    ] = False,
) -> None:
    """List the architectures and the models that can be loaded by name.

    What can be inspected are the analyses that look at what only an architecture has; all others
    (README) run on every one. Accuracies stand beside those of the dense control that was trained
    on the same text.
    """
    import json

    from mechbench.cli.console import stdout
    from mechbench.experiments.catalogue import architectures, bundled_entries
    from mechbench.models.bundled import models_folder
    from mechbench.models.hub import GPT2_FAMILY
    from mechbench.resources import PLANTED

    found: dict[str, Any] = {
        "architectures": architectures(),
        "bundled": bundled_entries(),
        "planted": list(PLANTED),
        "hub": list(GPT2_FAMILY),
    }
    if as_json:
        stdout.print(json.dumps(found, indent=1), markup=False, soft_wrap=True)
        return
    from mechbench.cli.catalogue_tables import accuracy_tables, architecture_table, model_table
    from mechbench.cli.summary import print_table

    print_table(architecture_table(found["architectures"]))
    print_table(model_table(found["bundled"]))
    for table in accuracy_tables(found["bundled"]):
        print_table(table)
    for line in (
        f"Cards: {models_folder()}/NAME/card.md",
        f"Constructed, with a known true circuit and a task of the same name: {', '.join(PLANTED)}",
        f"From the Hugging Face hub or its cache: {', '.join(GPT2_FAMILY)}",
        "A folder of mechbench or of Hugging Face, a file of named matrices (.npz or "
        ".safetensors), and owner/name of any causal language model on the hub, can be given "
        "instead of a name.",
    ):
        stdout.print(line, markup=False)
