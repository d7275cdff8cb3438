"""scDiff Studio: which pages there are, in the order of the work. No logic lives here."""

from __future__ import annotations

import streamlit as st

from pages._shared import frame

frame.begin_app()
PAGES = [
    st.Page("pages/home.py", title="Home", icon=":material/home:", url_path="home", default=True),
    st.Page("pages/data.py", title="Data", icon=":material/dataset:", url_path="data"),
    st.Page("pages/train.py", title="Train", icon=":material/model_training:", url_path="train"),
    st.Page("pages/generate.py", title="Generate", icon=":material/auto_awesome:", url_path="generate"),
    st.Page("pages/runs.py", title="Runs", icon=":material/table_rows:", url_path="runs"),
]
st.navigation(PAGES, position="top").run()
