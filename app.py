"""scDiff Studio: which pages there are, in the order of the work. No logic lives here."""

from __future__ import annotations

import streamlit as st

from pages._shared import context
from pages._shared.trouble import guard
from pages._shared.worker import prewarm

st.set_page_config(page_title="scDiff Studio", page_icon="assets/icon.svg", layout="wide",
                   initial_sidebar_state="collapsed")

PAGES = [
    st.Page("pages/home.py", title="Home", icon=":material/home:", url_path="home", default=True),
    st.Page("pages/data.py", title="Data", icon=":material/dataset:", url_path="data"),
    st.Page("pages/train.py", title="Train", icon=":material/model_training:", url_path="train"),
    st.Page("pages/generate.py", title="Generate", icon=":material/auto_awesome:", url_path="generate"),
    st.Page("pages/runs.py", title="Runs", icon=":material/table_rows:", url_path="runs"),
]
page = st.navigation(PAGES, position="top")
st.html("assets/style.css")
with guard():
    context.start_of_server(str(context.workspace().root))
    prewarm(str(context.workspace().root))
    context.read_url()
    context.strip()
    page.run()
