"""The dashboard. It loads and draws; everything that is computed is computed by the library.

Started by ``mechbench dashboard``, which sets what ``apps.common.settings`` reads. The folder of
pages is not called ``pages``: Streamlit serves such a one without this file, and so without login.
"""

import streamlit as st

from apps.common.settings import settings
from apps.common.state import PAGE


def main() -> None:
    """Choose the page by the address, and draw it."""
    st.set_page_config(page_title="mechbench", layout="wide")
    if settings().login and not st.user.is_logged_in:
        st.title("mechbench")
        st.button("Log in", on_click=st.login)
        st.stop()
    page = st.navigation(
        {
            "": [st.Page("views/start.py", title="Start", url_path="start", default=True)],
            "Explore": [
                st.Page("views/prompts.py", title="Prompts", url_path="prompts"),
                st.Page("views/patching.py", title="Patching", url_path="patching"),
                st.Page("views/circuit.py", title="Circuit", url_path="circuit"),
                st.Page("views/heads.py", title="Heads and tokens", url_path="heads"),
                st.Page("views/choice.py", title="Multiple choice", url_path="multiple-choice"),
                st.Page("views/hops.py", title="Multi-hop", url_path="multi-hop"),
                st.Page("views/routers.py", title="Routers and experts", url_path="routers"),
                st.Page("views/architectures.py", title="Architectures", url_path="architectures"),
            ],
            "Stored": [
                st.Page("views/runs.py", title="Runs", url_path="runs"),
                st.Page("views/figures.py", title="Figures", url_path="figures"),
            ],
        }
    )
    st.session_state[PAGE] = page.url_path
    page.run()


main()
