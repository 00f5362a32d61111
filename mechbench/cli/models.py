"""``mechbench models``."""


def models() -> None:
    """List the models that can be loaded by name."""
    from rich.table import Table

    from mechbench.cli.console import stdout
    from mechbench.models.hub import GPT2_FAMILY
    from mechbench.models.loading import bundled_models
    from mechbench.resources import PLANTED

    table = Table(box=None, pad_edge=False)
    for column in ("name", "what it is", "snapshots"):
        table.add_column(column)
    for model in bundled_models():
        table.add_row(model.name, model.summary, ", ".join(map(str, model.snapshots)) or "none")
    for name in PLANTED:
        table.add_row(
            name, "constructed; its true circuit is known, its task has the same name", "none"
        )
    for name in GPT2_FAMILY:
        table.add_row(name, "from the Hugging Face hub or its cache", "none")
    stdout.print(table)
    stdout.print(
        "\nA folder of mechbench or of Hugging Face, a file of named matrices (.npz or "
        ".safetensors), and owner/name of any causal language model on the hub, can be given "
        "instead of a name."
    )
