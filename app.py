"""scDiff Studio: the app. `streamlit run app.py`; no logic lives here."""

from __future__ import annotations

from pages._shared import frame

frame.begin_app()
frame.navigation().run()
