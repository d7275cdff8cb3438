"""What was found in a source: the checks, the columns and the part each of them plays."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages._shared.trouble import escape
from pages._shared.words import plural
from scdiff_core.config import Roles

ICONS = {
    "ok": ":material/check_circle:",
    "note": ":material/info:",
    "warning": ":material/warning:",
    "error": ":material/error:",
}
COLOURS = {"ok": "green", "note": "blue", "warning": "orange", "error": "red"}
ROLE_WORDS = {
    "cell_type": ("Cell type", "What each cell is, for example 'B cell'. Generated cells can be asked for by it."),
    "batch": ("Batch or donor", "A technical or personal difference: sample, donor, plate."),
    "perturbation": ("Perturbation", "What was done to a cell: a knock-out, a drug, a stimulus."),
    "dose": ("Dose", "How much of it, as numbers."),
    "time": ("Time", "When the cell was taken, as numbers."),
}


def show_findings(found: dict[str, Any]) -> None:
    """Draw the findings, the grave ones first, those that are well folded into one line."""
    st.markdown(f"**{plural(found['n_cells'], 'cell')} × {plural(found['n_genes'], 'gene')}** · {found['kind']}")
    order = {"error": 0, "warning": 1, "note": 2, "ok": 3}
    items = sorted(found["findings"], key=lambda f: order[f["level"]])
    for item in (f for f in items if f["level"] != "ok"):
        fix = f"  \n{escape(item['fix'])}" if item.get("fix") else ""
        st.markdown(
            f":{COLOURS[item['level']]}[{ICONS[item['level']]}] **{escape(item['title'])}**  \n"
            f"{escape(item['detail'])}{fix}"
        )
    well = [f for f in items if f["level"] == "ok"]
    if well:
        with st.expander(f"{plural(len(well), 'check')} passed", icon=ICONS["ok"]):
            for item in well:
                st.markdown(f"**{escape(item['title'])}** {escape(item['detail'])}")


def columns_table(columns: list[dict[str, Any]]) -> None:
    """Show every column of the source with its values."""
    rows = [
        {
            "column": c["name"],
            "kind": {"id": "identifier"}.get(c["kind"], c["kind"]),
            "different": c["n_unique"],
            "missing": c["n_missing"],
            "values": ", ".join(f"{v} ({n})" for v, n in c["values"][:12]) + ("…" if len(c["values"]) > 12 else ""),
        }
        for c in columns
    ]
    if rows:
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            height=min(360, 38 + 35 * len(rows)),
            column_config={"values": st.column_config.TextColumn(width="large")},
            alt="Columns of the file with their values",
        )
    else:
        st.caption("The file has no columns about its cells. Models can be trained without labels.")


def choose_roles(found: dict[str, Any], job_id: str) -> Roles:
    """Draw one choice a role, beginning with what was detected; returns the roles as chosen."""
    columns = {c["name"]: c for c in found["columns"]}
    usable = [n for n, c in columns.items() if c["kind"] != "id" and c["n_unique"] > 0]
    detected = found["roles"]
    chosen: dict[str, str | None] = {}
    for role, (label, explained) in ROLE_WORDS.items():
        options = [None, *usable]
        guess = detected.get(role)
        chosen[role] = st.selectbox(
            label,
            options,
            index=options.index(guess) if guess in options else 0,
            format_func=lambda x: "none" if x is None else x,
            key=f"prep_role_{role}_{job_id}",
            help=explained,
        )
        column = columns.get(chosen[role] or "")
        if column is not None:
            names = ", ".join(str(v) for v, _ in column["values"][:6])
            more = "…" if column["n_unique"] > 6 else ""
            missing = f" · {plural(column['n_missing'], 'cell')} without" if column["n_missing"] else ""
            shown = f"{plural(column['n_unique'], 'value')}: {names}{more}" if column["values"] else "numbers"
            st.caption(escape(shown) + missing)
        if role == "perturbation":
            chosen["control"] = None
            if column is not None:
                labels = [str(v) for v, _ in column["values"]]
                control = detected.get("control")
                chosen["control"] = st.selectbox(
                    "Control label",
                    [None, *labels],
                    index=1 + labels.index(control) if control in labels else 0,
                    format_func=lambda x: "none" if x is None else x,
                    key=f"prep_control_{job_id}_{chosen[role]}",
                    help="The label of the unperturbed cells.",
                )
    return Roles(**chosen)
