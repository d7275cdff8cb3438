"""The help of each page, by its title: what it is good for, with one worked example on the demo."""

from __future__ import annotations

HELP: dict[str, str] = {
    "": """
**Where to begin.** Press **Try the demo**: 700 blood cells, and a model that has learned from them, in a few seconds.

**Your own cells** go the way of the bar on top: *Data* (open, check, prepare), *Train* (one button), *Generate* (ask
for cells, compare, download), *Runs* (what has been trained), *Methods* (the paragraph for your paper).

**Example.** A table of 5,000 PBMCs with a column `cell_type`: about a minute to prepare, a few minutes to train, and
then you can ask for 500 more dendritic cells than you ever sorted, and see whether they hold up.
""",
    "Data": """
**Open cells.** A file (`.h5ad`, 10x `.h5`, `.mtx`, `.csv`, ...), a path, or one of the examples. Raw counts are best;
log-normalised values are turned back into counts where that is exact.

**What is asked of you.** Which column is the cell type (and the batch, the treatment, if there are any), and whether
the proposed quality thresholds suit your tissue: *more than 5 % mitochondrial reads* is a dying lymphocyte, but an
ordinary heart muscle cell.

**Example: is CD8 in the right place?** Under *Prepared datasets* choose **demo-pbmc68k**, type `CD8A` under *Colour
by*, and look whether the cytotoxic T cells light up. Then draw round a group with the lasso and compare it with the
rest: the genes that tell it apart come as a volcano and a table.
""",
    "Train": """
**What happens.** The model learns which genes go together in which type of cell. Some of the cells are held out: it
never sees them, and is judged by them later.

**How long.** *Quick* to see whether it works at all, *Standard* for results you would show, *Thorough* for the last
bit. You may close the page: the training goes on, and this page finds it again.

**What for.** Where your data has perturbations and control cells, *Perturbations* learns what each one does,
for the Perturb page. Under *Advanced* it can be told more about genes (gene sets, regulons, vectors).

**Example.** Choose **demo-pbmc68k** and *Quick*, press **Train**. After a moment rings (generated cells) appear over
the grey dots (real ones); they begin as one cloud and part into the cell types. Types of a dozen cells come last, and
may stay rough.
""",
    "Generate": """
**Ask.** How many cells, and of which type; *as in the data* keeps the mix of your data.

**Look.** Rings are generated, dots are real. Do the rings fill the dots' islands, without bridges between them? Under
*Marker figures* see whether the genes that mark a type do so in generated cells too; the *Report card* puts each figure
beside the best that can be expected (real against real).

**Example.** Choose *CD19+ B* and 200 cells, press **Generate**, and colour by `CD79A`: high in the B cells, real and
generated, and in no other. **Download** has them as `.h5ad` for scanpy or Seurat, marked as synthetic.
""",
    "Design": """
**Say what you want.** Genes or programs that are to be high, low or between two levels. At once you see how many of
your real cells are like that: *common*, *rare*, or *beyond the data*. A **must** is met by every designed cell, a
**wish** as well as it goes. *Like these cells* proposes the genes that tell a type, or cells you selected, apart.

**Get cells that could be real.** The sentence on top says how many meet the target and how many look unreal; beside
them stand your real cells that meet it already, and cells that were simply pushed there, which look good on paper and
like nothing alive. *Side effects* shows which other genes went along.

**How to get there** ranks perturbations by how near they would bring your cells, where a model of perturbations was
trained on the same data; a click sends one to the Perturb page.

**Example.** In the blood cells of the demo: under *Like these cells* take *type: CD19+ B*, add the rows, then ask for
`CD3D` as well. Watch the word change: B cells that are T cells at once are beyond the data.
""",
    "Perturb": """
**Ask.** Which perturbations (up to six; type `A+B` for a pair), in which of your cells, at which dose. You get a
population of cells as it would be afterwards, never one of your cells after treatment: a control cell is only where a
predicted one *started from*.

**Believe it?** The badges say: how strong (*no detectable effect* is an answer), whether the model was trained on it,
and how far it is from all that was measured. Whiskers are 90 % intervals. Where the data has the perturbation, the
measured cells stand beside the predicted ones: hold some out on the Data page to see how good the model is.

**Screen** ranks a whole list, draws a map of it and shows which genes of a pair do not add up. **What next?** lists the
experiments that would teach the model most.

**Example.** On the Data page open **demo:perturb** and hold out one pair, on *Train* choose *Perturbations*.
Here choose that pair and press **Predict**: under *Genes*, *Against measured* shows how near it came.
""",
    "Runs": """
**One line a model.** *Told apart* is how well a classifier tells generated cells from real ones it has never seen:
0.5 is a coin toss, which is the best; 1.0 is always.

**Report.** The full card with every figure, each cell type, pictures, the recipe; one file to send to a colleague.

**Example.** You trained twice, *Quick* and *Standard*. Make the report of both, then open **Two runs side by side**:
it says for each figure which is better by more than chance. Give the better one a name in the table.
""",
    "Methods": """
**The paragraph for your paper**, from what was really done: cells and genes after each filter, the split, the model,
how it was trained and sampled, seeds, versions, and the figures of the report with their floors.

**Only what was used is cited.** Without doublet removal, no Scrublet; with another sampler, another reference.

**Example.** Choose *Demo: blood cells* and one of its generated sets. **Copy** takes the text with its numbers;
**References (.bib)** goes into Zotero or LaTeX. Say in your own words what the cells were for: that it cannot know.
""",
}


def help_of(title: str) -> str:
    """Return the help of a page by its title; empty where it has none."""
    return HELP.get(title, "").strip()
