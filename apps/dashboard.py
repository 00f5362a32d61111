"""The dashboard. It loads and draws; everything that is computed is computed by the library.

Started by ``mechbench dashboard``, which sets what ``apps.common.settings`` reads.
"""

import streamlit as st

from apps.common.settings import settings


def main() -> None:
    """Choose the page by the address, and draw it."""
    st.set_page_config(page_title="mechbench", layout="wide")
    if settings().login and not st.user.is_logged_in:
        st.title("mechbench")
        st.button("Log in", on_click=st.login)
        st.stop()
    page = st.navigation(
        {
            "": [st.Page("pages/start.py", title="Start", url_path="start", default=True)],
            "Explore": [
                st.Page("pages/prompts.py", title="Prompts", url_path="prompts"),
                st.Page("pages/patching.py", title="Patching", url_path="patching"),
                st.Page("pages/circuit.py", title="Circuit", url_path="circuit"),
            ],
            "Stored": [st.Page("pages/runs.py", title="Runs", url_path="runs")],
        }
    )
    page.run()


main()
