"""From a cell of a sweep into the basket, on a bundled model; the README shows its pictures."""

from apps.common.specs import one_step
from mechbench.experiments.runner import run_experiment
from mechbench.figures.basket import Basket
from tests.apps.browser.pages import picture, query, settled
from tests.apps.browser.readme_pictures import FOLDER, MOST_BYTES, NAMES
from tests.apps.conftest import APP


def test_a_cell_of_a_sweep_is_collected_for_a_paper(server, user):
    address, store = server
    task = {"name": "acronyms", "n": 8, "seed": 0}
    spec = one_step("patching", "Patching z, noise", "acronyms-gpt2", task, "patch_sweep", site="z")
    run_id = run_experiment(spec, store).run_id
    page = user()
    page.goto(f"{address}/patching?run={run_id}&layer=1&place=6")
    page.wait_for_selector("text=z of layer 1, head 6", timeout=60000)
    settled(page)
    picture(page, NAMES[0])
    page.get_by_text("Show the patch as a figure").click()
    page.get_by_role("button", name="Add to basket").first.click()
    page.wait_for_selector("text=now has 1 figure", timeout=20000)
    page.get_by_role("link", name="Start").first.click()
    page.wait_for_selector("text=Which parts of a transformer", timeout=20000)
    settled(page)
    page.get_by_role("button", name="Add to basket").first.click()
    page.wait_for_selector("text=now has 2 figures", timeout=20000)
    page.get_by_role("link", name="Figures").first.click()
    page.wait_for_selector("text=2. Heads, current word corrupted", timeout=20000)
    settled(page)
    page.get_by_role("radio", name="text (6.75 in)").first.check(force=True)
    page.wait_for_function(
        "document.querySelector('[data-testid=stImage] img').naturalWidth > 1200", timeout=20000
    )
    settled(page)
    picture(page, NAMES[1])
    basket = Basket.load(store.root / "baskets" / f"{query(page)['basket']}.basket.json")
    first, second = basket.entries
    assert first.preset == "text" and second.source == "dashboard /"
    source = first.source.split()[1]
    assert source.startswith("/patching?") and f"run={run_id}" in source and "place=6" in source
    page.goto(address + source)
    page.wait_for_selector("text=z of layer 1, head 6", timeout=60000)


def test_the_pictures_of_the_readme_are_there_and_small():
    text = (APP.parents[1] / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        path = FOLDER / f"{name}.png"
        assert f"apps/screenshots/{path.name}" in text
        assert 10_000 < path.stat().st_size < MOST_BYTES
