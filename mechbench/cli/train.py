"""``mechbench train``."""

from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a bundled recipe.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default trained/NAME.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run in the folder.")] = (
        False
    ),
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Change a value of the recipe; repeatable."),
    ] = None,
) -> None:
    """Train a small model from a recipe; it is deterministic and can be resumed."""
    from mechbench.cli.console import Bars, say, stdout
    from mechbench.experiments.overrides import apply_overrides
    from mechbench.training.loop import train as run_training
    from mechbench.training.recipe import load_recipe, recipe_from

    loaded = load_recipe(recipe)
    if set_:
        changed = apply_overrides(loaded.model_dump(mode="json"), tuple(set_))
        loaded = recipe_from(changed, f"{recipe!r} with --set")
    folder = out or Path("trained") / loaded.name
    command = " ".join(
        ["mechbench train", recipe, f"--out {folder}", *(f"--set {s}" for s in set_ or ())]
    )
    try:
        with Bars() as bars:
            bar = bars.add(loaded.name, loaded.steps)

            def on_step(done: int, total: int, metrics: dict[str, Any]) -> None:
                bars.update(bar, done, total)
                if "accuracy" in metrics:
                    accuracy = " ".join(f"{a:.3f}" for a in metrics["accuracy"])
                    say(f"step {done}/{total}  loss {metrics['loss']:.3f}  accuracy {accuracy}")

            trained = run_training(loaded, folder, resume=resume, on_step=on_step)
    except KeyboardInterrupt:
        say(f"Interrupted; the last checkpoint is kept. To go on: {command} --resume")
        raise typer.Exit(130) from None
    stdout.print(f"Trained {loaded.name}: {trained.folder}", markup=False)
