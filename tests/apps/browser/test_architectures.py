"""The page of architectures in a browser: opened, restored by its link, without HTML of cards."""

from tests.apps.browser.pages import picture, query, settled


def test_models_are_compared_and_the_choice_is_a_link(server, user):
    page = user()
    page.goto(f"{server[0]}/architectures?models=mixed-gpt2,mixed-mod&card=mixed-mod")
    page.wait_for_selector("text=Settings side by side", timeout=90000)
    page.wait_for_selector("h1:has-text('mixed-mod')", timeout=90000)  # the card
    settled(page)
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    assert query(page)["models"] == "mixed-gpt2,mixed-mod" and query(page)["card"] == "mixed-mod"
    assert page.locator("script:has-text('mixed')").count() == 0
    picture(page, "architectures")
