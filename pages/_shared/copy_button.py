"""A button that copies a text to the clipboard, also where the page is not served over https."""

from __future__ import annotations

import streamlit as st

_HTML = '<button type="button"><span>Copy</span></button><span class="said" role="status"></span>'
_CSS = """
button { font: 400 0.875rem/1.6 var(--st-font, sans-serif); color: var(--st-text-color); cursor: pointer;
  background: var(--st-background-color); padding: 0.25rem 0.75rem; min-height: 2.5rem;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius, 0.5rem); }
button:hover, button:focus-visible { border-color: var(--st-primary-color); outline: none; }
button:focus-visible { box-shadow: 0 0 0 2px var(--st-primary-color); }
.said { font: 400 0.875rem/1 var(--st-font, sans-serif); color: var(--st-text-color); margin-left: 0.6rem; }
"""
# the clipboard of a page that came over plain http from another machine is reached by the older way alone
_JS = """
export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button"), said = parentElement.querySelector(".said");
  button.querySelector("span").textContent = data.label;
  button.onclick = async () => {
    let done = false;
    try { await navigator.clipboard.writeText(data.text); done = true; } catch {
      const field = document.createElement("textarea");
      field.value = data.text; document.body.append(field); field.select();
      done = document.execCommand("copy"); field.remove();
    }
    said.textContent = done ? "Copied" : "Could not copy: select the text and copy it";
    clearTimeout(button.timer);
    button.timer = setTimeout(() => { said.textContent = ""; }, 4000);
  };
}
"""
_BUTTON = st.components.v2.component("scdiff_copy_button", html=_HTML, css=_CSS, js=_JS)


def copy_button(text: str, key: str, label: str = "Copy") -> None:
    """Draw a button that copies `text` and says so."""
    _BUTTON(key=key, data={"text": text, "label": label}, width="content", height="content")
