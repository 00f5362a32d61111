"""Training recipes: what is trained, on what, for how long. YAML under ``data/recipes/``."""

from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError
from tokenizers import Tokenizer

from mechbench.errors import SpecError, did_you_mean
from mechbench.models.registry import variant
from mechbench.resources import bundled
from mechbench.training.corpus_kind import CorpusSection, Section, TextSection
from mechbench.training.kinds import DEFAULT_KIND, KINDS, kind_called


def _kind(corpus: Any) -> str:
    """The kind of a corpus; a mapping that names none means the default."""
    given = corpus.get("kind", DEFAULT_KIND) if isinstance(corpus, dict) else corpus.kind
    return str(given)


if TYPE_CHECKING:  # the union is of whatever kinds there are
    CorpusRecipe = CorpusSection
else:
    CorpusRecipe = Annotated[
        Union[tuple(Annotated[kind.section, Tag(kind.name)] for kind in KINDS)],  # noqa: UP007
        Discriminator(_kind),
    ]


class OptimiserRecipe(Section):
    """AdamW with linear warm-up, then a cosine down to ``final_share`` of the learning rate."""

    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(100, ge=0)
    final_share: float = Field(0.1, ge=0, le=1)
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.98, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)


class EvaluationRecipe(Section):
    """Held-out prompts, of each task where the corpus has several, every ``every`` steps."""

    every: int = Field(50, ge=1)
    prompts: int = Field(512, ge=1)


class Recipe(Section):
    """Everything that determines a training run.

    Attributes:
        model: ``variant`` and the fields of its config; ``d_vocab`` is the tokenizer's.
        initial_scale: factor on the architecture's initial weight matrices; a narrow model
            starts to attend sooner when they are larger.
        frozen: ends of the names of weights that keep their initial values (``mlp.b_out``).
        notes: what the card says in words.
        snapshots: steps whose weights are kept in half precision, besides the last.
    """

    name: str
    seed: int = Field(0, ge=0)
    steps: int = Field(ge=1)
    tokenizer: str
    model: dict[str, Any]
    initial_scale: float = Field(1.0, gt=0)
    frozen: tuple[str, ...] = ()
    notes: str = ""
    corpus: CorpusRecipe
    optimiser: OptimiserRecipe
    evaluation: EvaluationRecipe
    checkpoint_every: int = Field(50, ge=1)
    snapshots: tuple[int, ...] = ()

    def load_tokenizer(self) -> Tokenizer:
        """The bundled tokenizer that the recipe names."""
        return Tokenizer.from_file(str(_tokenizer_file(self.tokenizer)))

    def model_config_for(self, tokenizer: Tokenizer) -> Any:
        """The variant's config, with the tokenizer's vocabulary."""
        values = {key: value for key, value in self.model.items() if key != "variant"}
        config = variant(self.model["variant"]).config
        return config(**values, d_vocab=tokenizer.get_vocab_size())


def load_recipe(source: str | Path) -> Recipe:
    """The recipe of a YAML file, or of a bundled name such as ``acronyms-gpt2``.

    Raises:
        SpecError: no such file or bundled recipe, no valid YAML, unknown keys (the nearest valid
            key is named), or values out of range; every problem is listed.
    """
    path = _find(source)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"The recipe {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise SpecError(f"The recipe {path} must be a mapping of keys to values.")
    return recipe_from(content, str(path))


def recipe_from(content: dict[str, Any], origin: str = "given") -> Recipe:
    """The recipe of a mapping; ``origin`` is named in errors.

    Raises:
        SpecError: as ``load_recipe``.
    """
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_problem(e) for e in error.errors())
        raise SpecError(f"The recipe {origin} does not validate: {problems}") from error
    problems = _problems_across_sections(recipe)
    if problems:
        raise SpecError(f"The recipe {origin} does not validate: {'; '.join(problems)}")
    return recipe


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    folder = bundled("data") / "recipes"
    known = sorted(p.stem for p in folder.glob("*.yaml"))
    if str(source) in known:
        return folder / f"{source}.yaml"
    raise SpecError(
        f"There is no recipe {str(source)!r}: neither a file nor a bundled recipe. "
        f"{did_you_mean(str(source), known)}"
    )


def _problem(error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    section: Any = Recipe
    if location[0] == "corpus" and len(location) > 1:
        section = kind_called(location.pop(1)).section  # pydantic names the kind here
    elif len(location) > 1:
        section = Recipe.model_fields[location[0]].annotation
    where = ".".join(location)
    if error["type"] == "extra_forbidden":
        return f"{where} is not a key. {did_you_mean(location[-1], section.model_fields)}"
    if error["type"] == "union_tag_invalid":
        known = [kind.name for kind in KINDS]
        return f"{where}.kind: none is called {_kind(error['input'])!r}. Use one of {known}."
    return f"{where}: {error['msg']} (given: {error['input']!r})"


def _problems_across_sections(recipe: Recipe) -> list[str]:
    """What pydantic cannot see: the variant's fields, names of files, steps."""
    problems = []
    if "variant" not in recipe.model:
        return ["model.variant is missing: name an architecture, such as 'gpt2'."]
    known = {f.name: f for f in fields(variant(recipe.model["variant"]).config)}
    allowed = known.keys() - {"d_vocab"}
    for key in recipe.model:
        if key not in allowed | {"variant"}:
            problems.append(f"model.{key} is not a key. {did_you_mean(key, allowed)}")
    required = {
        name
        for name in allowed
        if known[name].default is MISSING and known[name].default_factory is MISSING
    }
    for key in sorted(required - recipe.model.keys()):
        problems.append(f"model.{key} is missing.")
    context = recipe.model.get("n_ctx", 0)
    if isinstance(context, int) and recipe.corpus.longest > context:
        problems.append(
            f"{_longest(recipe.corpus)} is {recipe.corpus.longest}, but model.n_ctx is "
            f"{context}: shorten the sequences or lengthen the context."
        )
    if not _tokenizer_file(recipe.tokenizer).is_file():
        known = [p.parent.name for p in (bundled("data") / "tokenizers").glob("*/tokenizer.json")]
        problems.append(
            f"tokenizer: none is called {recipe.tokenizer!r}. "
            f"{did_you_mean(recipe.tokenizer, known)}"
        )
    outside = [step for step in recipe.snapshots if not 0 <= step <= recipe.steps]
    if outside:
        problems.append(
            f"snapshots: {outside} are not steps of a run of {recipe.steps} steps: "
            "leave them out, or train longer."
        )
    return problems


def _longest(corpus: CorpusSection) -> str:
    """What a reader of the recipe calls its longest row."""
    if isinstance(corpus, TextSection):
        return "corpus.sequence_length"
    return f"the longest row of the corpus {corpus.kind!r}"


def _tokenizer_file(name: str) -> Path:
    return bundled("data") / "tokenizers" / name / "tokenizer.json"
