"""What a prediction rests on, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scdiff_core.analysis.perturb.kernels import Item

if TYPE_CHECKING:
    from scdiff_core.analysis.perturb.response import ResponseModel


def how(model: ResponseModel, item: Item, kind: str) -> str:
    """Say what the prediction of an arm rests on, by its kind (see `ResponseModel.kind`)."""
    p = item.perturbation
    if kind == "measured":  # in the type of the cells, whichever it is: several types share the sentence
        return "measured in training; the noise of its cells is taken out with the help of the others"
    if kind == "dose":
        doses = sorted({i.dose for i in model.items if i.perturbation == p and i.dose is not None})
        span = f"{doses[0]:g} to {doses[-1]:g}" if doses else "other doses"
        beyond = bool(doses) and item.dose is not None and not doses[0] <= item.dose <= doses[-1]
        return f"measured at {span}; {'beyond' if beyond else 'between'} these doses, along its curve"
    if kind == "type":
        others = sorted({i.cell_type for i in model.items if i.perturbation == p})
        shown = ", ".join(others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
        return f"measured in other types ({shown}), which count by how near their controls are"
    if kind == "both":
        return "sum of " + ("two measured singles" if len(p.parts) == 2 else "measured singles") + ", shrunk"
    alone = {i.perturbation for i in model.items}
    seen = [s.label for s in p.singles() if s in alone]
    new = [s.label for s in p.singles() if s.label not in seen]
    told = _told(model, item, new)
    if kind == "some":
        return f"{', '.join(seen)} measured alone; {', '.join(new)} from {told}"
    return f"kernel ridge: {', '.join(new)} from {told}"


def _told(model: ResponseModel, item: Item, parts: list[str]) -> str:
    combined = sorted({i.perturbation.label for i in model.items if set(i.perturbation.parts) & set(parts)})
    having = [e.name for e in model.space.embeddings
              if any(part in parts and e.row(part, target) is not None
                     for part, target in zip(item.perturbation.parts, item.perturbation.targets, strict=True))]
    sources = ([f"its combinations ({', '.join(combined[:3])})"] if combined else []) + having
    return (" and ".join([", ".join(sources[:-1]), sources[-1]]) if len(sources) > 1 else "".join(sources)) \
        + (", shrunk to the mean response" if sources else "the mean response")
