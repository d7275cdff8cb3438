"""What a page asks for, to take along: as the command that does the same, and as the yaml that `run` reads."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages._shared.copy_button import copy_button
from scdiff_core.command_words import command, file_name
from scdiff_core.config import TrainConfig, to_yaml


def copies(config: Any, key: str, base: TrainConfig | None = None) -> None:
    """Draw the popover that copies a configuration as command and as yaml; `base` as `command_words.command` has it."""
    with st.popover("Command and YAML", icon=":material/terminal:", type="tertiary", key=f"{key}-copies",
                    on_change="rerun") as opened:
        if not opened.open:  # what is shut takes its time at every change of page
            return
        words, name = command(config, base), file_name(config)
        text = to_yaml(config)
        with st.container(horizontal=True, gap="small", width=560):
            copy_button(words, key=f"{key}-command", label="Copy as command")
            copy_button(text, key=f"{key}-yaml", label="Copy as YAML")
            st.download_button("Save as file", text, name, "application/yaml", key=f"{key}-file", on_click="ignore",
                               icon=":material/download:")
        st.code(words, language="bash", wrap_lines=True)
        st.caption(f"It does the same on the command line. So does `python -m scdiff_core run {name}` with the file.")
