"""The papers that a methods paragraph may cite, and how they are written as text, markdown and BibTeX."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One paper; authors as `Surname, Initials`, pages with a hyphen."""

    key: str
    authors: tuple[str, ...]
    title: str
    venue: str
    year: int
    volume: str = ""
    pages: str = ""
    doi: str = ""
    url: str = ""
    kind: str = "article"  # article | inproceedings | misc

    @property
    def link(self) -> str:
        """Where the paper is found."""
        return f"https://doi.org/{self.doi}" if self.doi else self.url

    def text(self) -> str:
        """Return the reference as one line of plain text."""
        names = ["et al" if a == "others" else a.replace(", ", " ").replace(". ", "").replace(".", "")
                 for a in self.authors]
        where = self.venue + (f" {self.volume}" if self.volume else "") + (f", {self.pages}" if self.pages else "")
        return f"{', '.join(names)}. {self.title}. {where} ({self.year}). {self.link}".strip()

    def bibtex(self) -> str:
        """Return the reference as a BibTeX entry; titles keep their capitals, other letters are escaped."""
        field = {"article": "journal", "inproceedings": "booktitle", "misc": "howpublished"}[self.kind]
        values = {"author": " and ".join(self.authors), "title": f"{{{self.title}}}", field: self.venue,
                  "year": str(self.year), "volume": self.volume, "pages": self.pages.replace("-", "--"),
                  "doi": self.doi, "url": "" if self.doi else self.url}
        lines = ",\n".join(f"  {k} = {{{v if k in ('doi', 'url') else _latex(v)}}}" for k, v in values.items() if v)
        return f"@{self.kind}{{{self.key},\n{lines}\n}}\n"


ACCENTS = {"\u0301": "'", "\u0300": "`", "\u0308": '"', "\u0303": "~", "\u0302": "^", "\u030c": "v "}


def _latex(text: str) -> str:
    """Return text as LaTeX of any age reads it: accents as commands, special signs escaped."""
    out: list[str] = []
    for sign in unicodedata.normalize("NFD", text.replace("ß", "{\\ss}")):
        if sign in ACCENTS:
            out[-1] = f"{{\\{ACCENTS[sign]}{out[-1]}}}"
        else:
            out.append(sign)
    return re.sub(r"([&%#_])", r"\\\1", "".join(out))


def _arxiv(number: str) -> str:
    return f"10.48550/arXiv.{number}"


def _(key: str, authors: str, *rest: object, **more: str) -> Reference:
    return Reference(key, tuple(authors.split("; ")), *rest, **more)  # type: ignore[arg-type]


NEURIPS, ICLR, ICML = ("Advances in Neural Information Processing Systems",
                       "International Conference on Learning Representations",
                       "International Conference on Machine Learning")
PROCEEDINGS = "inproceedings"

# as the publishers have them; a paper is cited only where what it describes was done (methods_text)
PAPERS: dict[str, Reference] = {r.key: r for r in (
    _("wolf2018scanpy", "Wolf, F. A.; Angerer, P.; Theis, F. J.",
      "SCANPY: large-scale single-cell gene expression data analysis", "Genome Biology", 2018, "19", "15",
      "10.1186/s13059-017-1382-0"),
    _("virshup2024anndata", "Virshup, I.; Rybakov, S.; Theis, F. J.; Angerer, P.; Wolf, F. A.",
      "anndata: Access and store annotated data matrices", "Journal of Open Source Software", 2024, "9", "4371",
      "10.21105/joss.04371"),
    _("zheng2017massively", "Zheng, G. X. Y.; Terry, J. M.; Belgrader, P.; others",
      "Massively parallel digital transcriptional profiling of single cells", "Nature Communications", 2017, "8",
      "14049", "10.1038/ncomms14049"),
    _("wolock2019scrublet", "Wolock, S. L.; Lopez, R.; Klein, A. M.",
      "Scrublet: Computational Identification of Cell Doublets in Single-Cell Transcriptomic Data", "Cell Systems",
      2019, "8", "281-291", "10.1016/j.cels.2018.11.005"),
    _("lause2021analytic", "Lause, J.; Berens, P.; Kobak, D.",
      "Analytic Pearson residuals for normalization of single-cell RNA-seq UMI data", "Genome Biology", 2021, "22",
      "258", "10.1186/s13059-021-02451-7"),
    _("satija2015spatial", "Satija, R.; Farrell, J. A.; Gennert, D.; Schier, A. F.; Regev, A.",
      "Spatial reconstruction of single-cell gene expression data", "Nature Biotechnology", 2015, "33", "495-502",
      "10.1038/nbt.3192"),
    _("mcinnes2018umap", "McInnes, L.; Healy, J.; Saul, N.; Großberger, L.",
      "UMAP: Uniform Manifold Approximation and Projection", "Journal of Open Source Software", 2018, "3", "861",
      "10.21105/joss.00861"),
    _("kingma2014auto", "Kingma, D. P.; Welling, M.", "Auto-Encoding Variational Bayes", ICLR, 2014, "", "",
      _arxiv("1312.6114"), kind=PROCEEDINGS),
    _("lopez2018deep", "Lopez, R.; Regier, J.; Cole, M. B.; Jordan, M. I.; Yosef, N.",
      "Deep generative modeling for single-cell transcriptomics", "Nature Methods", 2018, "15", "1053-1058",
      "10.1038/s41592-018-0229-2"),
    _("tomczak2018vamp", "Tomczak, J. M.; Welling, M.", "VAE with a VampPrior",
      "International Conference on Artificial Intelligence and Statistics", 2018, "84", "1214-1223",
      _arxiv("1705.07120"), kind=PROCEEDINGS),
    _("dunn1996randomized", "Dunn, P. K.; Smyth, G. K.", "Randomized Quantile Residuals",
      "Journal of Computational and Graphical Statistics", 1996, "5", "236-244", "10.1080/10618600.1996.10474708"),
    _("loshchilov2019decoupled", "Loshchilov, I.; Hutter, F.", "Decoupled Weight Decay Regularization", ICLR, 2019, "",
      "", _arxiv("1711.05101"), kind=PROCEEDINGS),
    _("rombach2022high", "Rombach, R.; Blattmann, A.; Lorenz, D.; Esser, P.; Ommer, B.",
      "High-Resolution Image Synthesis with Latent Diffusion Models",
      "IEEE/CVF Conference on Computer Vision and Pattern Recognition", 2022, "", "10684-10695",
      "10.1109/CVPR52688.2022.01042", kind=PROCEEDINGS),
    _("karras2022elucidating", "Karras, T.; Aittala, M.; Aila, T.; Laine, S.",
      "Elucidating the Design Space of Diffusion-Based Generative Models", NEURIPS, 2022, "35", "26565-26577",
      _arxiv("2206.00364"), kind=PROCEEDINGS),
    _("peebles2023scalable", "Peebles, W.; Xie, S.", "Scalable Diffusion Models with Transformers",
      "IEEE/CVF International Conference on Computer Vision", 2023, "", "4195-4205",
      "10.1109/ICCV51070.2023.00387", kind=PROCEEDINGS),
    _("ho2022classifier", "Ho, J.; Salimans, T.", "Classifier-Free Diffusion Guidance", "arXiv", 2022, "",
      "2207.12598", _arxiv("2207.12598"), kind="misc"),
    _("nichol2021improved", "Nichol, A. Q.; Dhariwal, P.", "Improved Denoising Diffusion Probabilistic Models", ICML,
      2021, "139", "8162-8171", _arxiv("2102.09672"), kind=PROCEEDINGS),
    _("mckay1979comparison", "McKay, M. D.; Beckman, R. J.; Conover, W. J.",
      "A Comparison of Three Methods for Selecting Values of Input Variables in the Analysis of Output from a "
      "Computer Code", "Technometrics", 1979, "21", "239-245", "10.1080/00401706.1979.10489755"),
    _("lu2022dpm", "Lu, C.; Zhou, Y.; Bao, F.; Chen, J.; Li, C.; Zhu, J.",
      "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", "arXiv", 2022, "",
      "2211.01095", _arxiv("2211.01095"), kind="misc"),
    _("song2021denoising", "Song, J.; Meng, C.; Ermon, S.", "Denoising Diffusion Implicit Models", ICLR, 2021, "", "",
      _arxiv("2010.02502"), kind=PROCEEDINGS),
    _("ho2020denoising", "Ho, J.; Jain, A.; Abbeel, P.", "Denoising Diffusion Probabilistic Models", NEURIPS, 2020,
      "33", "6840-6851", _arxiv("2006.11239"), kind=PROCEEDINGS),
    _("song2021score", "Song, Y.; Sohl-Dickstein, J.; Kingma, D. P.; Kumar, A.; Ermon, S.; Poole, B.",
      "Score-Based Generative Modeling through Stochastic Differential Equations", ICLR, 2021, "", "",
      _arxiv("2011.13456"), kind=PROCEEDINGS),
    _("salimans2022progressive", "Salimans, T.; Ho, J.",
      "Progressive Distillation for Fast Sampling of Diffusion Models", ICLR, 2022, "", "",
      _arxiv("2202.00512"), kind=PROCEEDINGS),
    _("lipman2023flow", "Lipman, Y.; Chen, R. T. Q.; Ben-Hamu, H.; Nickel, M.; Le, M.",
      "Flow Matching for Generative Modeling", ICLR, 2023, "", "", _arxiv("2210.02747"), kind=PROCEEDINGS),
    _("liu2023flow", "Liu, X.; Gong, C.; Liu, Q.",
      "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", ICLR, 2023, "", "",
      _arxiv("2209.03003"), kind=PROCEEDINGS),
    _("breiman2001random", "Breiman, L.", "Random Forests", "Machine Learning", 2001, "45", "5-32",
      "10.1023/A:1010933404324"),
    _("gretton2012kernel", "Gretton, A.; Borgwardt, K. M.; Rasch, M. J.; Schölkopf, B.; Smola, A.",
      "A Kernel Two-Sample Test", "Journal of Machine Learning Research", 2012, "13", "723-773",
      url="https://jmlr.org/papers/v13/gretton12a.html"),
    _("szekely2013energy", "Székely, G. J.; Rizzo, M. L.",
      "Energy statistics: A class of statistics based on distances", "Journal of Statistical Planning and Inference",
      2013, "143", "1249-1272", "10.1016/j.jspi.2013.03.018"),
    _("kynkaanniemi2019improved", "Kynkäänniemi, T.; Karras, T.; Laine, S.; Lehtinen, J.; Aila, T.",
      "Improved Precision and Recall Metric for Assessing Generative Models", NEURIPS, 2019, "32", "3927-3936",
      _arxiv("1904.06991"), kind=PROCEEDINGS),
    _("naeem2020reliable", "Naeem, M. F.; Oh, S. J.; Uh, Y.; Choi, Y.; Yoo, J.",
      "Reliable Fidelity and Diversity Metrics for Generative Models", ICML, 2020, "119", "7176-7185",
      _arxiv("2002.09797"), kind=PROCEEDINGS),
    _("feydy2019interpolating", "Feydy, J.; Séjourné, T.; Vialard, F.-X.; Amari, S.; Trouvé, A.; Peyré, G.",
      "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences",
      "International Conference on Artificial Intelligence and Statistics", 2019, "89", "2681-2690",
      _arxiv("1810.08278"), kind=PROCEEDINGS),
    _("lopezpaz2017revisiting", "Lopez-Paz, D.; Oquab, M.", "Revisiting Classifier Two-Sample Tests", ICLR, 2017, "",
      "", _arxiv("1610.06545"), kind=PROCEEDINGS),
    _("pedregosa2011scikit", "Pedregosa, F.; Varoquaux, G.; Gramfort, A.; others",
      "Scikit-learn: Machine Learning in Python", "Journal of Machine Learning Research", 2011, "12", "2825-2830",
      url="https://jmlr.org/papers/v12/pedregosa11a.html"),
    _("paszke2019pytorch", "Paszke, A.; Gross, S.; Massa, F.; others",
      "PyTorch: An Imperative Style, High-Performance Deep Learning Library", NEURIPS, 2019, "32", "8024-8035",
      _arxiv("1912.01703"), kind=PROCEEDINGS),
)}


class Citations:
    """Numbers papers in the order in which they are first cited."""

    def __init__(self) -> None:
        self.papers: list[Reference] = []

    def __call__(self, *names: str) -> str:
        """Return ` [1,2]` for the papers of these names; nothing for none."""
        for name in names:
            if PAPERS[name] not in self.papers:
                self.papers.append(PAPERS[name])
        found = sorted({self.papers.index(PAPERS[name]) + 1 for name in names})
        return f" [{','.join(map(str, found))}]" if found else ""
